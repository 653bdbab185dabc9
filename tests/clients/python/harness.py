"""Starts what the journeys talk to: the practice provider and the gateway, as processes of their own on free ports.

With ANYKEY_JOURNEYS=direct the same journeys run against the practice provider itself, which tells whether a failure
is the gateway's or the expectation's. With ANYKEY_JOURNEYS=postgres the gateway keeps its data in the empty database that
ANYKEY_TEST_POSTGRES names, instead of in SQLite.
"""

import json
import os
import select
import signal
import ssl
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

import remains

ROOT = Path(__file__).resolve().parents[3]
DIRECT = os.environ.get("ANYKEY_JOURNEYS") == "direct"
DATABASE = os.environ["ANYKEY_TEST_POSTGRES"] if os.environ.get("ANYKEY_JOURNEYS") == "postgres" else "sqlite:"
START_DEADLINE = 60.0

# Each provider's credential is a canary: it may reach its own provider and nobody else.
UPSTREAM_SECRETS = {
    "openai": "sk-canary-openai-5f2d3c9b1e",
    "anthropic": "sk-ant-canary-anthropic-7a41c0",
    "gemini": "AIza-canary-gemini-09e8d7",
}
for kind, secret in UPSTREAM_SECRETS.items():
    remains.canary(f"the credential of {kind}", secret)


def binary():
    named = os.environ.get("ANYKEY_BIN")
    if named:
        return Path(named)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return ROOT / target / "debug" / "anykey"


def clean_environment(**extra):
    """The caller's environment without proxies and settings that would change what is tested."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("ANYKEY_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_"))
    }
    return kept | extra


def wait_until(condition, what, deadline=START_DEADLINE):
    """Polls until the condition gives something; the deadline is only reached when something is wrong."""
    give_up = time.monotonic() + deadline
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {deadline:.0f} s: {what}")
        time.sleep(0.02)


class Process:
    """A child process whose output goes to a file and which is always ended by its own id."""

    def __init__(self, command, log, stdout=None, stderr=None, environment=None, **options):
        self.log = Path(log)
        with open(self.log, "ab") as sink:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=stdout or sink,
                stderr=stderr or sink,
                env=clean_environment(**(environment or {})),
                **options,
            )

    def output(self):
        return self.log.read_text(errors="replace")

    def alive(self):
        if self.child.poll() is not None:
            raise AssertionError(f"{self.child.args[0]} ended with {self.child.returncode}:\n{self.output()[-4000:]}")
        return True

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode


class PracticeProvider:
    """`anykey sim`: an upstream that keeps books of what it was asked and what it billed."""

    def __init__(self, folder):
        self.process = None
        self.url = os.environ.get("ANYKEY_SIM_URL")
        if not self.url:
            self.process = Process(
                [binary(), "sim", "--listen", "127.0.0.1:0"], folder / "sim.log", stdout=subprocess.PIPE, cwd=folder
            )
            self.url = "http://" + self._address()
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def _address(self):
        pipe = self.process.child.stdout
        readable, _, _ = select.select([pipe], [], [], START_DEADLINE)
        line = pipe.readline() if readable else b""
        if not line:
            raise AssertionError(f"the practice provider did not start:\n{self.process.output()}")
        return json.loads(line)["listen"]

    def stop(self):
        self.http.close()
        if self.process:
            self.process.child.stdout.close()
            self.process.stop()

    def mark(self):
        """The place in the books up to now."""
        books = self.books(0)
        return books[-1]["n"] if books else 0

    def books(self, after):
        return self.http.get("/_sim/books", params={"after": after}).raise_for_status().json()

    def only_entry(self, after):
        """The one call that was made since `after`, once its answer is out."""

        def ended():
            found = self.books(after)
            return found if found and all(e["completed"] or e["client_gone"] or e["cut"] for e in found) else None

        found = wait_until(ended, "an entry in the practice provider's books")
        assert len(found) == 1, [entry["path"] for entry in found]
        return found[0]


class CannedUpstream:
    """An upstream that answers every POST with the very bytes it was given, and remembers what it was sent."""

    def __init__(self):
        upstream = self
        self.status, self.headers, self.pieces = 200, {}, [b"{}"]
        self.seen = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.reply(200, {"content-type": "application/json"}, [b'{"object":"list","data":[],"models":[]}'])

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                upstream.seen.append((self.path, self.headers.items(), body))
                self.reply(upstream.status, upstream.headers, upstream.pieces)

            def reply(self, status, headers, pieces):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for piece in pieces:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def will_say(self, *pieces, status=200, **headers):
        self.status, self.headers, self.pieces = status, {k.replace("_", "-"): v for k, v in headers.items()}, pieces
        self.seen.clear()
        return b"".join(pieces)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


CONFIG = """
[[providers]]
name = "books-openai"
kind = "openai"
base_url = "{url}/v1"
api_key = "{openai}"
allow_private_network = true

[[providers]]
name = "books-anthropic"
kind = "anthropic"
base_url = "{url}"
api_key = "{anthropic}"
allow_private_network = true

[[providers]]
name = "books-gemini"
kind = "gemini"
base_url = "{url}"
api_key = "{gemini}"
allow_private_network = true

[[providers]]
name = "canned-openai"
kind = "openai"
base_url = "{canned}/v1"
api_key = "{openai}"
allow_private_network = true

[[providers]]
name = "canned-anthropic"
kind = "anthropic"
base_url = "{canned}"
api_key = "{anthropic}"
allow_private_network = true

[[providers]]
name = "canned-gemini"
kind = "gemini"
base_url = "{canned}"
api_key = "{gemini}"
allow_private_network = true

[[models]]
name = "house-model"
target = "books-openai/echo"
"""


@dataclass
class Service:
    """What a client needs to know: where, and with which key."""

    url: str
    key: str
    direct: bool = False

    @property
    def openai(self):
        return f"{self.url}/v1"

    # What the listener's certificate is verified with: a file of an authority, or what this machine trusts.
    verify: object = True

    def client(self, **options):
        options.setdefault("event_hooks", {"response": [remains.heard]})
        verify = ssl.create_default_context(cafile=self.verify) if isinstance(self.verify, str) else self.verify
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, verify=verify, **options)

    @property
    def address(self):
        host, port = self.url.rsplit("/", 1)[1].rsplit(":", 1)
        return host, int(port)


@dataclass
class Served(Service):
    """A gateway of its own process, in a folder with its settings, its data and its log."""

    folder: Path = None
    process: Process = None
    metrics_url: str = None
    admin_key: str = field(default="", repr=False)

    @classmethod
    def start(cls, folder, listen="127.0.0.1:0", verify=True, environment=None):
        """Serves with the settings of the folder's anykey.toml, if there is one."""
        process = Process(
            [binary(), "serve", "--listen", listen, "--data-dir", "data"],
            folder / "gateway.log",
            environment=environment,
            cwd=folder,
        )
        return cls.attach(folder, process, verify)

    @classmethod
    def attach(cls, folder, process, verify=True):
        """Waits until the process serves, and makes a key."""
        state = folder / "data" / "server.json"
        wait_until(lambda: process.alive() and state.exists() and state.read_text().strip(), "server.json")
        said = json.loads(state.read_text())
        served = cls(
            url=said["url"], key="", folder=folder, process=process, verify=verify, metrics_url=said.get("metrics_url")
        )
        with served.client() as http:
            wait_until(lambda: process.alive() and is_ready(http), "/readyz")
        served.admin_key = (folder / "data" / "admin.key").read_text().strip()
        served.key = served.cli("key", "create", "journeys", "--json")["secret"]
        remains.canary("a key", served.key)
        remains.canary("the secret part of a key", served.key[-38:])
        return served

    def stop(self):
        remains.farewell(self.url, self.admin_key, self.metrics_url, self.folder)
        status = self.process.stop()
        remains.keep(self.folder)
        return status

    def cli_text(self, *arguments):
        done = subprocess.run(
            [str(binary()), "--data-dir", str(self.folder / "data"), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
            env=clean_environment(),
        )
        assert done.returncode == 0, f"anykey {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def cli(self, *arguments):
        return json.loads(self.cli_text(*arguments))

    def admin(self, method, path, **options):
        with self.client(headers={"authorization": f"Bearer {self.admin_key}"}) as http:
            answer = http.request(method, f"/admin/v1{path}", **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def new_key(self, name, **fields):
        return self.admin("POST", "/keys", json={"name": name, **fields})

    def attempts(self, request_id):
        """The records of one call, once they are stored."""

        def stored():
            rows = [row for row in self.admin("GET", f"/requests/{request_id}")["data"]]
            return rows or None

        return wait_until(stored, f"a record of {request_id}", 20)


@dataclass
class Gateway(Served):
    """The gateway of the whole session, in front of the practice provider and of one that says what it is told."""

    practice: PracticeProvider = None
    canned: CannedUpstream = None

    @classmethod
    def before(cls, practice, folder):
        canned = CannedUpstream()
        (folder / "anykey.toml").write_text(CONFIG.format(url=practice.url, canned=canned.url, **UPSTREAM_SECRETS))
        gateway = cls.start(folder, environment={"ANYKEY_DATABASE": DATABASE})
        gateway.practice, gateway.canned = practice, canned
        return gateway

    def stop(self):
        status = super().stop()
        self.canned.stop()
        return status


def is_ready(http):
    try:
        return http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def scratch():
    return tempfile.TemporaryDirectory(prefix="anykey-journeys-")
