"""The body of a request as a producer, and as JSON."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from twisted.web.test.requesthelper import DummyRequest
from zope.interface import implementer
from zope.interface.verify import verifyObject

from glancetx.config.settings import HttpSettings
from glancetx.domain.errors import ClientVanished, Invalid, LimitExceeded
from glancetx.web.body import body_of, parse_json, read_json
from glancetx.web.upload import PORTION, Body


class Line:
    """A connection that notes what a body asks of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.calls: list[Any] = []

    def body_wanted(self) -> None:
        self.asked.append("wanted")

    def body_unwanted(self) -> None:
        self.asked.append("unwanted")

    def body_held(self) -> None:
        self.asked.append("held")

    def soon(self, call: Any) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@implementer(IConsumer)
class Taker:
    """A consumer that pauses its producer after each piece, if told so."""

    def __init__(self, body: Body, pausing: bool = False) -> None:
        self.pieces: list[bytes] = []
        self._body, self._pausing = body, pausing

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
        if self._pausing:
            self._body.pauseProducing()

    def registerProducer(self, producer: object, streaming: bool) -> None:
        raise NotImplementedError

    def unregisterProducer(self) -> None:
        raise NotImplementedError


def body_on(length: int | None) -> tuple[Body, Line]:
    line = Line()
    return Body(length, line), line


def test_interface() -> None:
    """It is a body producer."""
    verifyObject(IBodyProducer, body_on(3)[0])


def test_nothing_is_asked_before_the_start() -> None:
    """Until somebody starts it, the connection is only told that bytes are held."""
    body, line = body_on(3)
    assert line.asked == []
    body.receive(b"a")
    assert line.asked == ["held"]


@pytest_twisted.ensureDeferred
async def test_whole() -> None:
    """The bytes come in order, small ones together; then the Deferred fires."""
    body, line = body_on(None)
    assert body.length is UNKNOWN_LENGTH
    taker = Taker(body)
    done = body.startProducing(taker)
    for piece in (b"a", b"b", b"c"):
        body.receive(piece)
    assert taker.pieces == []
    line.turn()
    body.receive(b"d")
    body.end()
    await done
    assert taker.pieces == [b"abc", b"d"]


def test_large_pieces_do_not_wait() -> None:
    """A full portion is handed over at once."""
    body, _ = body_on(None)
    taker = Taker(body)
    body.startProducing(taker)
    body.receive(b"x" * PORTION)
    assert taker.pieces == [b"x" * PORTION]


@pytest_twisted.ensureDeferred
async def test_empty() -> None:
    """A body of nothing ends at once and asks for nothing."""
    body, line = body_on(0)
    await body.startProducing(Taker(body))
    assert line.asked == []


@pytest_twisted.ensureDeferred
async def test_came_before_the_start() -> None:
    """What was there before is delivered even if all of it was."""
    body, line = body_on(2)
    body.receive(b"ab")
    body.end()
    taker = Taker(body)
    await body.startProducing(taker)
    assert taker.pieces == [b"ab"]
    assert line.asked == ["held"]


def test_paused() -> None:
    """A paused consumer gets nothing; what came meanwhile follows when it resumes."""
    body, line = body_on(None)
    taker = Taker(body, pausing=True)
    done = body.startProducing(taker)
    body.receive(b"a")
    line.turn()
    body.receive(b"b")
    line.turn()
    assert taker.pieces == [b"a"]
    assert line.asked == ["wanted", "unwanted", "held"]
    body.resumeProducing()
    assert taker.pieces == [b"a", b"b"]
    body.end()
    assert done.called
    assert not body.wanted


def test_ends_while_paused() -> None:
    """The end waits for what is held."""
    body, line = body_on(None)
    taker = Taker(body)
    done = body.startProducing(taker)
    body.pauseProducing()
    body.receive(b"a")
    body.end()
    line.turn()
    assert not done.called
    body.resumeProducing()
    assert done.called
    assert taker.pieces == [b"a"]


def test_stopped() -> None:
    """After it is stopped nothing is delivered, and its Deferred never fires."""
    body, line = body_on(None)
    taker = Taker(body)
    done = body.startProducing(taker)
    body.receive(b"a")
    body.stopProducing()
    line.turn()
    body.receive(b"b")
    body.end()
    assert taker.pieces == []
    assert not done.called


@pytest_twisted.ensureDeferred
async def test_cancelled() -> None:
    """Cancelling its Deferred stops it."""
    body, line = body_on(None)
    taker = Taker(body)
    done = body.startProducing(taker)
    done.cancel()
    body.receive(b"a")
    line.turn()
    with pytest.raises(CancelledError):
        await done
    assert taker.pieces == []


@pytest_twisted.ensureDeferred
async def test_vanished() -> None:
    """A lost connection fails it, started or not."""
    started, fresh = body_on(5)[0], body_on(5)[0]
    done = started.startProducing(Taker(started))
    for body in (started, fresh):
        body.fail(ClientVanished("gone"))
    with pytest.raises(ClientVanished):
        await done
    with pytest.raises(ClientVanished):
        await fresh.startProducing(Taker(fresh))


@pytest_twisted.ensureDeferred
async def test_lost_after_the_end() -> None:
    """A connection lost after the last byte is no failure of the body."""
    body, _ = body_on(1)
    body.receive(b"a")
    body.end()
    body.fail(ClientVanished("gone"))
    await body.startProducing(Taker(body))


@pytest_twisted.ensureDeferred
async def test_consumer_raises() -> None:
    """An error of the consumer ends the transfer with that error."""
    body, _ = body_on(3)
    taker = Taker(body)
    taker.write = None  # type: ignore[assignment,method-assign]
    done = body.startProducing(taker)
    body.receive(b"abc")
    body.end()
    with pytest.raises(TypeError):
        await done


def test_once() -> None:
    """It can be read once."""
    body, _ = body_on(3)
    body.startProducing(Taker(body))
    with pytest.raises(RuntimeError):
        body.startProducing(Taker(body))


class Asked:
    """As much of a request as `read_json` needs."""

    def __init__(self, data: bytes, length: int | None = None) -> None:
        self.body, _ = body_on(len(data) if length is None else length)
        if data:
            self.body.receive(data)
        if not self.body.missing:
            self.body.end()


@pytest_twisted.ensureDeferred
async def test_read_json() -> None:
    """A document is read."""
    request: Any = Asked(b'{"a": [1, 2.5, "\xc3\xa4", "\\ud83d\\ude00"]}')
    assert await read_json(request, HttpSettings()) == {"a": [1, 2.5, "ä", "\U0001f600"]}


@pytest_twisted.ensureDeferred
async def test_no_json() -> None:
    """No body is a fault of the client."""
    request: Any = Asked(b"")
    with pytest.raises(Invalid, match="Body expected"):
        await read_json(request, HttpSettings())


@pytest_twisted.ensureDeferred
async def test_large_json() -> None:
    """A body that is announced too large is not read; one that turns out so is read no further."""
    announced: Any = Asked(b"", 11)
    surprising: Any = Asked(b"x" * 11, 10**9)
    surprising.body.length = UNKNOWN_LENGTH
    for request in (announced, surprising):
        with pytest.raises(LimitExceeded):
            await read_json(request, HttpSettings(max_json_size=10))
        assert not request.body.complete


@pytest.mark.parametrize(
    "data",
    [
        b"{", b"", b"nul", b"{'a': 1}", b'{"a": NaN}', b"Infinity", b"-Infinity", b"1e999", b'"\xff"', b'"\xc3"',
        b"\xef\xbb\xbf\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16"), b'"\\ud800"', b'{"\\uDFFF": 1}', b'"a\nb"',
        b"{} {}", b"1" * 5000, b"[" * 100_000, b'{"a":' * 100_000, b"[1,]", b"01",
    ],
)  # fmt: skip
def test_bad_json(data: bytes) -> None:
    """What is no JSON in UTF-8 is refused, in Glance's words."""
    with pytest.raises(Invalid, match="Malformed JSON in request body"):
        parse_json(data, 32)


def test_byte_order_mark() -> None:
    """One byte order mark is forgiven."""
    assert parse_json(b"\xef\xbb\xbf{}", 3) == {}


def test_depth() -> None:
    """Nesting has a limit."""
    assert parse_json(b'[{"a": [1]}]', 3) == [{"a": [1]}]
    with pytest.raises(Invalid, match="3 levels"):
        parse_json(b'[{"a": [[]]}]', 3)


TEXT = st.text(st.characters(codec="utf-8"))
PLAIN = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXT


@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8))
def test_any_json(document: Any) -> None:
    """What Python writes is read as it was."""
    assert parse_json(json.dumps(document).encode(), 100) == document
    assert parse_json(json.dumps(document, ensure_ascii=False).encode(), 100) == document


@pytest_twisted.ensureDeferred
async def test_spooled_body() -> None:
    """The body that a plain request has in a file is a producer, too."""
    request: Any = DummyRequest([b""])
    request.content = io.BytesIO(b"abc" * 100_000)
    body = body_of(request)
    assert body.length == 300_000
    taker = Taker(body)  # type: ignore[arg-type]
    await body.startProducing(taker)
    assert b"".join(taker.pieces) == b"abc" * 100_000


def test_spooled_body_never_started() -> None:
    """A spooled body may be stopped unread."""
    request: Any = DummyRequest([b""])
    request.content = io.BytesIO(b"abc")
    body_of(request).stopProducing()
    assert request.content.closed
