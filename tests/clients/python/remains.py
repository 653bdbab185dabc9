"""What the journeys leave behind, for scripts/leaks to look through at the end of a run: the folders of all gateways, what
they answered, and a list of the secrets that must be in none of it. Does nothing unless ANYKEY_TEST_REMAINS names a folder.
"""

import json
import os
import shutil
import uuid
from pathlib import Path

import httpx

PLACE = os.environ.get("ANYKEY_TEST_REMAINS")
# Files that hold a credential because that is what they are for; what is in them must be nowhere else.
OWN = {"admin.key", "pepper", "kek"}
SETTINGS = "anykey.toml"


def _append(folder, name, data):
    place = Path(PLACE) / folder
    place.mkdir(parents=True, exist_ok=True)
    with open(place / f"{name}-{os.getpid()}", "ab") as file:
        file.write(data + b"\n")


def canary(what, secret):
    """Something that must be found nowhere."""
    if PLACE and len(secret) >= 12:
        _append("canaries", "python", json.dumps({"what": what, "secret": secret}).encode())


def heard(response):
    """A hook of httpx: refusals are kept as they are."""
    if PLACE and response.is_error:
        _append("left/answers", "python", response.read())


def farewell(url, admin_key, metrics_url, folder):
    """What can only be asked of a process that runs: its metrics, and the audit log as it is exported."""
    if not PLACE:
        return
    asked = {"audit": (f"{url}/admin/v1/audit/export", {"authorization": f"Bearer {admin_key}"}), "metrics": (metrics_url, {})}
    with httpx.Client(timeout=5, trust_env=False, verify=False) as http:
        for name, (where, headers) in asked.items():
            try:
                if where:
                    (folder / f"{name}.said").write_bytes(http.get(where, headers=headers).content)
            except httpx.TransportError:
                pass  # one that no longer answers has nothing to say


def keep(folder):
    """Takes a copy of a gateway's folder; its process has ended."""
    if not PLACE:
        return
    for path in folder.rglob("*"):
        if path.name in OWN:
            canary(f"the file {path.name}", path.read_text().strip())
    shutil.copytree(
        folder,
        Path(PLACE) / "left" / f"python-{uuid.uuid4().hex}",
        ignore=shutil.ignore_patterns(*OWN, SETTINGS),
        ignore_dangling_symlinks=True,
    )
