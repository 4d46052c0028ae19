"""An HTTP client for bodies of any length: nothing is buffered, nothing decoded, every wait has a limit.

What it knows of a service ends with HTTP: whose answer means what, and what is tried again, is told by those who call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorTime,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IAgentEndpointFactory, IBodyProducer, IResponse

from glancetx.config.settings import ClientTlsSettings
from glancetx.domain.errors import UrlRefused
from glancetx.outgoing.answers import Collected, NoAnswer, end_connection, root_cause
from glancetx.outgoing.bodies import Chunks, Watched
from glancetx.outgoing.endpoints import Anybody, Capturing
from glancetx.outgoing.tls import TlsPolicy

KEPT_CONNECTIONS: Final = 16  # idle ones, for each host
SAFE: Final = ("GET", "HEAD")
AGENT: Final = "glancetx"


@frozen(kw_only=True)
class Patience:
    """How long the other side may take, in seconds."""

    connect: float = 10.0  # to accept a connection, TLS included
    answer: float = 60.0  # from the last byte of a request to the head of its answer
    stall: float = 60.0  # without accepting or sending a byte
    silence: float = 20.0  # without a byte of a body that can be asked for again, from where it ended


class Answer:
    """The head of an answer; its body waits until somebody takes it, with exactly one of the methods."""

    def __init__(self, response: IResponse, clock: IReactorTime, stall: float) -> None:
        self._response, self._clock, self._stall = response, clock, stall
        self.status: int = response.code
        self.length: int | None = None if response.length is UNKNOWN_LENGTH else int(response.length)
        self.content = b""  # what `read` has found
        self.tries = 1  # requests it took, if somebody had to repeat them

    def header(self, name: str) -> str | None:
        """The value of a header by its name in any case; None if there is none."""
        headers: Headers = self._response.headers
        values = headers.getRawHeaders(name)
        return str(values[-1]) if values else None

    def deliver(self, receiver: Protocol) -> None:
        """Give the body to *receiver*, as twisted's ``IResponse.deliverBody`` does."""
        self._response.deliverBody(receiver)

    async def read(self, limit: int = 4 * 1024 * 1024) -> bytes:
        """The whole of a small body. :raises NoAnswer: if it breaks off, is late, or longer than *limit* bytes."""
        collected = Collected(limit)
        self.deliver(collected)
        collected.done.addTimeout(self._stall, self._clock)
        try:
            self.content = await collected.done
        except TimeoutError as error:
            raise NoAnswer("an answer that does not end") from error
        return self.content

    def drop(self) -> None:
        """End the connection, and the body with it."""
        self.deliver(_Dropped())


class HttpClient:
    """Sends requests to whom *endpoints* connects (by default to everybody), verified as *tls* says; or by *agent*.

    Connections are kept for later requests, but those on which a stream was sent.
    """

    def __init__(
        self,
        reactor: Any,
        tls: TlsPolicy | None = None,
        patience: Patience | None = None,
        endpoints: IAgentEndpointFactory | None = None,
        agent: IAgent | None = None,
    ) -> None:
        self._reactor = reactor
        self.patience = patience or Patience()
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = KEPT_CONNECTIONS
        self._pool.cachedConnectionTimeout = 30
        policy = tls or TlsPolicy(ClientTlsSettings())
        self._endpoints = endpoints or Anybody(reactor, policy, self.patience.connect)
        self._agent: Any = agent or Agent.usingEndpointFactory(reactor, self._endpoints, self._pool)

    async def close(self) -> None:
        """Close the connections that are idle."""
        await self._pool.closeCachedConnections()

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: IBodyProducer | Sequence[bytes] | None = None,
    ) -> Answer:
        """The answer to one request, whatever its status. *body*: a producer, or the chunks of a small one.

        A producer that fails fails the request with the same error; it is stopped when an answer comes before its end.
        Cancelling ends the connection; but a request that changes something and was sent whole may have been obeyed,
        so then cancelling waits for the answer, throws it away and raises CancelledError.

        :raises NoAnswer: if no answer comes within the time that `patience` allows.
        :raises UrlRefused: if what connects does so for this reason.
        """
        sent = Headers({"User-Agent": [AGENT]} | {name: [value] for name, value in (headers or {}).items()})
        streaming = body is not None and IBodyProducer.providedBy(body)
        producer: Any = body if body is None or streaming else Chunks(cast(Sequence[bytes], body))
        watched = None if producer is None else Watched(producer)
        agent: Any = self._agent
        capturing = None
        if streaming:
            capturing = Capturing(self._endpoints)
            agent = Agent.usingEndpointFactory(self._reactor, capturing)
        call = _Call(self._reactor, self.patience, watched, capturing, waits=method not in SAFE)
        call.begin(agent.request(method.encode(), url.encode(), sent, watched))
        return Answer(await call.answered, self._reactor, self.patience.stall)


class _Call:
    """One request under way: its timers, its cancelling, and the one outcome of all that may happen to it."""

    def __init__(
        self,
        clock: IReactorTime,
        patience: Patience,
        body: Watched | None,
        capturing: Capturing | None,
        waits: bool,
    ) -> None:
        self._clock, self._patience = clock, patience
        self._body, self._capturing, self._waits = body, capturing, waits
        self._timer: IDelayedCall | None = None
        self._response: Deferred[IResponse] | None = None
        self._given_up: BaseException | None = None
        self._sent = body is None
        self.answered = _Awaited(self._cancelled)

    def begin(self, response: Deferred[IResponse]) -> None:
        """Wait for it."""
        self._response = response
        if self._body is None:
            self._arm(self._patience.connect + self._patience.answer)
        else:
            self._body.tell(self._progressed)
        response.addCallbacks(self._succeed, self._fail)

    def _progressed(self, state: str) -> None:
        """The body goes on (``flowing``), the other side takes no more (``held``), or all was sent (``sent``)."""
        self._disarm()
        if state == "sent":
            self._sent = True
            self._arm(self._patience.answer)
        elif state == "held":
            self._arm(self._patience.stall)

    def _arm(self, seconds: float) -> None:
        if not self.answered.called:
            self._timer = self._clock.callLater(seconds, self._too_late)

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _too_late(self) -> None:
        self._timer = None
        self._abandon(NoAnswer("no answer in time"))

    def _cancelled(self) -> None:
        self._given_up = CancelledError()
        if not (self._waits and self._sent):
            self._abandon(self._given_up)

    def _abandon(self, error: BaseException) -> None:
        self._given_up = error
        if self._response is not None:
            self._response.cancel()
        if self._capturing is not None:
            self._capturing.abort()
        if not self.answered.called:
            self._end()
            self.answered.errback(error)

    def _succeed(self, response: IResponse) -> None:
        if self._capturing is not None and not self._sent:
            self._capturing.abort()  # the answer came early: nobody is going to read the rest of the body
        self._end(stop=self._capturing is not None or self._sent)
        if self._given_up is not None or self.answered.called:
            response.deliverBody(_Dropped())
        if not self.answered.called:
            if self._given_up is not None:
                self.answered.errback(self._given_up)
            else:
                self.answered.callback(response)

    def _fail(self, failure: Failure) -> None:
        error = self._body.error if self._body is not None else None
        self._end()
        if not self.answered.called:
            self.answered.errback(self._given_up or error or _as_failed(failure))

    def _end(self, stop: bool = True) -> None:
        """Nothing more is to happen. Unless *stop*, the rest of the body goes out.

        Twisted closes a connection only when its request has ended; of one whose body was stopped it never would.
        """
        self._disarm()
        self.answered.let_go()
        if self._body is not None:
            self._body.tell(lambda state: None)
            if stop:
                self._body.leave()


class _Awaited(Deferred[IResponse]):
    """Differs from other Deferreds in `cancel`, which only tells; whoever is told decides when to fire."""

    def __init__(self, cancelled: Callable[[], None]) -> None:
        super().__init__()
        self._tell: Callable[[], None] | None = cancelled

    def cancel(self) -> None:
        if not self.called and self._tell is not None:
            self._tell()

    def let_go(self) -> None:
        """It fires now. Who would be told holds it."""
        self._tell = None


class _Dropped(Protocol):
    def connectionMade(self) -> None:
        end_connection(self.transport)


def _as_failed(failure: Failure) -> Exception:
    """What went wrong, in a word; the word is a class, since texts may hold addresses."""
    error = root_cause(failure.value)
    if isinstance(error, NoAnswer | UrlRefused):
        return error
    failed = NoAnswer(f"no answer ({type(error).__name__})")
    failed.__cause__ = error
    return failed
