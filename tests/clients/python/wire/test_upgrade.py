"""G12: an upgrade of the database that is killed in its middle has not happened, and the next start makes it whole; a
database that a newer release wrote is left alone."""

import sqlite3
import time

import pytest

import harness

pytestmark = pytest.mark.gateway

KEYS = 100_000
# The step that is taken back and made again, and what it makes: as long as there are many keys, that takes a while.
STEP = 14
INDEXES = {"api_key_temp_of", "api_key_temp_end", "api_key_of_member", "api_key_of_account"}
HELLO = {"model": "sim/echo", "messages": [{"role": "user", "content": "hello"}]}


class Upgrade:
    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "data" / "anykey.db"
        self.log = self.file.with_name("anykey.db-wal")

    def database(self):
        return sqlite3.connect(self.file, isolation_level=None)

    def furnish(self):
        """A gateway that has served, and then an earlier release's database with many keys in it."""
        served = harness.Served.start(self.folder)
        try:
            with served.client(headers={"authorization": f"Bearer {served.key}"}) as http:
                for _ in range(3):
                    assert http.post("/v1/chat/completions", json=HELLO).status_code == 200
        finally:
            assert served.stop() == 0
        database = self.database()
        columns = [row[1] for row in database.execute("PRAGMA table_info(api_key)")]
        [parent] = database.execute("SELECT id FROM api_key WHERE name = 'journeys'").fetchone()
        new = {"id": "randomblob(16)", "parent_id": f"x'{parent.hex()}'", "expires_at": "4102444800000", "spent": "0"}
        values = ", ".join(new.get(column, f"k.{column}") for column in columns)
        database.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {KEYS}) "
            f"INSERT INTO api_key ({', '.join(columns)}) SELECT {values} FROM api_key k, n WHERE k.name = 'journeys'"
        )
        for index in INDEXES:
            database.execute(f"DROP INDEX {index}")
        assert database.execute("DELETE FROM migration WHERE version = ?", [STEP]).rowcount == 1
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        assert not self.step_is_made()

    def step_is_made(self):
        """Whether the step is in the database: all of it or nothing, with the note that says so."""
        database = self.database()
        try:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            noted = database.execute("SELECT COUNT(*) FROM migration WHERE version = ?", [STEP]).fetchone() == (1,)
            made = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'index'")} & INDEXES
            assert made == (INDEXES if noted else set())
            return noted
        finally:
            database.close()

    def sums(self):
        database = self.database()
        try:
            one = lambda sql: database.execute(sql).fetchall()
            return [
                one("SELECT COUNT(*), SUM(spent) FROM api_key"),
                one("SELECT key_id, model, requests, input, output, cost FROM usage_day ORDER BY key_id, model"),
                one("SELECT COUNT(*), SUM(cost) FROM usage"),
                one("SELECT COUNT(*) FROM secret"),
            ]
        finally:
            database.close()

    def begin(self):
        (self.folder / "data" / "server.json").unlink(missing_ok=True)
        command = [harness.binary(), "serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]
        return harness.Process(command, self.folder / "upgrade.log", cwd=self.folder)

    def kill_when_written(self, size):
        """Begins, and kills as soon as so much of the upgrade is in the database's log; says whether it came to that."""
        process = self.begin()
        try:
            while process.child.poll() is None and not (self.folder / "data" / "server.json").exists():
                if self.log.exists() and self.log.stat().st_size >= size:
                    break
                time.sleep(0.0005)
        finally:
            process.child.kill()
            process.child.wait()


@pytest.fixture(scope="module")
def upgrade(tmp_path_factory):
    upgrade = Upgrade(tmp_path_factory.mktemp("upgrade"))
    upgrade.furnish()
    return upgrade


def test_a_kill_in_the_middle_of_an_upgrade_leaves_all_of_it_or_nothing(upgrade):
    before = upgrade.sums()
    assert before[0][0][0] > KEYS and len(before[1]) == 1 and before[2][0][0] == 3
    in_the_middle = 0
    for size in (1, 200_000, 1_000_000, 3_000_000):
        upgrade.kill_when_written(size)
        in_the_middle += not upgrade.step_is_made()
        assert upgrade.sums() == before
    assert in_the_middle, "the upgrade was always over before it was killed"
    served = harness.Served.start(upgrade.folder)
    try:
        with served.client(headers={"authorization": f"Bearer {served.key}"}) as http:
            assert http.post("/v1/chat/completions", json=HELLO).status_code == 200
        served.cli_text("audit", "verify")
    finally:
        assert served.stop() == 0
    assert upgrade.step_is_made()
    after = upgrade.sums()
    # The key that the second start made for this test, and the call that was made with it.
    assert after[0][0][0] == before[0][0][0] + 1 and after[2][0][0] == before[2][0][0] + 1
    assert all(row in after[1] for row in before[1])


def test_a_database_of_a_newer_release_is_refused_and_left_as_it_is(upgrade):
    database = upgrade.database()
    database.execute("INSERT INTO migration (version, name, checksum, applied_at) VALUES (9000, 'later', 'x', 1)")
    database.close()
    before = upgrade.sums()
    process = upgrade.begin()
    assert process.child.wait(60) not in (0, -9)
    assert "newer anykey" in process.output() and upgrade.sums() == before
