"""Deadlines and flow control of a connection, on a clock and a transport of the test's own."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from glancetx.config.settings import HttpSettings
from glancetx.domain.errors import ClientVanished, Invalid, TooSlow
from glancetx.web.request import ImageRequest, IStreamingResource, has_body
from glancetx.web.site import ImageSite

SETTINGS = HttpSettings(
    header_timeout=30,
    idle_timeout=60,
    min_body_rate=100,
    rate_window=40,
    linger=5,
    drain_limit=10,
    max_header_size=1000,
    max_url_length=200,
)
LATE = 8  # seconds by which deadlines may be missed


class Transport(StringTransport):
    """Notes an abort."""

    aborted = False

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        super().write(data)
        self.writes.append(data)

    def abortConnection(self) -> None:
        super().abortConnection()
        self.aborted = True

    @property
    def paused(self) -> bool:
        return str(self.producerState) == "paused"


@implementer(IConsumer)
class Sink:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing."""

    def unregisterProducer(self) -> None:
        """Nothing."""


@implementer(IStreamingResource)
class Lab(Resource):
    """Answers GET at once; keeps other requests for the test. ``PUT /refuse`` is refused at once."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[ImageRequest] = []

    def render(self, request: Any) -> Any:
        if request.method == b"GET" or request.path == b"/refuse":
            request.setResponseCode(200 if request.method == b"GET" else 403)
            return b"hello"
        self.requests.append(request)
        return NOT_DONE_YET


class Rig:
    """One connection to a Lab."""

    def __init__(self, settings: HttpSettings = SETTINGS) -> None:
        self.clock = Clock()
        self.lab = Lab()
        self.logged: list[Any] = []
        self.site = ImageSite(self.lab, settings, self.clock, self.logged.append)
        self.channel: Any = self.site.buildProtocol(None)
        self.transport = Transport()
        self.channel.makeConnection(self.transport)

    def send(self, *lines: str, body: bytes = b"") -> None:
        self.channel.dataReceived("\r\n".join([lines[0], "Host: x", *lines[1:], "", ""]).encode() + body)

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 2)):
            self.clock.advance(0.5)

    def put(self, *headers: str, body: bytes = b"") -> Any:
        self.send("PUT / HTTP/1.1", *headers, body=body)
        return self.lab.requests[-1]

    @property
    def said(self) -> bytes:
        return bytes(self.transport.value())

    @property
    def over(self) -> bool:
        return self.transport.disconnecting or self.transport.aborted


def test_the_headers_and_the_body_are_one_write() -> None:
    """Each is a call, and a packet."""
    rig = Rig()
    rig.send("GET / HTTP/1.1")
    (answer,) = rig.transport.writes
    assert answer.endswith(b"\r\n\r\nhello")


def test_headers_do_not_wait_for_a_body_that_does_not_come() -> None:
    """Nor for one that comes later, if nothing is written before it."""
    rig = Rig()
    early = rig.put()
    early.write(b"")
    assert rig.said.endswith(b"\r\n\r\n")
    early.finish()
    rig.send("HEAD / HTTP/1.1")
    rig.transport.clear()
    bare = rig.lab.requests[-1]
    bare.write(b"hello")
    bare.finish()
    assert rig.said.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("head", [("GET / HTTP/1.1",), ("PUT / HTTP/1.1", "Content-Length: 5")])
def test_a_lost_connection_is_no_circle(head: tuple[str, ...]) -> None:
    """Nothing of it is left for the garbage collector, be it within a body; that stops everything while it looks."""
    gc.disable()
    try:
        rig = Rig()
        rig.send(*head)
        rig.channel.connectionLost(Failure(ConnectionDone()))
        rig.transport.producer = None
        rig.logged.clear()
        rig.lab.requests.clear()
        left = weakref.ref(rig.channel)
        del rig.channel
        assert left() is None
    finally:
        gc.enable()


def test_request_and_log() -> None:
    """A request is answered, logged by whom it concerns, and the connection stays."""
    rig = Rig()
    rig.send("GET / HTTP/1.1")
    assert rig.said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rig.said.endswith(b"\r\n\r\nhello")
    assert [request.path for request in rig.logged] == [b"/"]
    assert not rig.over


def test_idle() -> None:
    """A connection with nothing to say is closed in silence."""
    rig = Rig()
    rig.wait(59)
    assert not rig.over
    rig.wait(1 + LATE)
    assert rig.over
    assert rig.said == b""


def test_idle_after_a_request() -> None:
    """The time starts again with each answer."""
    rig = Rig()
    rig.wait(50)
    rig.send("GET / HTTP/1.1")
    rig.wait(50)
    assert not rig.over
    rig.wait(10 + LATE)
    assert rig.over


def test_slow_headers() -> None:
    """Headers have a deadline which no single byte puts off: 408, then the end."""
    rig = Rig()
    for byte in b"GET / HTTP/1.1\r\nX: ":
        rig.channel.dataReceived(bytes([byte]))
        rig.wait(1)
    assert rig.said == b""
    for _ in range(12 + LATE):
        rig.channel.dataReceived(b"y")
        rig.wait(1)
    head = rig.said.split(b"\r\n")
    assert head[0] == b"HTTP/1.1 408 Request Timeout"
    assert b"Connection: close" in head
    rig.wait(SETTINGS.linger + 2)
    assert rig.over


def test_silent_body() -> None:
    """A consumer that waits in vain is told that the client is too slow; the answer closes the connection."""
    rig = Rig(HttpSettings(min_body_rate=0))
    request = rig.put("Content-Length: 10")
    failures: list[Failure] = []
    request.body.startProducing(Sink()).addErrback(failures.append)
    rig.wait(59)
    assert not failures
    rig.wait(1 + LATE)
    assert failures[0].check(TooSlow)
    request.setResponseCode(408)
    request.finish()
    assert rig.said.startswith(b"HTTP/1.1 408")
    assert b"Connection: close" in rig.said


def test_slow_body() -> None:
    """A body slower than the minimum rate fails, though it never stops."""
    rig = Rig()
    failures: list[Failure] = []
    request = rig.put("Content-Length: 100000")
    request.body.startProducing(Sink()).addErrback(failures.append)
    for _ in range(40 + LATE):
        rig.channel.dataReceived(b"x" * 90)
        rig.wait(1)
    assert failures
    assert failures[0].check(TooSlow)


def test_fast_enough_body() -> None:
    """A body a little faster than the minimum is fine."""
    rig = Rig()
    request = rig.put("Content-Length: 100000")
    done = request.body.startProducing(Sink())
    for _ in range(200):
        rig.channel.dataReceived(b"x" * 110)
        rig.wait(1)
    assert not done.called
    assert not rig.over


def test_paused_body_has_no_deadline() -> None:
    """Time in which our own consumer pauses is not the client's fault."""
    rig = Rig()
    sink = Sink()
    request = rig.put("Content-Length: 1000")
    done = request.body.startProducing(sink)
    request.body.pauseProducing()
    rig.channel.dataReceived(b"x" * 400)
    rig.wait(1000)
    assert sink.data == b""
    assert rig.transport.paused
    request.body.resumeProducing()
    assert not rig.transport.paused
    rig.wait(30)
    rig.channel.dataReceived(b"x" * 600)
    assert done.called
    assert len(sink.data) == 1000


def test_unwanted_body_has_no_deadline() -> None:
    """While nobody has asked for the body, the client cannot be late."""
    rig = Rig()
    rig.put("Content-Length: 1000")
    rig.wait(1000)
    assert not rig.over
    rig.channel.dataReceived(b"x" * 10)
    assert rig.transport.paused


def test_answer_in_the_making_has_no_deadline() -> None:
    """While we work on the answer, the client cannot be late."""
    rig = Rig()
    request = rig.put("Content-Length: 0")
    rig.wait(1000)
    assert not rig.over
    request.finish()
    assert b"200 OK" in rig.said


def test_continue() -> None:
    """100 Continue is sent when the body is asked for, once."""
    rig = Rig()
    request = rig.put("Content-Length: 4", "Expect: 100-continue")
    assert rig.said == b""
    request.body.startProducing(Sink())
    assert rig.said == b"HTTP/1.1 100 Continue\r\n\r\n"
    request.body.pauseProducing()
    request.body.resumeProducing()
    assert rig.said.count(b"100 Continue") == 1


def test_continue_is_not_needed() -> None:
    """A client that sends at once is not told to go on."""
    rig = Rig()
    rig.put("Content-Length: 4", "Expect: 100-continue", body=b"ab").body.startProducing(Sink())
    assert rig.said == b""


def test_refused_instead_of_continue() -> None:
    """A final answer instead of 100 Continue closes the connection, however small the body is."""
    rig = Rig()
    rig.send("PUT /refuse HTTP/1.1", "Content-Length: 4", "Expect: 100-continue")
    assert rig.said.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"Connection: close" in rig.said
    assert b"100 Continue" not in rig.said
    rig.wait(SETTINGS.linger + 2)
    assert rig.over


def test_other_expectation() -> None:
    """What cannot be expected is refused before anything is routed."""
    rig = Rig()
    rig.send("PUT / HTTP/1.1", "Content-Length: 4", "Expect: wonders")
    assert rig.said.startswith(b"HTTP/1.1 417 Expectation Failed\r\n")
    assert not rig.lab.requests


def test_small_rest_is_swallowed() -> None:
    """After an early answer a small rest of the body is read, and the connection goes on."""
    rig = Rig()
    rig.send("PUT /refuse HTTP/1.1", "Content-Length: 10", body=b"abc")
    assert b"Connection: close" not in rig.said
    rig.channel.dataReceived(b"defghij")
    rig.send("GET / HTTP/1.1")
    assert rig.said.count(b"HTTP/1.1") == 2
    rig.wait(SETTINGS.linger + 5)
    assert not rig.over


def test_small_rest_that_never_comes() -> None:
    """The rest is not waited for very long."""
    rig = Rig()
    rig.send("PUT /refuse HTTP/1.1", "Content-Length: 10", body=b"abc")
    rig.wait(SETTINGS.linger + 2)
    assert rig.transport.aborted


@pytest.mark.parametrize("framing", ["Content-Length: 11", "Transfer-Encoding: chunked"])
def test_large_rest_is_dropped(framing: str) -> None:
    """After an early answer a large or unknown rest is dropped for a while, so that the client can read."""
    rig = Rig()
    rig.send("PUT /refuse HTTP/1.1", framing)
    assert b"Connection: close" in rig.said
    rig.channel.dataReceived(b"x" * 100_000)
    assert not rig.over
    assert not rig.transport.paused
    rig.wait(SETTINGS.linger + 2)
    assert rig.transport.aborted


def test_pipelined() -> None:
    """Requests that come together are answered in their order, one at a time."""
    rig = Rig()
    wire = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
    rig.channel.dataReceived(b"PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + wire * 3)
    assert rig.said == b""
    sink = Sink()
    rig.lab.requests[0].body.startProducing(sink)
    assert sink.data == b"abc"
    rig.lab.requests[0].finish()
    assert rig.said.count(b"HTTP/1.1 200") == 4


def test_many_pipelined() -> None:
    """Thousands of requests in one piece do not exhaust the stack."""
    rig = Rig()
    rig.channel.dataReceived(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * 3000)
    assert rig.said.count(b"HTTP/1.1 200") == 3000


def test_pipelining_is_bounded() -> None:
    """While one request is answered, little of the following ones is read."""
    rig = Rig()
    request = rig.put("Content-Length: 0")
    rig.channel.dataReceived(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
    assert rig.transport.paused
    request.finish()
    assert not rig.transport.paused
    assert rig.said.count(b"HTTP/1.1 200") == 1001


def test_bytewise() -> None:
    """It does not matter in which pieces requests come."""
    rig = Rig()
    wire = b"PUT /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"
    for byte in wire:
        rig.channel.dataReceived(bytes([byte]))
    assert rig.said.count(b"HTTP/1.1 403") == 1
    assert rig.said.count(b"HTTP/1.1 200") == 1


def test_bad_chunk() -> None:
    """A malformed chunk fails the body; the answer closes the connection."""
    rig = Rig()
    failures: list[Failure] = []
    request = rig.put("Transfer-Encoding: chunked", body=b"2\r\nab\r\n")
    request.body.startProducing(Sink()).addErrback(failures.append)
    rig.channel.dataReceived(b"oops\r\n")
    assert failures[0].check(Invalid)
    request.setResponseCode(400)
    request.finish()
    assert b"Connection: close" in rig.said
    rig.channel.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert rig.said.count(b"HTTP/1.1") == 1


def test_lost_connection() -> None:
    """The body fails, the request hears of it, and no timer is left."""
    rig = Rig()
    failures: list[Failure] = []
    request = rig.put("Content-Length: 10")
    request.notifyFinish().addErrback(failures.append)
    request.body.startProducing(Sink()).addErrback(failures.append)
    rig.channel.connectionLost(Failure(ConnectionError()))
    assert failures[0].check(ConnectionError)
    assert failures[1].check(ClientVanished)
    assert rig.clock.getDelayedCalls() == []


def test_abort() -> None:
    """An aborted request ends the connection; what its handler still writes is dropped."""
    rig = Rig()
    request = rig.put("Content-Length: 0")
    request.setHeader(b"Content-Length", b"10")
    request.write(b"abc")
    request.abort()
    request.write(b"def")
    request.finish()
    assert rig.transport.aborted
    assert rig.said.endswith(b"abc")


def test_close_asked() -> None:
    """A client that wants to close is told so, and gets it."""
    rig = Rig()
    rig.send("GET / HTTP/1.1", "Connection: close")
    assert b"Connection: close" in rig.said
    assert rig.transport.disconnecting


def test_old_client() -> None:
    """HTTP/1.0 ends with its answer."""
    rig = Rig()
    rig.send("GET / HTTP/1.0")
    assert rig.said.startswith(b"HTTP/1.0 200 OK\r\n") or rig.said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rig.transport.disconnecting


def test_refusal_has_a_body() -> None:
    """A request that is none gets a complete response, with a request id, and is dropped."""
    rig = Rig()
    rig.channel.dataReceived(b"nonsense\r\n\r\n")
    head, _, body = rig.said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert b"x-openstack-request-id: req-" in head
    rig.send("GET / HTTP/1.1")
    assert rig.said.count(b"HTTP/1.1") == 1


def test_who_reads_no_answers_is_not_read() -> None:
    """A client that takes no answers is not asked for more requests."""
    rig = Rig()
    rig.send("GET / HTTP/1.1")
    rig.channel.pauseProducing()
    assert rig.transport.paused
    rig.channel.resumeProducing()
    assert not rig.transport.paused


class Old(Resource):
    """A resource of somebody else's, written for Twisted's own requests."""

    isLeaf = True

    def render_POST(self, request: Request) -> bytes:
        assert request.content is not None
        return b"|".join((request.content.read(), request.args.get(b"a", [b"-"])[0]))


def test_resource_that_does_not_stream() -> None:
    """Other resources find the whole body in a file, and form fields in args."""
    rig = Rig()
    rig.site.resource = Old()
    form = "Content-Type: application/x-www-form-urlencoded"
    rig.send("POST / HTTP/1.1", "Content-Length: 5", form, "Expect: 100-continue")
    assert rig.said == b"HTTP/1.1 100 Continue\r\n\r\n"
    rig.channel.dataReceived(b"a=")
    rig.channel.dataReceived(b"%41")
    assert rig.said.endswith(b"\r\n\r\na=%41|A")
    rig.send("POST / HTTP/1.1", "Content-Length: 0")
    assert rig.said.endswith(b"|-")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], False),
        (["Content-Length: 0"], False),
        (["Content-Length: 1"], True),
        (["Transfer-Encoding: chunked"], True),
    ],
)
def test_has_body(headers: list[str], expected: bool) -> None:
    """Announced bodies are known before they come."""
    request = Rig().put(*headers)
    assert request.has_body is expected
    assert has_body(request) is expected


@pytest.mark.parametrize("resource", ["ours", "other"])
def test_server_and_date(resource: str) -> None:
    """Whoever answers, server and date are told, and once."""
    rig = Rig()
    if resource == "other":
        rig.site.resource = Old()
    rig.send("POST / HTTP/1.1", "Content-Length: 0")
    if resource == "ours":
        rig.lab.requests[0].finish()
    names = [line.partition(b":")[0] for line in rig.said.split(b"\r\n")[1:]]
    assert (names.count(b"Server"), names.count(b"Date")) == (1, 1)


def test_headers_in_any_case() -> None:
    """A header is found however its name is written, and all its lines."""
    rig = Rig()
    rig.send("PUT / HTTP/1.1", "x-A: 1", "X-a: 2", "ETAG: 3", "cookie: a=b")
    headers = rig.lab.requests[0].requestHeaders
    assert (headers.getRawHeaders("X-A"), headers.getRawHeaders("etag")) == (["1", "2"], ["3"])
    assert rig.lab.requests[0].getCookie(b"a") == b"b"


def test_path() -> None:
    """Its parts are decoded, each for itself."""
    rig = Rig()
    rig.send("PUT /a%2Fb/%c3%a4/ HTTP/1.1")
    assert rig.lab.requests[0].postpath == [b"a/b", "ä".encode(), b""]
