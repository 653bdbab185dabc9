"""After calls of every kind, no secret is found where it does not belong: log, database, answers of the admin API."""

import json

import pytest

import harness
from calls import CALLS, bearer

pytestmark = pytest.mark.gateway


def test_no_secret_is_kept_in_the_clear(gateway):
    made = gateway.new_key("leak-scan")
    with gateway.client(headers=bearer(made["secret"])) as http:
        requests = [call.send(http).headers["x-request-id"] for call in CALLS]
    gateway.attempts(requests[0])
    secrets = [made["secret"].encode(), gateway.key.encode(), *(secret.encode() for secret in harness.UPSTREAM_SECRETS.values())]
    # The config file is the operator's own; admin.key is the local credential and is only its owner's to read.
    own = {gateway.folder / "anykey.toml", gateway.folder / "data" / "admin.key"}
    files = [path for path in gateway.folder.rglob("*") if path.is_file() and path not in own]
    assert any(path.name == "gateway.log" for path in files)
    assert any(path.suffix == ".db" for path in files) == (harness.DATABASE == "sqlite:")
    for path in files:
        content = path.read_bytes()
        for secret in secrets:
            assert secret not in content, path
            # Nor the part of a key that only its owner knows.
            assert secret[-38:] not in content, path
    assert (gateway.folder / "data" / "admin.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("path", ["/keys", "/providers", "/requests", "/models", "/status", "/openapi.json"])
def test_the_admin_api_tells_no_secret(gateway, path):
    text = json.dumps(gateway.admin("GET", path))
    assert gateway.key not in text and gateway.admin_key not in text
    assert not any(secret in text for secret in harness.UPSTREAM_SECRETS.values())


def test_a_new_secret_is_not_to_be_cached(gateway):
    with gateway.client(headers=bearer(gateway.admin_key)) as http:
        answer = http.post("/admin/v1/keys", json={"name": "not-cached"})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
