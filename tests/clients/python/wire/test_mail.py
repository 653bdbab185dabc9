"""Letters to a mail server that others wrote: STARTTLS, AUTH, refusals for now and for good."""

import asyncio
import email
import email.policy
import ssl
import threading
from contextlib import contextmanager

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

import harness

pytestmark = pytest.mark.gateway

CERTIFICATES = harness.ROOT / "crates" / "testkit" / "tls"
PASSWORD = "pa55 wörd"

SETTINGS = """
[smtp]
host = "localhost"
port = {port}
tls = "starttls"
username = "anykey"
password = "{password}"
from = "anykey <keys@example.com>"
ca_file = "{ca}"
"""


class MailServer:
    """Takes letters on a free port of loopback, from whoever has encrypted and signed in."""

    def __init__(self, starttls=True):
        self.letters, self.sign_ins, self.refusals = [], [], []
        self.password = PASSWORD
        self.starttls = starttls
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = self._on_loop(self._listen())
        self.port = self.server.sockets[0].getsockname()[1]

    def _on_loop(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def _listen(self):
        context = None
        if self.starttls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")

        def peer():
            return SMTP(
                self,
                hostname="mail.example.com",
                tls_context=context,
                require_starttls=self.starttls,
                authenticator=self._sign_in,
                auth_required=True,
                auth_require_tls=self.starttls,
                enable_SMTPUTF8=True,
            )

        return await self.loop.create_server(peer, "127.0.0.1", 0)

    def _sign_in(self, server, session, envelope, mechanism, data):
        assert isinstance(data, LoginPassword)
        self.sign_ins.append((session.ssl is not None, data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password.decode() == self.password, handled=False)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.refusals:
            return self.refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.letters.append((session.ssl is not None, envelope.mail_from, envelope.rcpt_tos, letter))
        return "250 kept"

    def stop(self):
        async def close():
            self.server.close()

        self._on_loop(close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


@contextmanager
def house(folder, **options):
    """A mail server, and a gateway that writes to a team by it."""
    mail = MailServer(**options)
    settings = SETTINGS.format(port=mail.port, password=PASSWORD, ca=CERTIFICATES / "ca.pem")
    (folder / "anykey.toml").write_text(settings)
    gateway = harness.Served.start(folder)
    try:
        team = gateway.cli("destination", "create", "team", "--email", "team@example.com", "--json")
        yield mail, gateway, team["id"]
    finally:
        status = gateway.stop()
        mail.stop()
    assert status == 0, gateway.process.output()[-4000:]


def tell(gateway, name):
    """Something that the team is told of."""
    key = gateway.new_key(name)
    gateway.admin("POST", f"/keys/{key['id']}/disable")
    return key


def delivery(gateway, **expected):
    """The only delivery, once it is like that."""

    def found():
        rows = gateway.admin("GET", "/deliveries")["data"]
        assert len(rows) == 1, rows
        return rows[0] if all(rows[0][name] == value for name, value in expected.items()) else None

    return harness.wait_until(found, f"a delivery that is {expected}")


def test_a_letter_is_encrypted_signed_in_and_whole(tmp_path):
    with house(tmp_path) as (mail, gateway, _):
        key = tell(gateway, "Schlüssel „ci“\u2028.")
        sent = delivery(gateway, state="sent")
        assert sent["attempts"] == 1
        assert mail.sign_ins == [(True, "anykey", PASSWORD)]
        [(encrypted, sender, receivers, letter)] = mail.letters
        assert encrypted and sender == "keys@example.com" and receivers == ["team@example.com"]
        assert letter["to"] == "team@example.com" and letter["from"] == "anykey <keys@example.com>"
        assert letter["auto-submitted"] == "auto-generated"
        assert letter["message-id"] == f"<{sent['id']}@example.com>"
        assert letter["subject"].startswith("[anykey] Key ") and "Schlüssel „ci“" in letter["subject"]
        text = letter.get_content()
        assert "was disabled" in text and key["id"] in text and key["secret"] not in letter.as_string()
        assert not letter.defects, letter.defects


def test_refused_for_now_is_tried_again_under_the_same_id(tmp_path):
    with house(tmp_path) as (mail, gateway, team):
        mail.refusals = ["451 4.7.1 greylisted, come back later"]
        tell(gateway, "ci")
        sent = delivery(gateway, state="sent")
        assert sent["attempts"] == 2
        [(_, _, _, letter)] = mail.letters
        assert letter["message-id"] == f"<{sent['id']}@example.com>"
        # A letter that arrived is not sent again by a restart.
        test = gateway.cli("destination", "test", team, "--json")
        assert test["ok"] and len(mail.letters) == 2


def test_refused_for_good_is_given_up_and_sent_on_request(tmp_path):
    with house(tmp_path) as (mail, gateway, _):
        mail.refusals = ["550 5.1.1 no such mailbox"]
        tell(gateway, "ci")
        failed = delivery(gateway, state="failed")
        assert failed["attempts"] == 1 and failed["last_status"] == 550
        assert "no such mailbox" in failed["last_error"] and not mail.letters
        gateway.cli("delivery", "replay", failed["id"], "--json")
        delivery(gateway, state="sent")
        assert len(mail.letters) == 1


def test_a_wrong_password_waits_until_it_is_put_right(tmp_path):
    with house(tmp_path) as (mail, gateway, team):
        mail.password = "another"
        tell(gateway, "ci")
        waiting = delivery(gateway, state="waiting", last_status=535)
        assert PASSWORD not in waiting["last_error"] and not mail.letters
        mail.password = PASSWORD
        gateway.cli("destination", "enable", team, "--json")
        delivery(gateway, state="sent")
        assert len(mail.letters) == 1
        assert PASSWORD not in gateway.process.output()


def test_a_server_without_encryption_gets_neither_password_nor_letter(tmp_path):
    with house(tmp_path, starttls=False) as (mail, gateway, _):
        tell(gateway, "ci")
        waiting = harness.wait_until(
            lambda: next((row for row in gateway.admin("GET", "/deliveries")["data"] if row["last_error"]), None),
            "an attempt that failed",
        )
        assert "STARTTLS" in waiting["last_error"].upper()
        assert not mail.sign_ins and not mail.letters
