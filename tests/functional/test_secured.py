"""Large bodies by TLS that we begin ourselves: to servers that are slow, that break off, or that never greet."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from glancetx.config.settings import ClientTlsSettings
from glancetx.outgoing.answers import NoAnswer, whole
from glancetx.outgoing.client import Answer, HttpClient, Patience
from glancetx.outgoing.tls import TlsPolicy
from glancetx.standalone.certificates import CertificateFiles, prepare_certificates
from glancetx.streams import BytesSource
from tests.ports import free_port

DATA = os.urandom(8 * 1024 * 1024 + 1)
BOTTLES = 300_000
Serve = Callable[[ssl.SSLSocket], None]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return prepare_certificates(tmp_path_factory.mktemp("tls"), ["127.0.0.1", "localhost"])


def in_a_thread(function: Callable[[], None]) -> Deferred[None]:
    """While it waits, the reactor goes on."""
    from twisted.internet.threads import deferToThread

    done: Deferred[None] = deferToThread(function)
    return done


@asynccontextmanager
async def server(files: CertificateFiles, serve: Serve, names: list[str | None] | None = None) -> AsyncIterator[int]:
    """The port of one that accepts a single connection, and does with it as *serve* says, in a thread."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    if names is not None:
        context.sni_callback = lambda _, name, __: names.append(name)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(60)

    def run() -> None:
        with suppress(OSError):
            accepted, _ = listening.accept()
            accepted.settimeout(60)
            with context.wrap_socket(accepted, server_side=True, suppress_ragged_eofs=False) as connection:
                serve(connection)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()
        await in_a_thread(thread.join)


def client(files: CertificateFiles, patience: Patience | None = None) -> HttpClient:
    from twisted.internet import reactor

    return HttpClient(reactor, TlsPolicy(ClientTlsSettings(cafile=files.ca)), patience)


def head_of(connection: ssl.SSLSocket) -> bytes:
    """The head of a request, and what came with it."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    return head


class Reader(Protocol):
    """Reads a body with a pause after each piece; *done* has it, and whether it came to its end."""

    def __init__(self) -> None:
        self.done: Deferred[tuple[bytes, bool]] = Deferred()
        self._pieces: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        from twisted.internet import reactor

        transport: Any = self.transport
        timer: Any = reactor
        self._pieces.append(data)
        transport.pauseProducing()
        timer.callLater(0, transport.resumeProducing)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.done.callback((b"".join(self._pieces), whole(reason)))


async def read(answer: Answer) -> tuple[bytes, bool]:
    reader = Reader()
    answer.deliver(reader)
    return await reader.done


@pytest_twisted.ensureDeferred
async def test_a_body_arrives_through_pauses(files: CertificateFiles) -> None:
    """Whoever pauses a download gets every byte in the end."""

    def serve(connection: ssl.SSLSocket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA) + DATA)
        connection.recv(1)  # the client closes

    http = client(files)
    async with server(files, serve) as port:
        assert await read(await http.request("GET", f"https://127.0.0.1:{port}/")) == (DATA, True)
        await http.close()


@pytest_twisted.ensureDeferred
async def test_a_short_body_is_not_whole(files: CertificateFiles) -> None:
    """Whatever TLS says: fewer bytes than announced are an error."""

    def serve(connection: ssl.SSLSocket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(DATA) + 1) + DATA)
        connection.unwrap()

    http = client(files)
    async with server(files, serve) as port:
        assert await read(await http.request("GET", f"https://127.0.0.1:{port}/")) == (DATA, False)


@pytest_twisted.ensureDeferred
async def test_a_server_that_reads_slowly_gets_all(files: CertificateFiles) -> None:
    """A write that finds the socket full is repeated, with the same bytes."""
    found: list[str] = []

    def serve(connection: ssl.SSLSocket) -> None:
        body = head_of(connection).partition(b"\r\n\r\n")[2]
        digest, left = hashlib.sha256(body), len(DATA) - len(body)
        while left:
            piece = connection.recv(5000)
            digest.update(piece)
            left -= len(piece)
        found.append(digest.hexdigest())
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    http = client(files)
    async with server(files, serve) as port:
        answer = await http.request("PUT", f"https://127.0.0.1:{port}/", {}, BytesSource(DATA))
        assert (answer.status, found) == (204, [hashlib.sha256(DATA).hexdigest()])


@pytest_twisted.ensureDeferred
async def test_who_cancels_ends_the_connection(files: CertificateFiles) -> None:
    """A server that takes no more of an upload sees it cut, and has not seen its end."""
    arrived, go_on = Deferred[None](), threading.Event()
    ended: list[bool] = []

    def serve(connection: ssl.SSLSocket) -> None:
        from twisted.internet import reactor

        threads: Any = reactor
        head_of(connection)
        threads.callFromThread(arrived.callback, None)
        go_on.wait(60)
        try:
            while connection.recv(65536):
                pass
            ended.append(True)
        except OSError:
            ended.append(False)

    http = client(files)
    async with server(files, serve) as port:
        url = f"https://127.0.0.1:{port}/"
        call = Deferred.fromCoroutine(http.request("PUT", url, {}, BytesSource(bytes(64 * 1024 * 1024))))
        await arrived
        call.cancel()
        with pytest.raises(CancelledError):
            await call
        go_on.set()
    assert ended == [False]


@pytest_twisted.ensureDeferred
async def test_a_server_that_does_not_greet(files: CertificateFiles) -> None:
    """The time for an answer is that for the handshake too."""
    http = client(files, Patience(connect=0.1, answer=0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(NoAnswer, match="in time"):
            await http.request("GET", f"https://127.0.0.1:{silent.getsockname()[1]}/")
        accepted, _ = silent.accept()
        accepted.settimeout(60)

        def until_the_end() -> None:
            with suppress(ConnectionResetError):
                while accepted.recv(65536):  # the greeting comes, and then the end
                    pass

        with accepted:
            await in_a_thread(until_the_end)


@pytest_twisted.ensureDeferred
async def test_names_are_told_and_addresses_are_not(files: CertificateFiles) -> None:
    """A server of several names learns which one is meant, whether it is verified or not."""
    for host, insecure in (("localhost", False), ("localhost", True), ("127.0.0.1", False), ("127.0.0.1", True)):
        names: list[str | None] = []

        def serve(connection: ssl.SSLSocket) -> None:
            head_of(connection)
            connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

        from twisted.internet import reactor

        http = HttpClient(reactor, TlsPolicy(ClientTlsSettings(cafile=files.ca, insecure=insecure)))
        async with server(files, serve, names) as port:
            assert (await http.request("GET", f"https://{host}:{port}/")).status == 204
        assert names == [host if host == "localhost" else None]


@pytest.fixture
def talkative(files: CertificateFiles) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """OpenSSL's own server for one connection by TLS 1.2: it prints what comes, and sends what it is given as input."""
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-tls1_2", "-naccept", "1"]
    command += ["-cert", str(files.certificate), "-key", str(files.key)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as peer:
        assert peer.stdout is not None
        while b"ACCEPT" not in peer.stdout.readline():
            pass
        yield port, peer
        peer.kill()


@pytest_twisted.ensureDeferred
async def test_a_server_may_negotiate_again(
    files: CertificateFiles, talkative: tuple[int, subprocess.Popen[bytes]]
) -> None:
    """With TLS 1.2 it may want to in the middle of a body, which arrives whole."""
    port, peer = talkative
    arrived, received = Deferred[None](), bytearray()

    def tell(text: bytes) -> None:
        assert peer.stdin is not None
        peer.stdin.write(text)
        peer.stdin.flush()

    def listen(output: Any) -> None:
        from twisted.internet import reactor

        threads: Any = reactor
        for line in output:
            received.extend(line)
            if line.startswith(b"PUT /"):
                threads.callFromThread(arrived.callback, None)
            if line.startswith(b"the end"):
                tell(b"HTTP/1.1 204 No Content\nContent-Length: 0\n\n")

    thread = threading.Thread(target=listen, args=(peer.stdout,))
    thread.start()
    body = b"".join(b"%d bottles\n" % number for number in range(BOTTLES)) + b"the end\n"
    http = client(files)
    call = Deferred.fromCoroutine(http.request("PUT", f"https://127.0.0.1:{port}/", {}, BytesSource(body)))
    await arrived
    tell(b"R\n")
    assert (await call).status == 204
    peer.kill()
    thread.join()
    assert b"SSL_do_handshake -> 1" in received
    assert BOTTLES - received.count(b" bottles") < 5  # the server's own words fall into some of the lines
