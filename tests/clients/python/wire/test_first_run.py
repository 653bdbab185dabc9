"""The first minute: on a terminal the gateway prints a curl that works; elsewhere it prints no secret."""

import json
import os
import pty
import re
import signal
import subprocess
import threading

import pytest

import harness
import remains

pytestmark = pytest.mark.gateway

SECRET = re.compile(r"ak-[a-z]+-[0-9A-Za-z]{46}")
COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CURL = re.compile(r"curl http(?:.*\\\n)*.*")


class Terminal:
    """A child process that believes it has a terminal."""

    def __init__(self, command, folder):
        self.folder = folder
        self.screen, slave = pty.openpty()
        self.text = ""
        self.child = subprocess.Popen(
            [str(part) for part in command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=harness.clean_environment(TERM="xterm", COLUMNS="400"),
            start_new_session=True,
        )
        os.close(slave)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                piece = os.read(self.screen, 65536)
            except OSError:
                return
            if not piece:
                return
            self.text += COLOUR.sub("", piece.decode(errors="replace")).replace("\r\n", "\n")

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        status = self.child.wait(30)
        self.reader.join(10)
        os.close(self.screen)
        remains.keep(self.folder)
        return status


def test_the_printed_curl_works(tmp_path):
    terminal = Terminal([harness.binary(), "serve", "--listen", "127.0.0.1:0", "--data-dir", tmp_path / "data"], tmp_path)
    try:
        command = harness.wait_until(
            lambda: (found := CURL.search(terminal.text)) and found.group(0).endswith("'") and found.group(0), "a curl on the terminal"
        )
        # As a person would paste it, but with the status and without the progress meter.
        done = subprocess.run(
            ["sh", "-c", command + " --silent --show-error --fail-with-body"],
            capture_output=True,
            text=True,
            timeout=30,
            env=harness.clean_environment(),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        asked = json.loads(re.search(r"-d '(.*)'", command, re.DOTALL).group(1))
        answer = json.loads(done.stdout)
        assert answer["choices"][0]["message"]["content"] == asked["messages"][-1]["content"]
        assert "provider add" in terminal.text
        assert len(set(SECRET.findall(terminal.text))) == 1
    finally:
        assert terminal.stop() == 0, terminal.text


def test_without_a_terminal_no_secret_is_printed(gateway):
    assert not SECRET.search(gateway.process.output())
