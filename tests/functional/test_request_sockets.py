"""The request layer on real loopback sockets, with raw bytes: on our own Site, and on a plain one of twisted.web."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.web.iweb import IBodyProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from glancetx.config.settings import HttpSettings
from glancetx.domain.errors import ClientVanished, Invalid, TooSlow
from glancetx.runtime.threads import Threads
from glancetx.streams import BytesSource, FileSource
from glancetx.testing.fakes import until
from glancetx.web.request import ImageRequest, IStreamingResource
from glancetx.web.respond import Responder
from glancetx.web.site import ImageSite

MIB = 1024 * 1024
PATIENCE = 60.0  # seconds for what takes a moment on an idle machine
BLOCK = os.urandom(MIB)


@implementer(IConsumer)
class Taker:
    """Counts and digests; pauses *body* for good when told so."""

    def __init__(self, body: IBodyProducer) -> None:
        self.body = body
        self.size = 0
        self.digest = sha256()
        self.largest = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self.largest = max(self.largest, len(data))
        self.digest.update(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing: the test pauses."""

    def unregisterProducer(self) -> None:
        """Nothing."""


@implementer(IStreamingResource)
class Lab(Resource):
    """Answers by path. What it saw is in its attributes."""

    isLeaf = True

    def __init__(self, responder: Responder, threads: Threads, folder: Path) -> None:
        super().__init__()
        self._responder, self._threads, self._folder = responder, threads, folder
        self.takers: list[Taker] = []
        self.errors: list[BaseException] = []
        self.arrived: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self.sources: list[Any] = []

    def render(self, request: Any) -> Any:
        method = getattr(self, request.path.decode().strip("/"))
        done = Deferred.fromCoroutine(method(request))
        request.notifyFinish().addErrback(lambda _: done.cancel() if request.path == b"/cancelled" else None)
        done.addCallbacks(lambda _: self._finish(request), lambda failure: self._answer(request, failure.value))
        return NOT_DONE_YET

    def _finish(self, request: Any) -> None:
        if not request.finished and not request._disconnected:
            request.finish()
        self._end()

    def _end(self) -> None:
        if not self.ended.called:
            self.ended.callback(None)

    def _answer(self, request: Any, error: BaseException) -> None:
        self.errors.append(error)
        if not request.startedWriting and not request._disconnected:
            request.setResponseCode(408 if isinstance(error, TooSlow) else 400 if isinstance(error, Invalid) else 500)
            request.setHeader(b"Content-Length", b"0")
            request.finish()
        self._end()

    async def echo(self, request: ImageRequest) -> None:
        taker = Taker(request.body)
        self.takers.append(taker)
        await request.body.startProducing(taker)
        self._say(request, f"{taker.size} {taker.digest.hexdigest()}".encode())

    async def refuse(self, request: ImageRequest) -> None:
        request.setResponseCode(403)
        self._say(request, b"no")

    async def hold(self, request: ImageRequest) -> None:
        taker = Taker(request.body)
        self.takers.append(taker)
        done = request.body.startProducing(taker)
        request.body.pauseProducing()
        self.arrived.callback(None)
        await done
        self._say(request, f"{taker.size} {taker.digest.hexdigest()}".encode())

    cancelled = hold

    def _say(self, request: ImageRequest, text: bytes) -> None:
        request.setHeader(b"Content-Length", b"%d" % len(text))
        request.write(text)

    async def file(self, request: ImageRequest) -> None:
        """``?size`` bytes of a file that has 8 MiB; more than that it has not."""
        size = int(request.uri.partition(b"?")[2])
        descriptor = os.open(self._folder / "file", os.O_RDONLY)
        if request.getHeader("x-cold"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        source = FileSource(self._threads, descriptor, 0, size)
        self.sources.append(source)
        request.setHeader(b"Content-Length", b"%d" % size)
        await self._responder.send(request, source)

    async def endless(self, request: ImageRequest) -> None:
        source = Endless()
        self.sources.append(source)
        request.setHeader(b"Content-Length", b"%d" % 10**12)
        await self._responder.send(request, source)

    async def parts(self, request: ImageRequest) -> None:
        """Two pieces of the file and words between them."""
        request.setHeader(b"Content-Length", b"%d" % (2 * MIB + 9))
        for offset in (MIB, 0):
            request.write(b"one")
            descriptor = os.open(self._folder / "file", os.O_RDONLY)
            await self._responder.send(request, FileSource(self._threads, descriptor, offset, MIB))
        await self._responder.send(request, BytesSource(b"end"))

    async def broken(self, request: ImageRequest) -> None:
        """Announces more than it has."""
        request.setHeader(b"Content-Length", b"10")
        source = BytesSource(b"abc")
        source.length = 10
        await self._responder.send(request, source)


@implementer(IBodyProducer)
class Endless:
    """Produces for as long as it is let."""

    length = 10**12
    stopped = paused = False
    consumer: Any = None

    def startProducing(self, consumer: Any) -> Deferred[None]:
        self.consumer = consumer
        self._run()
        return Deferred()

    def _run(self) -> None:
        while not self.paused and not self.stopped:
            self.consumer.write(BLOCK)

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self._run()

    def stopProducing(self) -> None:
        self.stopped = True


class Server:
    """A Lab on a port."""

    def __init__(self, lab: Lab, port: int) -> None:
        self.lab, self.port = lab, port

    def connect(self) -> Client:
        return Client(self.port)


class Client:
    """Blocking, raw; used in threads."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._rest = b""

    def send(self, *lines: str, body: bytes = b"") -> None:
        self.socket.sendall("\r\n".join([lines[0], "Host: x", *lines[1:], "", ""]).encode() + body)

    def answer(self, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by lower-case name, body; of one response with a Content-Length."""
        head = self._until(b"\r\n\r\n").decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        status = int(head[0].split(" ")[1])
        length = 0 if head_only or status < 200 else int(headers["content-length"])
        return status, headers, self._exactly(length)

    def rest(self) -> bytes:
        """Everything until the other side ends."""
        data = bytearray(self._rest)
        while piece := self.socket.recv(65536):
            data += piece
        return bytes(data)

    def close(self) -> None:
        self.socket.close()

    def _more(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError(self._rest)
        self._rest += data

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            self._more()
        end = self._rest.index(mark) + len(mark)
        found, self._rest = self._rest[:end], self._rest[end:]
        return found

    def _exactly(self, length: int) -> bytes:
        parts, missing = [self._rest[:length]], length - len(self._rest[:length])
        self._rest = self._rest[length:]
        while missing:
            data = self.socket.recv(min(missing, 1 << 20))
            if not data:
                raise EOFError
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)


Serve = Callable[..., Coroutine[Any, Any, Server]]


@pytest_twisted.async_yield_fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Starts servers; *plain*: on a Site that knows nothing of us but the request factory."""
    reactor = _reactor()
    threads = Threads(reactor, "files", 4)
    threads.start()
    ports: list[Any] = []
    (tmp_path / "file").write_bytes(BLOCK * 8)

    async def serve(settings: HttpSettings | None = None, *, plain: bool = False) -> Server:
        lab = Lab(Responder(reactor, threads), threads, tmp_path)
        if plain:
            site = Site(lab, requestFactory=ImageRequest)
        else:
            site = ImageSite(lab, settings or HttpSettings(linger=2), reactor)
        site.startFactory = site.stopFactory = lambda: None  # type: ignore[method-assign]
        port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(site)
        ports.append(port)
        return Server(lab, port.getHost().port)

    yield serve
    for port in ports:
        await maybeDeferred(port.stopListening)
    await threads.stop()


@pytest_twisted.async_yield_fixture(params=["ours", "plain"])
async def server(request: pytest.FixtureRequest, serve: Serve) -> AsyncIterator[Server]:
    """A Lab on our Site, and on a plain one."""
    yield await serve(plain=request.param == "plain")


def told(data: bytes) -> bytes:
    return f"{len(data)} {sha256(data).hexdigest()}".encode()


def wait_until(true: Callable[[], object]) -> None:
    """In a thread: for what happens soon in the reactor."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


@pytest_twisted.ensureDeferred
async def test_keep_alive(server: Server) -> None:
    """Several uploads and a HEAD on one connection."""

    def talk() -> None:
        client = server.connect()
        for size in (0, 1, 100_000, 3 * MIB):
            body = (BLOCK * 3)[:size]
            client.send("PUT /echo HTTP/1.1", f"Content-Length: {size}", body=body)
            assert client.answer()[2] == told(body)
        client.send("HEAD /refuse HTTP/1.1")
        assert client.answer(head_only=True)[0] == 403
        client.send("PUT /echo HTTP/1.1")
        assert client.answer()[2] == told(b"")
        client.close()

    await deferToThread(talk)


@pytest_twisted.ensureDeferred
async def test_chunked(server: Server) -> None:
    """A chunked body, and after it another request."""

    def talk() -> None:
        client = server.connect()
        chunk = b"%x\r\n%s\r\n" % (MIB, BLOCK)
        client.send("PUT /echo HTTP/1.1", "Transfer-Encoding: chunked", body=chunk * 3 + b"0\r\n\r\n")
        assert client.answer()[2] == told(BLOCK * 3)
        client.send("PUT /echo HTTP/1.1", "Transfer-Encoding: chunked", body=b"0\r\n\r\n")
        assert client.answer()[2] == told(b"")
        client.close()

    await deferToThread(talk)


@pytest_twisted.ensureDeferred
async def test_pipelined_uploads(server: Server) -> None:
    """Two uploads sent in one go are taken one after the other."""

    def talk() -> None:
        client = server.connect()
        one = b"PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % 50_000
        client.socket.sendall((one + BLOCK[:50_000]) * 2 + b"GET /refuse HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.answer()[2] == told(BLOCK[:50_000])
        assert client.answer()[2] == told(BLOCK[:50_000])
        assert client.answer()[0] == 403
        client.close()

    await deferToThread(talk)


@pytest_twisted.ensureDeferred
async def test_continue(server: Server) -> None:
    """The client is told to go on when the body is asked for."""

    def talk() -> None:
        client = server.connect()
        client.send("PUT /echo HTTP/1.1", "Content-Length: 3", "Expect: 100-continue")
        assert client.answer()[0] == 100
        client.socket.sendall(b"abc")
        assert client.answer()[2] == told(b"abc")
        client.close()

    await deferToThread(talk)


@pytest_twisted.ensureDeferred
async def test_refused_instead_of_continue(server: Server) -> None:
    """A refusal comes instead of 100 Continue, and the connection ends."""

    def talk() -> None:
        client = server.connect()
        client.send("PUT /refuse HTTP/1.1", "Content-Length: 3", "Expect: 100-continue")
        status, headers, body = client.answer()
        assert (status, headers["connection"], body) == (403, "close", b"no")
        assert client.rest() == b""
        client.close()

    await deferToThread(talk)


@pytest_twisted.ensureDeferred
async def test_other_expectation(server: Server) -> None:
    """An expectation that nobody can meet is refused."""

    def talk() -> None:
        client = server.connect()
        client.send("PUT /echo HTTP/1.1", "Content-Length: 3", "Expect: wonders")
        assert client.answer()[0] == 417
        client.close()

    await deferToThread(talk)
    assert server.lab.takers == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("framing", ["Content-Length: 67108864", "Transfer-Encoding: chunked"])
async def test_early_refusal(server: Server, framing: str) -> None:
    """A client that sends 64 MiB before it listens still reads the refusal, and nothing is kept of what it sent."""

    def talk() -> None:
        client = server.connect()
        client.send("PUT /refuse HTTP/1.1", framing)
        before = resident()
        part = BLOCK if "Length" in framing else b"%x\r\n%s\r\n" % (MIB, BLOCK)
        for _ in range(64):
            client.socket.sendall(part)
        status, headers, body = client.answer()
        assert (status, headers["connection"], body) == (403, "close", b"no")
        assert resident() - before < 32 * MIB
        client.close()

    await deferToThread(talk)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("plain", [False, True])
async def test_early_refusal_is_followed_by_the_end(serve: Serve, plain: bool) -> None:
    """The client sees the end at once, though its body is not complete, and the server waits for it for long."""
    server = await serve(HttpSettings(linger=3600), plain=plain)

    def talk() -> None:
        client = server.connect()
        client.send("PUT /refuse HTTP/1.1", "Content-Length: 67108864", body=BLOCK)
        assert client.answer()[0] == 403
        assert client.rest() == b""
        client.close()

    await deferToThread(talk)


@pytest_twisted.ensureDeferred
async def test_small_rest(server: Server) -> None:
    """A small body that nobody wanted does not cost the connection."""

    def talk() -> None:
        client = server.connect()
        for _ in range(3):
            client.send("PUT /refuse HTTP/1.1", "Content-Length: 300000", body=BLOCK[:300_000])
            assert client.answer()[0] == 403
        client.send("PUT /echo HTTP/1.1", "Content-Length: 3", body=b"abc")
        assert client.answer()[2] == told(b"abc")
        client.close()

    await deferToThread(talk)


@pytest_twisted.ensureDeferred
async def test_paused_consumer(server: Server) -> None:
    """While the consumer pauses it gets nothing, the client has to wait, and memory does not grow."""
    lab = server.lab
    before = resident()

    def fill(client: Client) -> int:
        client.socket.settimeout(1)
        sent = 0
        try:
            while sent < 64 * MIB:
                sent += client.socket.send(BLOCK[sent % MIB :])
        except TimeoutError:
            pass
        return sent

    def finish(client: Client, sent: int) -> bytes:
        client.socket.settimeout(PATIENCE)
        while sent < 64 * MIB:
            sent += client.socket.send(BLOCK[sent % MIB :])
        return client.answer()[2]

    client = server.connect()
    client.send("PUT /hold HTTP/1.1", f"Content-Length: {64 * MIB}")
    await lab.arrived
    sent = await deferToThread(fill, client)
    assert sent < 32 * MIB
    assert lab.takers[0].size == 0
    assert resident() - before < 16 * MIB
    lab.takers[0].body.resumeProducing()
    assert await deferToThread(finish, client, sent) == told(BLOCK * 64)
    assert lab.takers[0].largest > 128 * 1024
    client.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("path", ["hold", "echo", "cancelled"])
async def test_client_vanishes_in_upload(serve: Serve, path: str) -> None:
    """Whoever reads the body hears of it: by ClientVanished, or by being cancelled before."""
    for plain in (False, True):
        server = await serve(plain=plain)
        client = server.connect()
        client.send(f"PUT /{path} HTTP/1.1", "Content-Length: 1000", body=b"abc")
        if path != "echo":  # the others paused, and so nobody reads: who is gone is noticed when somebody does again
            await server.lab.arrived
        client.close()
        if path != "echo":
            server.lab.takers[0].body.resumeProducing()
        await server.lab.ended
        error = server.lab.errors[0]
        assert (type(error).__name__ == "CancelledError") if path == "cancelled" else isinstance(error, ClientVanished)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("headers", [[], ["X-Cold: 1"]])
async def test_download(server: Server, headers: list[str]) -> None:
    """Files come whole, in memory or not, one after the other."""

    def talk() -> None:
        client = server.connect()
        for size in (8 * MIB, 0, 1, 8 * MIB - 1):
            client.send(f"GET /file?{size} HTTP/1.1", *headers)
            status, _, body = client.answer()
            assert status == 200
            assert sha256(body).digest() == sha256((BLOCK * 8)[:size]).digest()
        client.send("HEAD /file?100 HTTP/1.1")
        assert client.answer(head_only=True)[1]["content-length"] == "100"
        client.send("PUT /echo HTTP/1.1", "Content-Length: 3", body=b"abc")
        assert client.answer()[2] == told(b"abc")
        client.close()

    await deferToThread(talk)
    await until(_reactor(), lambda: open_files(server) == 0)  # a thread closes it


@pytest_twisted.ensureDeferred
async def test_downloads_in_turns(server: Server) -> None:
    """Many fast readers at once: each gets all of it, also behind those that leave in the middle."""

    def read(stays: bool) -> None:
        client = server.connect()
        for _ in range(4):
            client.send(f"GET /file?{8 * MIB} HTTP/1.1")
            if not stays:
                client.socket.recv(MIB)
                break
            assert client.answer()[2] == BLOCK * 8
        client.close()

    results = await DeferredList([deferToThread(read, number % 3 != 0) for number in range(15)], consumeErrors=True)
    assert [result for success, result in results if not success] == []
    await until(_reactor(), lambda: open_files(server) == 0)


@pytest_twisted.ensureDeferred
async def test_parts(server: Server) -> None:
    """Sources and words follow each other in one response."""

    def talk() -> None:
        client = server.connect()
        client.send("GET /parts HTTP/1.1")
        assert client.answer()[2] == b"one" + BLOCK + b"one" + BLOCK + b"end"
        client.close()

    await deferToThread(talk)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("path", ["file?8388609", "broken"])
async def test_source_ends_early(server: Server, path: str) -> None:
    """A response whose source ends early does not look whole: the connection is reset."""

    def talk() -> None:
        client = server.connect()
        client.send(f"GET /{path} HTTP/1.1")
        with pytest.raises(OSError, match="reset"):
            client.rest()
        client.close()

    await deferToThread(talk)
    assert len(server.lab.errors) == 1
    await until(_reactor(), lambda: open_files(server) == 0)  # a thread may still be reading it


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("path", ["file?8388608", "endless"])
async def test_client_vanishes_in_download(server: Server, path: str) -> None:
    """The source is stopped, and no descriptor is left."""

    def talk() -> None:
        client = server.connect()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(f"GET /{path} HTTP/1.1")
        client.socket.recv(1000)
        client.close()

    await deferToThread(talk)
    await server.lab.ended
    assert isinstance(server.lab.errors[0], ClientVanished)
    assert path != "endless" or server.lab.sources[0].stopped
    await until(_reactor(), lambda: open_files(server) == 0)


@pytest_twisted.ensureDeferred
async def test_slow_client_pauses_the_source(server: Server) -> None:
    """A client that does not read lets the source wait, and memory does not grow."""
    client = server.connect()
    client.send("GET /endless HTTP/1.1")
    await deferToThread(wait_until, lambda: server.lab.sources and server.lab.sources[0].paused)
    before = resident()
    await deferLater(_reactor(), 0.2, lambda: None)
    assert server.lab.sources[0].paused
    assert resident() - before < 16 * MIB
    client.close()
    await server.lab.ended


@pytest_twisted.ensureDeferred
async def test_many_clients(server: Server) -> None:
    """Twenty clients up and down at once, some of them slow."""

    def up() -> None:
        client = server.connect()
        client.send("PUT /echo HTTP/1.1", f"Content-Length: {5 * MIB}")
        for _ in range(5):
            client.socket.sendall(BLOCK)
        assert client.answer()[2] == told(BLOCK * 5)
        client.close()

    def down() -> None:
        client = server.connect()
        client.send(f"GET /file?{8 * MIB} HTTP/1.1")
        time.sleep(0.2)
        assert client.answer()[2] == BLOCK * 8
        client.close()

    results = await DeferredList([deferToThread(call) for call in (up, down) * 10], consumeErrors=True)
    assert [result for success, result in results if not success] == []


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("status", "wire"),
    [
        (400, "PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "PUT /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        (400, "PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        (400, "PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na"),
        (400, "PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1,1\r\n\r\na"),
        (400, "PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length : 1\r\n\r\na"),
        (400, "PUT /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        (400, "PUT /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        (400, "PUT /echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "PUT /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        (400, "PUT /echo HTTP/1.1\r\nHost: x\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "PUT /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n"),
        (400, "PUT /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"),
        (400, "PUT /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n"),
        (400, "GET /echo HTTP/1.1\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
        (505, "GET /echo HTTP/3.0\r\nHost: x\r\n\r\n"),
        (414, "GET /" + "a" * 17_000 + " HTTP/1.1\r\nHost: x\r\n\r\n"),
        (431, "GET /echo HTTP/1.1\r\nHost: x\r\n" + "X: y\r\n" * 101 + "\r\n"),
        (431, "GET /echo HTTP/1.1\r\nHost: x\r\nX: " + "y" * 70_000 + "\r\n\r\n"),
    ],
)
async def test_smuggling(serve: Serve, status: int, wire: str) -> None:
    """Each is refused, and nothing that follows on the connection is taken for a request."""
    server = await serve()

    def talk() -> None:
        client = server.connect()
        client.socket.sendall((wire + SMUGGLED).encode())
        got, headers, _ = client.answer()
        assert (got, headers["connection"]) == (status, "close")
        assert client.rest() == b""
        client.close()

    await deferToThread(talk)


@pytest_twisted.ensureDeferred
async def test_slow_headers(serve: Serve) -> None:
    """Headers that never end are answered 408 and the end."""
    server = await serve(HttpSettings(header_timeout=1, linger=60))

    def talk() -> None:
        client = server.connect()
        client.socket.sendall(b"GET /echo HTTP/1.1\r\nX: y")
        assert client.answer()[0] == 408
        assert client.rest() == b""
        client.close()

    await deferToThread(talk)


@pytest_twisted.ensureDeferred
async def test_slow_body(serve: Serve) -> None:
    """A body that does not come is answered 408 and the end."""
    server = await serve(HttpSettings(idle_timeout=1, linger=60))

    def talk() -> None:
        client = server.connect()
        client.send("PUT /echo HTTP/1.1", "Content-Length: 1000", body=b"abc")
        status, headers, _ = client.answer()
        assert (status, headers["connection"]) == (408, "close")
        assert client.rest() == b""
        client.close()

    await deferToThread(talk)
    assert isinstance(server.lab.errors[0], TooSlow)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("path", ["file?8388608", "endless"])
async def test_stalled_download(serve: Serve, path: str) -> None:
    """A client that takes nothing of its answer is given up; one that takes a little is not."""

    def crawl(server: Server) -> bool:
        """Whether the client was given up only when it stalled."""
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.connect(("127.0.0.1", server.port))
            client.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            last = time.monotonic()
            for _ in range(25):
                time.sleep(0.2)
                received = client.recv(65536, socket.MSG_WAITALL)
                now = time.monotonic()
                if len(received) < 65536 or server.lab.errors:
                    assert now - last > 1, "it was given up although it took a little"
                    return False  # the machine was too busy for this client to be what it says
                last = now
            wait_until(lambda: server.lab.errors)
        return True

    for _ in range(5):
        server = await serve(HttpSettings(idle_timeout=2))
        if await deferToThread(crawl, server):
            break
    assert isinstance(server.lab.errors[0], ClientVanished)


def open_files(server: Server) -> int:
    """How many descriptors of this process are open on the Lab's file."""
    name = str(server.lab._folder / "file")
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum(os.readlink(link) == name for link in links if os.path.lexists(link))


def _reactor() -> Any:
    from twisted.internet import reactor

    return reactor
