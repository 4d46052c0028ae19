"""Small requests to other services: what bounds them, and what is tried again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from glancetx.domain.errors import TooBusy
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.exchange import AT_ONCE, LARGEST, WAITING, Exchange, Reply
from glancetx.testing.network import in_memory

URL = "http://there.example/x?y=1"


class Answers(Resource):
    """Answers as *render* says; remembers the requests."""

    isLeaf = True

    def __init__(self, answer: Callable[[Any], Any] = lambda request: b'{"a": 1}') -> None:
        super().__init__()
        self._respond = answer
        self.seen: list[Any] = []

    def render(self, request: Any) -> Any:
        self.seen.append((request.method, request.uri, request.content.read(), request.requestHeaders))
        return self._respond(request)


class Network:
    """What an Exchange sends through: answers are held until they are given, or come from *then*."""

    def __init__(self, *outcomes: Any, then: Any = None) -> None:
        self.outcomes, self.then = list(outcomes), then
        self.sent: list[Deferred[Any]] = []
        self.cancelled = 0

    def __call__(self, method: str, url: str, **options: Any) -> Deferred[Any]:
        if self.outcomes:
            return fail(self.outcomes.pop(0))
        if self.then is not None:
            deferred: Deferred[Any] = self.then(method, url, **options)
            return deferred
        waiting: Deferred[Any] = Deferred(self._cancel)
        self.sent.append(waiting)
        return waiting

    def _cancel(self, _: object) -> None:
        self.cancelled += 1


def exchange(send: Any, clock: Clock, timeout: float = 30, retries: int = 3) -> Exchange:
    anything: Any = clock
    return Exchange(send, anything, timeout, retries)


def begin(call: Any) -> tuple[list[Any], Deferred[Any]]:
    """Start a call; what becomes of it is put into the list."""
    outcome: list[Any] = []
    deferred = Deferred.fromCoroutine(call)
    deferred.addBoth(outcome.append)
    return outcome, deferred


@pytest_twisted.ensureDeferred
async def test_an_answer_comes_whole() -> None:
    """Status, headers and body, whatever the status."""

    def answer(request: Any) -> bytes:
        request.setResponseCode(418)
        request.setHeader(b"X-Kind", b"pot")
        return b'{"a": [1]}'

    reply = await exchange(in_memory(Answers(answer)), Clock()).request("GET", URL)
    assert (reply.status, reply.header("x-kind"), reply.document()) == (418, "pot", {"a": [1]})
    assert reply.header("absent") is None


@pytest_twisted.ensureDeferred
async def test_a_document_is_sent_as_json() -> None:
    """With the headers of the caller, and without any if there is nothing to send."""
    answers = Answers()
    requests = exchange(in_memory(answers), Clock())
    await requests.request("POST", URL, {"X-Auth-Token": "t"}, {"ä": 1})
    await requests.request("GET", URL)
    (method, uri, body, headers), (_, _, nothing, others) = answers.seen
    assert (method, uri, body, nothing) == (b"POST", b"/x?y=1", b'{"\\u00e4": 1}', b"")
    assert headers.getRawHeaders("content-type") == ["application/json"]
    assert headers.getRawHeaders("x-auth-token") == ["t"]
    assert headers.getRawHeaders("accept") == ["application/json"]
    assert others.getRawHeaders("content-type") is None


@pytest_twisted.ensureDeferred
async def test_what_is_not_json_is_no_answer() -> None:
    """The body is not part of the message."""
    reply = Reply(200, Any, b"<html>secret")  # type: ignore[arg-type]
    with pytest.raises(NoAnswer, match="not JSON") as caught:
        reply.document()
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(reply)


@pytest_twisted.ensureDeferred
async def test_redirections_are_not_followed() -> None:
    """Who would be asked there would be told our secrets."""

    def answer(request: Any) -> bytes:
        request.redirect(b"http://elsewhere.example/")
        return b""

    answers = Answers(answer)
    reply = await exchange(in_memory(answers), Clock()).request("GET", URL, {"X-Auth-Token": "t"})
    assert reply.status == 302
    assert len(answers.seen) == 1


@pytest.mark.parametrize("error", [ConnectionRefusedError(), DNSLookupError("there.example")])
def test_connecting_is_tried_again(error: Exception) -> None:
    """Three times, after half a second, one and two."""
    clock, network = Clock(), Network(error, error, error, then=in_memory(Answers()))
    outcome, _ = begin(exchange(network, clock).request("GET", URL))
    for pause in (0.5, 1, 2):
        assert not outcome
        clock.advance(pause - 0.01)
        assert not outcome
        clock.advance(0.01)
    assert outcome[0].status == 200


def test_nobody_is_waited_for_in_vain() -> None:
    """Once a call has found nobody, the next ones try once, until one succeeds."""
    clock, refused = Clock(), ConnectionRefusedError()
    network = Network(*[refused] * 5, then=in_memory(Answers()))
    requests = exchange(network, clock)
    first, _ = begin(requests.request("GET", URL))
    for pause in (0.5, 1, 2):
        clock.advance(pause)
    second, _ = begin(requests.request("GET", URL))
    assert isinstance(first[0].value, NoAnswer)
    assert "ConnectionRefusedError" in str(second[0].value)
    third, _ = begin(requests.request("GET", URL))
    assert third[0].status == 200
    network.outcomes.append(refused)
    fourth, _ = begin(requests.request("GET", URL))
    clock.advance(0.5)
    assert fourth[0].status == 200


def test_other_failures_are_not_tried_again() -> None:
    """A request that may have arrived is not repeated here; the cause is named."""
    error = ResponseFailed([Failure(ValueError("the cause"))])
    network = Network(error, then=in_memory(Answers()))
    outcome, _ = begin(exchange(network, Clock()).request("POST", URL))
    assert str(outcome[0].value) == "ValueError: the cause"


def test_time_is_limited() -> None:
    """A call ends when its time is over, and so does its request."""
    clock, network = Clock(), Network()
    outcome, _ = begin(exchange(network, clock, timeout=7).request("GET", URL))
    clock.advance(6.9)
    assert not outcome
    clock.advance(0.2)
    assert "no answer within 7 s" in str(outcome[0].value)
    assert network.cancelled == 1
    assert not clock.getDelayedCalls()


def test_cancelling_ends_the_request() -> None:
    """Also while it waits for its turn; the turn is given to the next one."""
    clock, network = Clock(), Network()
    requests = exchange(network, clock)
    running = [begin(requests.request("GET", URL)) for _ in range(AT_ONCE)]
    waiting, waits = begin(requests.request("GET", URL))
    next_one, _ = begin(requests.request("GET", URL))
    assert len(network.sent) == AT_ONCE
    waits.cancel()
    running[0][1].cancel()
    assert waiting[0].check(CancelledError)
    assert running[0][0][0].check(CancelledError)
    assert network.cancelled == 1
    assert len(network.sent) == AT_ONCE + 1
    assert not next_one


def test_the_queue_is_limited() -> None:
    """Who would have to wait behind too many others is turned away at once."""
    clock, network = Clock(), Network()
    requests = exchange(network, clock)
    for _ in range(AT_ONCE + WAITING):
        begin(requests.request("GET", URL))
    outcome, _ = begin(requests.request("GET", URL))
    assert outcome[0].check(TooBusy)
    clock.advance(31)
    outcome, _ = begin(requests.request("GET", URL))
    assert not outcome


@pytest_twisted.ensureDeferred
async def test_an_endless_answer_is_cut() -> None:
    """No more is kept than the limit."""
    requests = exchange(in_memory(Answers(lambda request: b"x" * (LARGEST + 1))), Clock())
    with pytest.raises(NoAnswer, match="more than"):
        await requests.request("GET", URL)


@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_cut_off_is_none() -> None:
    """Half a document is not a document."""

    def answer(request: Any) -> int:
        request.setHeader(b"Content-Length", b"100")
        request.write(b"[1")
        request.transport.loseConnection()
        return NOT_DONE_YET

    requests = exchange(in_memory(Answers(answer)), Clock())
    with pytest.raises(NoAnswer, match="cut off"):
        await requests.request("GET", URL)
