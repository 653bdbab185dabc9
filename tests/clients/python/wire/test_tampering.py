"""What somebody with the database's file in their hands changes while the gateway is stopped is noticed when it is used."""

import json
import sqlite3
import subprocess
from contextlib import contextmanager

import pytest

import harness
import remains

pytestmark = pytest.mark.gateway

SECRETS = {name: f"sk-canary-sealed-{name}-41c7" for name in ("one", "two")}
for secret in SECRETS.values():
    remains.canary("a provider's credential", secret)
HELLO = [{"role": "user", "content": "hello"}]


class House:
    """A gateway whose two providers are kept in its database, and what is upstream of them."""

    def __init__(self, folder):
        self.folder = folder
        self.upstream = harness.CannedUpstream()
        self.upstream.will_say(b'{"id":"c","object":"chat.completion","model":"m","choices":[]}', content_type="application/json")
        self.served = harness.Served.start(folder)

    def furnish(self):
        for name, secret in SECRETS.items():
            body = {"name": name, "kind": "openai", "base_url": f"{self.upstream.url}/v1", "api_key": secret}
            self.served.admin("POST", "/providers", json=body | {"allow_private_network": True})

    @contextmanager
    def stopped(self):
        """The database of a gateway that is stopped, and started again afterwards."""
        assert self.served.stop() == 0, self.served.process.output()[-4000:]
        database = sqlite3.connect(self.folder / "data" / "anykey.db")
        yield database
        database.commit()
        database.close()
        (self.folder / "data" / "server.json").unlink(missing_ok=True)
        self.served = harness.Served.start(self.folder)

    def call(self, provider):
        """A call of that provider, and which credential reached it."""
        self.upstream.seen.clear()
        with self.served.client(headers={"authorization": f"Bearer {self.served.key}"}) as http:
            answer = http.post("/v1/chat/completions", json={"model": f"{provider}/m", "messages": HELLO})
        sent = [dict((name.lower(), value) for name, value in headers)["authorization"] for _, headers, _ in self.upstream.seen]
        return answer, sent

    def run(self, *arguments):
        return subprocess.run(
            [str(harness.binary()), "--data-dir", str(self.folder / "data"), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env=harness.clean_environment(),
        )

    def stop(self):
        self.served.process.stop()
        self.upstream.stop()


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    try:
        house.furnish()
        yield house
    finally:
        house.stop()


def flipped(sealed):
    """One bit of the text, which stays text."""
    place = len(sealed) // 2
    other = chr(ord(sealed[place]) ^ 1)
    return sealed[:place] + (other if other.isalnum() else "A" if sealed[place] != "A" else "B") + sealed[place + 1 :]


@pytest.mark.parametrize("how", ["copied from another", "altered"])
def test_a_credential_that_was_tampered_with_is_not_used(house, how):
    """E16: the call ends here, and neither what is sealed nor another provider's credential leaves."""
    for name in SECRETS:
        answer, sent = house.call(name)
        assert (answer.status_code, sent) == (200, [f"Bearer {SECRETS[name]}"]), answer.text
    with house.stopped() as database:
        sealed = dict(database.execute("SELECT name, sealed_key FROM provider WHERE sealed_key IS NOT NULL").fetchall())
        assert all(secret not in sealed[name] for name, secret in SECRETS.items())
        new = sealed["two"] if how.startswith("copied") else flipped(sealed["one"])
        assert database.execute("UPDATE provider SET sealed_key = ? WHERE name = 'one'", [new]).rowcount == 1
    answer, sent = house.call("one")
    assert (answer.status_code, sent) == (503, []), answer.text
    assert answer.json()["error"]["code"] == "upstream_unavailable" and "cannot be opened" in answer.json()["error"]["message"]
    answer, sent = house.call("two")
    assert (answer.status_code, sent) == (200, [f"Bearer {SECRETS['two']}"]), answer.text
    test = house.run("provider", "test", "one")
    assert test.returncode != 0 and "cannot be opened" in test.stderr + test.stdout, test
    told = json.loads(house.run("audit", "list", "--verb", "provider.unopened", "--json").stdout)
    assert [entry["object"]["name"] for entry in told] == ["one"], "once, however often it is met"
    assert told[0]["actor"]["kind"] == "system" and told[0]["surface"] == "system"
    said = house.served.process.output() + test.stdout + test.stderr + answer.text
    assert not any(secret in said for secret in SECRETS.values())


def test_an_entry_of_the_log_that_was_altered_or_taken_away_is_found(house):
    """G13."""
    for n in range(3):
        house.served.new_key(f"recorded {n}")
    assert house.run("audit", "verify").returncode == 0
    with house.stopped() as database:
        with pytest.raises(sqlite3.DatabaseError):
            database.execute("UPDATE audit SET actor_name = 'somebody else'")
        with pytest.raises(sqlite3.DatabaseError):
            database.execute("DELETE FROM audit")
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        [(middle, name)] = database.execute(
            "SELECT seq, object_name FROM audit WHERE verb = 'key.create' ORDER BY seq LIMIT 1 OFFSET 1"
        ).fetchall()
        database.execute("UPDATE audit SET object_name = 'harmless' WHERE seq = ?", [middle])
    found = house.run("audit", "verify")
    assert found.returncode != 0 and str(middle) in found.stdout + found.stderr, found
    with house.stopped() as database:
        database.execute("UPDATE audit SET object_name = ? WHERE seq = ?", [name, middle])
    assert house.run("audit", "verify").returncode == 0, "it was only that"
    with house.stopped() as database:
        database.execute("DELETE FROM audit WHERE seq = ?", [middle])
    assert house.run("audit", "verify").returncode != 0
