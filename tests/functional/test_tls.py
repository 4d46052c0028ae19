"""TLS on a real socket: versions, ciphers, client certificates, and clients which speak something else."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from glancetx.standalone.certificates import CertificateFiles, prepare_certificates
from tests.ports import free_port
from tests.running import DATA, Daemon

CONTENT = os.urandom(3 * 1024 * 1024 + 1)
V1_1, V1_2, V1_3 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@frozen
class Served:
    """A daemon, and the port of each kind: "ec", "rsa", "optional" and "required" (client certificates)."""

    daemon: Daemon
    ports: dict[str, int]
    files: CertificateFiles


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One daemon for all tests here."""
    folder = tmp_path_factory.mktemp("tls")
    daemon = Daemon(folder)
    files = prepare_certificates(folder / "tls", ["127.0.0.1"])
    clients, own = folder / "client.pem", folder / "rsa.pem"
    certify(clients, ec.generate_private_key(ec.SECP256R1()))
    certify(own, rsa.generate_private_key(65537, 2048))
    certify(folder / "stranger.pem", ec.generate_private_key(ec.SECP256R1()))
    ports = {"ec": daemon.port, "rsa": free_port(), "optional": free_port(), "required": free_port()}
    more = {
        "ec": "",
        "rsa": f":certKey={own}:privateKey={own}",
        "optional": f":clientCA={clients}:clientRequired=no",
        "required": f":clientCA={clients}",
    }
    daemon.tls = ssl.create_default_context(cafile=files.ca)
    daemon.configure(f"[glancetx]\ntls_certificate = {files.certificate}\ntls_key = {files.key}")
    listen = [f"--listen=ssl:{port}:interface=127.0.0.1{more[kind]}" for kind, port in ports.items()]
    daemon.listen = listen.pop().removeprefix("--listen=")
    daemon.start(*listen)
    yield Served(daemon, ports, files)
    daemon.stop()


def certify(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    """Write a certificate that signs itself, and its key before it."""
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]), datetime.now(UTC)
    day = timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    path.write_bytes(key.private_bytes(*form) + certificate)


def client(version: ssl.TLSVersion | None = None, ciphers: str = "", own: Path | None = None) -> ssl.SSLContext:
    """A client that trusts everybody, speaks only *version* and *ciphers*, and shows *own* when asked for it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if ciphers:
        context.set_ciphers(ciphers)
    if version:
        context.minimum_version = context.maximum_version = version
    if own:
        context.load_cert_chain(own)
    return context


def ask(port: int, context: ssl.SSLContext) -> tuple[str, str]:
    """Ask for /healthcheck; the version and the cipher spoken. OSError (of which SSLError is one) if it fails."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = connection.recv(12)
        if not answer:
            raise ConnectionError("closed")
        assert answer == b"HTTP/1.1 200"
        return str(connection.version()), (connection.cipher() or ("",))[0]


@pytest.mark.parametrize(("version", "named"), [(V1_2, "TLSv1.2"), (V1_3, "TLSv1.3")])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_versions(served: Served, kind: str, version: ssl.TLSVersion, named: str) -> None:
    """TLS 1.2 and 1.3 are spoken, with certificates of both kinds."""
    assert ask(served.ports[kind], client(version))[0] == named


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_version(served: Served) -> None:
    """TLS 1.1 is refused by us, not by the client."""
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        ask(served.ports["rsa"], client(V1_1, "ALL:@SECLEVEL=0"))


@pytest.mark.parametrize("cipher", ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305"])
def test_good_ciphers(served: Served, cipher: str) -> None:
    """Forward secrecy and authenticated encryption are what we speak."""
    assert ask(served.ports["rsa"], client(V1_2, cipher)) == ("TLSv1.2", cipher)


@pytest.mark.parametrize(
    "cipher", ["AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES256-GCM-SHA384"]
)
def test_poor_ciphers(served: Served, cipher: str) -> None:
    """Without ECDHE or without authenticated encryption there is no connection."""
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        ask(served.ports["rsa"], client(V1_2, cipher))


@pytest.mark.parametrize(
    ("kind", "shown", "accepted"),
    [
        ("optional", None, True),
        ("optional", "client.pem", True),
        ("optional", "stranger.pem", False),
        ("required", None, False),
        ("required", "client.pem", True),
        ("required", "stranger.pem", False),
    ],
)
@pytest.mark.parametrize("version", [V1_2, V1_3])
def test_client_certificate(
    served: Served, kind: str, shown: str | None, accepted: bool, version: ssl.TLSVersion
) -> None:
    """One of the authority is accepted; none only where it is optional; another one never."""
    context = client(version, own=served.daemon.folder / shown if shown else None)
    if accepted:
        assert ask(served.ports[kind], context)
    else:
        with pytest.raises(OSError):
            ask(served.ports[kind], context)


@pytest.mark.parametrize("required", [False, True])
def test_client_certificate_options(daemon: Daemon, served: Served, required: bool) -> None:
    """The options do what the arguments of an address do."""
    clients = served.daemon.folder / "client.pem"
    daemon.configure(
        f"""
        [glancetx]
        tls_certificate = {served.files.certificate}
        tls_key = {served.files.key}
        tls_client_ca = {clients}
        tls_client_certificate_required = {required}
        """
    )
    daemon.listen = f"ssl:{daemon.port}:interface=127.0.0.1"
    daemon.tls = client(own=clients)
    daemon.start()
    daemon.tls = client()
    assert daemon.answers() is not required


@pytest.mark.parametrize(
    "junk",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(3000), b"\x16\x03\x01\x02\x00\x01", b""],
    ids=["plain", "random", "beginning", "nothing"],
)
def test_junk(served: Served, junk: bytes) -> None:
    """Who does not speak TLS is cut off or waits alone, and disturbs nobody."""
    with socket.create_connection(("127.0.0.1", served.daemon.port), timeout=60) as connection:
        connection.sendall(junk)
        assert served.daemon.answers()
        try:
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(1000), b""))
        except OSError:  # it was cut off already
            answer = b""
        assert len(answer) < 100  # at most an alert
    assert served.daemon.answers()
    assert "Traceback" not in served.daemon.log.read_text()


@pytest.mark.parametrize("version", [V1_2, V1_3])
def test_round_trip(served: Served, version: ssl.TLSVersion) -> None:
    """Image data go up and come down unchanged."""
    daemon = served.daemon
    context = ssl.create_default_context(cafile=served.files.ca)
    context.minimum_version = context.maximum_version = version
    daemon.tls = context
    body = json.dumps({"name": "x", "disk_format": "raw", "container_format": "bare"}).encode()
    image_id = json.loads(daemon.call("POST", "/v2/images", body)[1])["id"]
    path = f"/v2/images/{image_id}/file"
    assert daemon.call("PUT", path, CONTENT, Content_Type=DATA)[0] == 204
    assert daemon.call("GET", path) == (200, CONTENT)
