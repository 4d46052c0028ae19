"""The connection of a client: what surrounds its requests - framing, deadlines, what becomes of unread bodies.

`ImageChannel` is ours, strict and with deadlines. `PlainConnection` lets an `ImageRequest` stream on the channel of
any twisted.web Site. All use of Twisted's private channel attributes is in this file.
"""

from __future__ import annotations

import fcntl
import termios
import uuid
from array import array
from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import tcp
from twisted.internet.interfaces import IHalfCloseableDescriptor, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Site

from glancetx.config.settings import HttpSettings
from glancetx.domain.errors import Invalid, TooSlow
from glancetx.web.arrival import can_wait, wait_for, worth
from glancetx.web.deadlines import Pace, Timers, check_interval, patient_interval
from glancetx.web.errors import Problem
from glancetx.web.framing import BadChunk, Chunked, FixedLength, Framing
from glancetx.web.head import BadRequest, Head, check_partial, parse_head
from glancetx.web.upload import PORTION, Body

if TYPE_CHECKING:
    from glancetx.web.request import ImageRequest

PIPELINED: Final = 16384
"""Bytes of following requests that are read while one is answered: so a client that leaves is noticed."""

_OUT: Final = array("i", [0])  # where the kernel writes a number for us
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Phase(Enum):
    """What the next byte of a client belongs to."""

    HEAD = 1  # the request line and headers of a request
    BODY = 2  # the body of the present request, or of one that was answered already
    ANSWER = 3  # a later request: the present one is complete and being answered
    DEAF = 4  # nothing: it is dropped, and the connection will end


class ImageChannel(HTTPChannel):
    """One connection: requests one after the other, each answered before the next is looked at.

    Reading from the client stops when nobody wants what it sends, so that it is TCP which holds the client back.
    """

    __slots__ = (  # with more than 30 attributes in its dictionary an instance has a dictionary of 1.5 KiB
        "_advancing",
        "_awaited",
        "_body",
        "_checked",
        "_client_waits",
        "_framing",
        "_head",
        "_head_since",
        "_host",
        "_lost",
        "_moved",
        "_out",
        "_pace",
        "_patient",
        "_peer",
        "_phase",
        "_quiet_since",
        "_reactor",
        "_reading",
        "_received",
        "_settings",
        "_skipped",
        "_timer",
        "_timers",
    )
    transport: Any
    site: Any

    def __init__(self, site: Site, settings: HttpSettings, reactor: Any, timers: Timers) -> None:
        super().__init__()
        self.site = self.factory = site
        self.requestFactory = site.requestFactory
        self.timeOut = None  # Twisted's own idle timeout: any byte renews it, even of a header that never ends
        self._settings, self._reactor, self._timers = settings, reactor, timers
        self._phase = Phase.HEAD
        self._received = bytearray()  # what came and is not parsed yet
        self._checked = 0  # how much of an incomplete head is known to be good so far
        self._skipped = False  # an empty line before the head
        self._advancing = False
        self._body: Body | None = None
        self._framing: Framing | None = None
        self._awaited = 0  # bytes that are read together; 0 if that is not for us to say
        self._client_waits = False  # for ``100 Continue``
        self._reading = True
        self._lost = False
        self._pace = Pace()
        self._quiet_since = self._moved = self._now()
        self._head_since: float | None = None
        self._head = b""  # of the answer, as long as it waits for the body
        self._out = (0, 0)
        self._timer: Any = None
        self._patient = False  # the next look is a while away
        self._host: Any = None
        self._peer: Any = None

    def _now(self) -> float:
        return float(self._reactor.seconds())

    def connectionMade(self) -> None:
        super().connectionMade()
        self._awaited = int(can_wait(self.transport))
        self._watch()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self._timer.cancel()
        self._patient = False
        super().connectionLost(reason)
        # These hold us: circles would be left for the garbage collector.
        self._timer, self._body, self._framing, self.requests = None, None, None, []

    @property
    def leaf(self) -> IResource | None:
        leaf: IResource | None = self.site.leaf
        return leaf

    def getHost(self) -> Any:
        """Each request asks for it, and the kernel is asked once."""
        if self._host is None:
            self._host = self.transport.getHost()
        return self._host

    def getPeer(self) -> Any:
        if self._peer is None:
            self._peer = self.transport.getPeer()
        return self._peer

    # What the client sends.

    def dataReceived(self, data: bytes) -> None:
        if self._phase is Phase.BODY:
            self._pace.count(len(data), self._now())
        elif self._phase is Phase.DEAF:
            return
        if self._phase is Phase.BODY and not self._received:
            data = self._feed(data)
        if data:
            self._received += data
            self._advance()

    def _advance(self) -> None:
        """Parse until more bytes are needed, or an answer is."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._received and self._step():
                pass
        except BadRequest as refusal:
            self._refuse(refusal)
        finally:
            self._advancing = False

    def _step(self) -> bool:
        if self._phase is Phase.HEAD:
            return self._take_head()
        if self._phase is Phase.BODY:
            data = bytes(self._received)
            self._received.clear()
            self._received += self._feed(data)
            return True
        if self._phase is Phase.DEAF:
            self._received.clear()
        elif len(self._received) > PIPELINED:
            self._stop_reading()
        return False

    def _take_head(self) -> bool:
        received = self._received
        if not self._skipped and received[:2] == b"\r\n":
            del received[:2]  # some clients end a body with a line end too many
            self._skipped, self._checked = True, 0
        if not received:
            return False
        if self._head_since is None:
            self._head_since = self._now()
        end = received.find(b"\r\n\r\n", self._checked)
        if end < 0:
            check_partial(received, self._checked, self._settings)
            self._checked = max(0, len(received) - 3)
            return False
        block = bytes(received[:end])
        del received[: end + 4]
        self._checked, self._skipped, self._head_since = 0, False, None
        self._begin(parse_head(block, self._settings))
        return True

    def _begin(self, head: Head) -> None:
        request: Any = self.requestFactory(self)
        self.requests.append(request)
        request.requestHeaders._rawHeaders = head.headers  # which are in Twisted's form; it would look at each again
        if b"Cookie" in head.headers:
            request.parseCookies()
        self.persistent = head.persistent
        self._client_waits = head.expects_continue
        self._body = Body(head.length, self)
        self._pace = Pace()
        if head.length == 0:
            self._phase, self._framing = Phase.ANSWER, None
        else:
            self._phase = Phase.BODY
            body = self._body
            if head.length is None:
                self._framing = Chunked(body.receive, body.trail)
            else:
                self._framing = FixedLength(head.length, body.receive)
        request.begin(head.method, head.target, head.version, self._body, self)

    def _feed(self, data: bytes) -> bytes:
        """Cut out the body's bytes; returns what follows the body."""
        if self._framing is None:  # ended meanwhile
            return data
        try:
            rest = self._framing.feed(data)
        except BadChunk as error:
            self._break_off(Invalid(str(error)))
            return b""
        if self._framing is not None and self._framing.ended:
            self._body_ended()
        self._wait_for(worth(self._framing))
        return rest

    def _wait_for(self, size: int) -> None:
        if self._awaited and self._awaited != size:
            self._awaited = size
            wait_for(self.transport, size)

    def _body_ended(self) -> None:
        body, self._framing = self._body, None
        assert body is not None
        self._phase = Phase.ANSWER
        body.end()
        if not self.requests and self._phase is Phase.ANSWER:  # answered long ago: only the rest was swallowed
            self._next()

    def _break_off(self, error: Exception) -> None:
        """The rest of the body will never be known. Whoever reads it is told, and can answer."""
        self._phase, self._framing = Phase.DEAF, None
        self.persistent = False
        self._wait_for(1)
        self._stop_reading()
        if self._body is not None:
            self._body.fail(error)
        if not self.requests:
            self._linger()

    def _refuse(self, refusal: BadRequest) -> None:
        """Answer in place of a request that cannot be one, and close."""
        problem = Problem(refusal.status, refusal.text)
        content_type, body = problem.body("application/json")
        head = (
            f"HTTP/1.1 {problem.status} {problem.title}",
            f"Date: {datetimeToString().decode()}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            f"x-openstack-request-id: req-{uuid.uuid4()}",
            "Connection: close",
        )
        self.transport.write("\r\n".join((*head, "", "")).encode() + body)
        self._linger()

    # What a request and its body ask of the connection.

    def body_wanted(self) -> None:
        if self._client_waits:
            self._client_waits = False
            if not (self._body is None or self._body.received or self.requests[0].startedWriting):
                self.transport.write(_CONTINUE)
        self._pace.go(self._now())
        _read_portions(self.transport, self._body)
        self._resume_reading()

    def body_unwanted(self) -> None:
        self._pace.halt(self._now())

    def body_held(self) -> None:
        self._stop_reading()

    def soon(self, call: Callable[[], None]) -> None:
        self._reactor.callLater(0, call)

    def reusable_after(self, body: Body) -> bool:
        return not self._client_waits and _is_small(body, self._settings)

    def close_when_done(self) -> None:
        self.persistent = False

    def may_release(self, request: ImageRequest) -> bool:
        return True  # the channel deals with the rest of a body alone

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """They wait for what is written next, and be it nothing: one call sends both."""
        lines = [b"%b %b %b" % (version, code, reason)]
        if not headers.hasHeader(b"Date"):  # Twisted sets it together with Server
            lines.append(self.site.server_and_date())
        lines += [b"%b: %b" % (name, value) for name, values in headers.getAllRawHeaders() for value in values]
        self._head = b"\r\n".join((*lines, b"", b""))

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        if data:
            self.transport.write(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def requestDone(self, request: Any) -> None:
        """The response is written, if not yet sent."""
        self.write(b"")
        self.requests.remove(request)
        if self._patient:
            self._timer.cancel()
            self._watch()
        body = self._body
        assert body is not None
        if not self.persistent:
            self._end(gently=not body.complete or bool(self._received))
        elif body.complete:
            self._next()
        else:
            self._resume_reading()
            self._timers.call_later(self._settings.linger, lambda: self._give_up(body))

    def _give_up(self, body: Body) -> None:
        if self._body is body and not body.complete:
            self.abort()

    def _next(self) -> None:
        """Look for another request."""
        self._phase, self._body = Phase.HEAD, None
        _read_as_usual(self.transport)
        self._quiet_since = self._now()
        if not self._waitingForTransport:
            self._resume_reading()
        self._advance()

    # The end of the connection.

    def _end(self, *, gently: bool) -> None:
        if gently:
            self._linger()
        else:
            self._phase, self._quiet_since = Phase.DEAF, self._now()
            self.loseConnection()

    def _linger(self) -> None:
        """Let the client read the answer, and meanwhile drop what it still sends (RFC 9112, section 9.6).

        To close while it sends would reset the connection, and the answer would be lost on the way.
        """
        self._phase, self._quiet_since = Phase.DEAF, self._now()
        self._received.clear()
        _half_close(self.transport, self._networkProducer)
        self._resume_reading()
        self._timers.call_later(self._settings.linger, self._end_lingering)

    def _end_lingering(self) -> None:
        if ISSLTransport.providedBy(self.transport) and not self._lost:
            self.transport.loseConnection()
        else:
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once."""
        if not self._lost:
            self.transport.abortConnection()

    # Deadlines.

    def _watch(self, *, patient: bool = False) -> None:
        self._patient = patient
        interval = patient_interval if patient else check_interval
        self._timer = self._timers.call_later(interval(self._settings), self._check)

    def _check(self) -> None:
        if self._lost:
            return
        now = self._now()
        waiting = self._awaited > 1 and self._body is not None and self._body.wanted
        if waiting and self._pace.doubtful(now, self._settings):
            self.transport.doRead()  # what is there, however little; an end is found again
        sending = self._sending(now)
        if sending:
            self._quiet_since = now
            if now - self._moved >= self._settings.idle_timeout:
                self.abort()
        self._check_phase(now)
        self._watch(patient=sending and self._phase is Phase.ANSWER)

    def _check_phase(self, now: float) -> None:
        quiet = now - self._quiet_since >= self._settings.idle_timeout
        if self._phase is Phase.HEAD and self._head_since is not None:
            if now - self._head_since >= self._settings.header_timeout:
                self._refuse(BadRequest(408, "The headers of the request came too slowly."))
        elif self._phase is Phase.HEAD and quiet:
            self._end(gently=False)
        elif self._phase is Phase.DEAF and quiet and not self.requests:
            self.abort()
        elif self._body is not None and self._body.wanted and self._pace.too_slow(now, self._settings):
            self._break_off(TooSlow("The request body arrived too slowly."))

    def _sending(self, now: float) -> bool:
        """Whether the client has not taken all that was sent. `_moved` is when it last took anything.

        What counts is what it acknowledged: a slow client on a large send buffer makes that writable seldom.
        """
        unsent = _unacknowledged(self.transport)
        out = (unsent, self.requests[0].sentLength if self.requests else 0)
        if not unsent or out != self._out:
            self._out, self._moved = out, now
        return unsent > 0

    # Flow control.

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._networkProducer.pauseProducing()

    def _resume_reading(self) -> None:
        if not self._reading and not self._lost:
            self._reading = True
            self._networkProducer.resumeProducing()

    def pauseProducing(self) -> None:
        """The transport has enough to send. A client that reads no answers is asked no further questions."""
        self._waitingForTransport = True
        if self._requestProducer is not None:
            self._requestProducer.pauseProducing()
        if self._phase is Phase.HEAD:
            self._stop_reading()

    def resumeProducing(self) -> None:
        """The transport has sent what it had."""
        self._waitingForTransport = False
        if self._requestProducer is not None:
            self._requestProducer.resumeProducing()
        if self._phase is Phase.HEAD:
            self._resume_reading()


def _is_small(body: Body, settings: HttpSettings) -> bool:
    """Whether the rest of a body is worth reading, to keep the connection."""
    missing = body.missing
    return not body.failed and missing is not None and missing <= settings.drain_limit


def _read_portions(transport: Any, body: Body | None) -> None:
    """Let a large upload on Twisted's own TCP transport come in larger pieces than that usually reads."""
    if body is not None and isinstance(transport, tcp.Connection) and (body.missing is None or body.missing > PORTION):
        transport.bufferSize = PORTION


def _read_as_usual(transport: Any) -> None:
    if isinstance(transport, tcp.Connection):
        vars(transport).pop("bufferSize", None)


def _half_close(transport: Any, producer: Any) -> None:
    """Send what is buffered and then the end, and go on reading. TLS has no such thing, and needs none here."""
    if IHalfCloseableDescriptor.providedBy(transport) and not ISSLTransport.providedBy(transport):
        producer.unregisterProducer()  # a paused one would be resumed instead
        descriptor: Any = transport
        descriptor.loseWriteConnection()


def _unacknowledged(transport: Any) -> int:
    """Bytes in the kernel which the client's side has not acknowledged; 0 if nobody can tell."""
    try:
        fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, _OUT)
    except (AttributeError, OSError, TypeError):
        return 0
    return _OUT[0]


class PlainConnection:
    """What `ImageRequest` needs of the channel of a Site that knows nothing of streaming; no deadlines."""

    leaf = None

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._settings = HttpSettings()
        self._client_waits = False
        self._timeout: Any = None
        self._body: Body | None = None
        self._ended = True
        self._giving_up: Any = None

    def begin(self, request: ImageRequest, length: int | None) -> None:
        """Route *request* now, though its channel meant to wait for the body."""
        channel = self._channel
        self._ended = False
        self._timeout = channel.setTimeout(None)  # it knows nothing of a consumer that pauses
        expected = request.requestHeaders.getRawHeaders(b"Expect", [])
        if expected and channel._version == b"HTTP/1.1":
            request.requestHeaders.removeHeader(b"Expect")  # or the channel would say 100 at once
            self._client_waits = True
        body = self._body = Body(length, self)
        if self._client_waits and expected[0].lower() != b"100-continue":
            request.refuse(channel._command, channel._path, channel._version, body, self)
        else:
            request.begin(channel._command, channel._path, channel._version, body, self)

    def body_wanted(self) -> None:
        if self._client_waits:
            self._client_waits = False
            self._channel._send100Continue()
        _read_portions(self._channel.transport, self._body)
        self._channel._networkProducer.resumeProducing()

    def body_unwanted(self) -> None:
        """Nobody measures the client's rate."""

    def body_held(self) -> None:
        self._channel._networkProducer.pauseProducing()

    def soon(self, call: Callable[[], None]) -> None:
        self._channel.callLater(0, call)

    def reusable_after(self, body: Body) -> bool:
        return not self._client_waits and _is_small(body, self._settings)

    def close_when_done(self) -> None:
        self._channel.persistent = False

    def may_release(self, request: ImageRequest) -> bool:
        if self._ended:
            return True
        self._channel._networkProducer.resumeProducing()
        if not self._channel.persistent:
            _half_close(self._channel.transport, self._channel._networkProducer)
        self._giving_up = self._channel.callLater(self._settings.linger, self._channel.transport.abortConnection)
        return False

    def body_ended(self) -> None:
        """The channel goes on to the answer, and afterwards to the next request."""
        self._ended = True
        _read_as_usual(self._channel.transport)
        self._channel._savedTimeOut = self._timeout
        self.lost()

    def lost(self) -> None:
        if self._giving_up is not None and self._giving_up.active():
            self._giving_up.cancel()
