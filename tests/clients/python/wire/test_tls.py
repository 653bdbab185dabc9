"""TLS on the listener: the SDKs and the commands speak to it, what is wrong is said, and a certificate is exchanged while
the gateway runs."""

import datetime
import ipaddress
import signal
import socket
import ssl
import subprocess

import httpx
import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import harness

pytestmark = pytest.mark.gateway


class Authority:
    """An authority of this test's own, and the certificates that it signs for 127.0.0.1."""

    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        ca = x509.BasicConstraints(ca=True, path_length=None)
        self.own = self._certificate(name, name, self.key.public_key()).add_extension(ca, critical=True).sign(self.key, hashes.SHA256())
        self.file = folder / "authority.pem"
        self.file.write_bytes(self.own.public_bytes(serialization.Encoding.PEM))

    def _certificate(self, subject, issuer, public_key):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))

    def sign(self, certificate, key):
        """Writes the two files; returns the certificate's serial number."""
        private = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the gateway")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        signed = self._certificate(subject, self.own.subject, private.public_key()).add_extension(names, critical=False)
        signed = signed.sign(self.key, hashes.SHA256())
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        key.write_bytes(private.private_bytes(*encoding))
        return signed.serial_number


@pytest.fixture(scope="module")
def house(practice):
    with harness.scratch() as folder:
        folder = harness.Path(folder)
        authority = Authority(folder)
        authority.sign(folder / "cert.pem", folder / "key.pem")
        (folder / "anykey.toml").write_text('tls_cert = "cert.pem"\ntls_key = "key.pem"\n')
        running = harness.Served.start(folder, verify=str(authority.file))
        running.authority = authority
        yield running
        assert running.stop() == 0, running.process.output()[-4000:]


def test_an_sdk_calls_a_model_over_tls(house):
    assert house.url.startswith("https://127.0.0.1:")
    http = httpx.Client(verify=ssl.create_default_context(cafile=house.verify), trust_env=False)
    client = openai.OpenAI(base_url=f"{house.url}/v1", api_key=house.key, http_client=http)
    messages = [{"role": "user", "content": "hello over TLS"}]
    whole = client.chat.completions.create(model="sim/echo", messages=messages)
    assert "hello over TLS" in whole.choices[0].message.content
    stream = client.chat.completions.create(model="sim/echo", messages=messages, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == whole.choices[0].message.content


def test_a_large_body_and_a_large_answer_cross_whole(house):
    text = "".join(f"{n} " for n in range(200_000))
    with house.client(headers={"authorization": f"Bearer {house.key}"}) as http:
        body = {"model": "sim/echo", "messages": [{"role": "user", "content": text}], "max_tokens": 2_000_000}
        answer = http.post("/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 200, answer.text[:300]
    assert answer.json()["choices"][0]["message"]["content"].strip() == text.strip()


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl_agrees_on_a_protocol(house, version):
    command = ["curl", "-sS", version, "--cacert", house.verify, "-o", "/dev/null", "-w", "%{http_code} %{http_version}"]
    done = subprocess.run([*command, f"{house.url}/healthz"], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"200 {'2' if version == '--http2' else '1.1'}", done.stderr


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_are_spoken(house, version):
    context = ssl.create_default_context(cafile=house.verify)
    context.minimum_version = context.maximum_version = version
    with httpx.Client(base_url=house.url, verify=context, trust_env=False) as http:
        assert http.get("/healthz").text == "ok\n"


def test_an_old_version_of_tls_is_refused(house):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(house.verify)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with socket.create_connection(house.address, timeout=30) as plain:
            context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_plain_http_is_told_to_use_tls(house):
    answer = httpx.get(house.url.replace("https", "http") + "/healthz", trust_env=False, timeout=30)
    assert answer.status_code == 400
    assert "https://" in answer.text


def test_a_stranger_without_a_handshake_holds_up_nobody(house):
    with socket.create_connection(house.address, timeout=30) as silent:
        silent.sendall(b"\x16\x03\x01")
        with house.client() as http:
            assert http.get("/healthz").status_code == 200


def test_commands_know_the_server_by_its_certificate(house):
    # The authority is nobody's that this machine trusts.
    assert house.cli("status", "--json")["version"]


def test_a_renewed_certificate_is_shown_after_a_hangup(house):
    folder = house.folder
    serial = house.authority.sign(folder / "cert.pem", folder / "key.pem")

    def shown():
        pem = ssl.get_server_certificate(house.address, timeout=30)
        return x509.load_pem_x509_certificate(pem.encode()).serial_number

    assert shown() != serial
    house.process.child.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: shown() == serial, "the new certificate")
    harness.wait_until(lambda: "the certificate was read again" in house.process.output(), "the log says so")
    assert house.cli("status", "--json")["version"]

    good = (folder / "cert.pem").read_bytes()
    (folder / "cert.pem").write_text("not a certificate")
    house.process.child.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: "the certificate was refused" in house.process.output(), "the log says so")
    assert shown() == serial
    (folder / "cert.pem").write_bytes(good)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('tls_cert = "cert.pem"', "tls_key: is missing"),
        ('tls_key = "key.pem"', "tls_cert: is missing"),
        ('tls_cert = "nowhere.pem"\ntls_key = "key.pem"', "nowhere.pem cannot be read"),
        ('tls_cert = "key.pem"\ntls_key = "key.pem"', "holds no certificate"),
        ('tls_cert = "cert.pem"\ntls_key = "cert.pem"', "holds no private key"),
        ('tls_cert = "cert.pem"\ntls_key = "other.pem"', "do not go together"),
    ],
)
def test_files_that_cannot_be_used_are_told_at_the_start(tmp_path, settings, says):
    authority = Authority(tmp_path)
    authority.sign(tmp_path / "unused.pem", tmp_path / "other.pem")
    authority.sign(tmp_path / "cert.pem", tmp_path / "key.pem")
    (tmp_path / "anykey.toml").write_text(settings)
    command = [harness.binary(), "serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=harness.clean_environment())
    assert done.returncode == 78, done.stderr
    assert says in done.stderr
