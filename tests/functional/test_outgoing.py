"""Our requests to other services on real sockets: whom TLS lets us trust, what we show, what is kept open."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from glancetx.config.settings import ClientTlsSettings
from glancetx.domain.errors import ConfigurationError
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.exchange import Connections
from glancetx.outgoing.tls import TlsPolicy
from glancetx.standalone.certificates import CertificateFiles, prepare_certificates


@frozen
class Server:
    """An HTTPS server that writes down who came, by the subject of the certificate that was shown."""

    port: int
    files: CertificateFiles
    clients: list[Any] = field(factory=list)
    sockets: set[int] = field(factory=set)

    def url(self, host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.port}/"


def serve(files: CertificateFiles, client_ca: Path | None) -> Iterator[Server]:
    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            connection: Any = self.connection
            seen.clients.append(connection.getpeercert())
            seen.sockets.add(self.client_address[1])
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments: Any) -> None:
            """Silence."""

    class Silent(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that does not trust us is what we want."""

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
    context.load_cert_chain(files.certificate, files.key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    listening = Silent(("127.0.0.1", 0), Page)
    listening.socket = context.wrap_socket(listening.socket, server_side=True, do_handshake_on_connect=False)
    seen = Server(listening.server_address[1], files)
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
    thread.start()
    yield seen
    listening.shutdown()
    thread.join()
    listening.server_close()


def certify(certificate: Path, key_file: Path) -> None:
    """A certificate which vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "glancetx")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    certificate.write_bytes(made.public_bytes(encoding))
    key_file.write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One that asks for no certificate, and is called 127.0.0.1 and localhost."""
    yield from serve(prepare_certificates(tmp_path / "server", ["127.0.0.1", "localhost"]), None)


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Server]:
    """One that serves only who shows the certificate in ``client.pem``."""
    certificate = tmp_path / "client.pem"
    certify(certificate, tmp_path / "client.key")
    yield from serve(prepare_certificates(tmp_path / "server", ["127.0.0.1"]), certificate)


async def get(url: str, *, times: int = 1, **tls: Any) -> None:
    """Get *url* so many times; every answer is a good one."""
    from twisted.internet import reactor

    any_reactor: Any = reactor
    connections = Connections(any_reactor, ClientTlsSettings(**tls), timeout=20)
    try:
        for _ in range(times):
            assert (await connections.exchange.request("GET", url)).status == 200
    finally:
        await connections.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest_twisted.ensureDeferred
async def test_an_authority_of_our_choice(server: Server, host: str) -> None:
    """A certificate which *cafile* vouches for is trusted, for an address and for a name."""
    await get(server.url(host), cafile=server.files.ca)


@pytest_twisted.ensureDeferred
async def test_connections_are_kept(server: Server) -> None:
    """Several requests go over one connection."""
    await get(server.url(), times=3, cafile=server.files.ca)
    assert (len(server.clients), len(server.sockets)) == (3, 1)


@pytest_twisted.ensureDeferred
async def test_strangers_are_not_trusted(server: Server, tmp_path: Path) -> None:
    """Neither by the system's authorities nor by one of another name; nothing is sent to them."""
    other = prepare_certificates(tmp_path / "other", ["127.0.0.1"])
    choices: list[dict[str, Any]] = [{}, {"cafile": other.ca}]
    for settings in choices:
        with pytest.raises(NoAnswer, match=r"certificate verify failed"):
            await get(server.url(), **settings)
    assert not server.clients


@pytest_twisted.ensureDeferred
async def test_the_name_has_to_be_right(tmp_path: Path) -> None:
    """A good certificate of somebody else is a wrong one."""
    serving = serve(prepare_certificates(tmp_path / "server", ["elsewhere.example"]), None)
    server = next(serving)
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(NoAnswer, match="Verification"):
            await get(server.url(host), cafile=server.files.ca)
    assert not server.clients
    assert next(serving, None) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest_twisted.ensureDeferred
async def test_insecure_means_anybody(server: Server, host: str) -> None:
    """Who turns verification off talks to everybody."""
    await get(server.url(host), insecure=True)
    assert len(server.clients) == 1


@pytest.mark.parametrize("insecure", [False, True])
@pytest_twisted.ensureDeferred
async def test_our_certificate_is_shown(asking: Server, tmp_path: Path, insecure: bool) -> None:
    """From two files or from one; without one the server refuses."""
    certificate, key, one = (tmp_path / name for name in ("client.pem", "client.key", "one.pem"))
    one.write_bytes(key.read_bytes() + certificate.read_bytes())
    shared: dict[str, Any] = {"cafile": asking.files.ca, "insecure": insecure}
    await get(asking.url(), certfile=certificate, keyfile=key, **shared)
    await get(asking.url(), certfile=one, **shared)
    assert len(asking.clients) == 2
    assert all(shown["subject"] == ((("commonName", "glancetx"),),) for shown in asking.clients)
    with pytest.raises(NoAnswer):
        await get(asking.url(), **shared)


@pytest.mark.parametrize("insecure", [False, True])
def test_files_are_read_at_the_start(tmp_path: Path, insecure: bool) -> None:
    """What cannot be used is an error of the configuration, which names the file."""
    files = prepare_certificates(tmp_path / "server", ["127.0.0.1"])
    other = prepare_certificates(tmp_path / "other", ["127.0.0.1"])
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    bad: list[tuple[dict[str, Any], str]] = [
        ({"cafile": tmp_path / "absent"}, "absent"),
        ({"cafile": nonsense}, "nonsense"),
        ({"certfile": nonsense}, "nonsense"),
        ({"certfile": files.certificate}, "no private key"),
        ({"certfile": files.certificate, "keyfile": tmp_path / "absent"}, "absent"),
        ({"certfile": files.certificate, "keyfile": other.key}, "not the key of"),
    ]
    for settings, words in bad:
        with pytest.raises(ConfigurationError, match=words):
            TlsPolicy(ClientTlsSettings(insecure=insecure, **settings))
