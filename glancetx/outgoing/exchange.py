"""Small requests to another service: bounded in time, in the size of the answer, and in how many there are at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, TimeoutError
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from glancetx.config.settings import ClientTlsSettings
from glancetx.domain.errors import TooBusy
from glancetx.outgoing.answers import Collected, NoAnswer, root_cause
from glancetx.outgoing.endpoints import Anybody
from glancetx.outgoing.tls import TlsPolicy
from glancetx.runtime.ongoing import Ongoing

CONNECT_TIMEOUT: Final = 10.0  # seconds
FIRST_PAUSE: Final = 0.5  # seconds before the first retry; each later one is twice as long
AT_ONCE: Final = 16  # requests under way
WAITING: Final = 512  # requests waiting for one of these to end; further ones are turned away
LARGEST: Final = 4 * 1024 * 1024  # bytes of an answer
KEPT_CONNECTIONS: Final = 4  # idle ones, for each host


Send = Callable[..., Deferred[Any]]
"""treq's ``HTTPClient.request``."""


@frozen
class Reply:
    """What came back, whole."""

    status: int
    headers: Headers
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        values = self.headers.getRawHeaders(name)
        return values[-1] if values else None

    def document(self) -> Any:
        """The body as JSON. :raises NoAnswer: if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise NoAnswer(f"an answer with status {self.status} that is not JSON") from error


class Exchange:
    """Sends requests and reads their answers whole.

    *send* is treq's ``HTTPClient.request``. A call ends within *timeout* seconds, retries and the wait for others
    included. Connecting is tried *retries* more times, with growing pauses; but while the last call found nobody, a
    call tries once, so that many callers do not wait in vain for a service that is down. Redirections are not
    followed: they would carry secrets elsewhere.
    """

    def __init__(self, send: Send, clock: IReactorTime, timeout: float, retries: int = 0) -> None:
        self._send, self._clock = send, clock
        self._timeout, self._retries = timeout, retries
        self._turns = DeferredSemaphore(AT_ONCE)
        self._ongoing = Ongoing()
        self._failing = False

    async def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, document: Any = None
    ) -> Reply:
        """One request, with *document* as its JSON body; any status is an answer. Cancelling drops the connection.

        :raises NoAnswer: if nobody answers, or too late, or more than `LARGEST` bytes.
        :raises TooBusy: if too many requests are waiting already.
        """
        if len(self._turns.waiting) >= WAITING:
            raise TooBusy("Too many requests to another service are waiting; try again")
        sent = {"Accept": "application/json", "User-Agent": "glancetx", **(headers or {})}
        data = None if document is None else json.dumps(document).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        call = self._ongoing.run(self._in_turn(method, url, sent, data))
        call.addTimeout(self._timeout, self._clock)
        try:
            reply = await call
        except TimeoutError as error:
            self._failing = True
            raise NoAnswer(f"no answer within {self._timeout:g} s") from error
        self._failing = False
        return reply

    async def cancel(self) -> None:
        """Cancel every request under way, and wait until the last one has ended."""
        await self._ongoing.cancel()

    async def _in_turn(self, method: str, url: str, headers: dict[str, str], data: bytes | None) -> Reply:
        await self._turns.acquire()
        try:
            return await self._try_repeatedly(method, url, headers, data)
        finally:
            self._turns.release()

    async def _try_repeatedly(self, method: str, url: str, headers: dict[str, str], data: bytes | None) -> Reply:
        left, pause = 0 if self._failing else self._retries, FIRST_PAUSE
        while True:
            try:
                return await self._try(method, url, headers, data)
            except (ConnectError, DNSLookupError) as error:
                if not left:
                    self._failing = True
                    raise NoAnswer(_reason(error)) from error
            left -= 1
            await deferLater(self._clock, pause)
            pause *= 2

    async def _try(self, method: str, url: str, headers: dict[str, str], data: bytes | None) -> Reply:
        try:
            response = await self._send(
                method,
                url,
                headers=headers,
                data=data,
                unbuffered=True,
                allow_redirects=False,
                reactor=self._clock,
            )
            body = Collected(LARGEST)
            response.deliverBody(body)
            return Reply(response.code, response.headers, await body.done)
        except (CancelledError, ConnectError, DNSLookupError, NoAnswer):
            raise
        except Exception as error:  # TLS, HTTP and decoding each have their own; none of them is an answer
            raise NoAnswer(_reason(error)) from error


def _reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    cause = root_cause(error)
    return f"{type(cause).__name__}: {cause}".rstrip(": ")


class Connections:
    """Connections to other services, verified as *tls* says and kept for a while, and the `Exchange` that uses them."""

    def __init__(self, reactor: Any, tls: ClientTlsSettings, timeout: float, retries: int = 0) -> None:
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = KEPT_CONNECTIONS
        self._pool.cachedConnectionTimeout = 60
        endpoints = Anybody(reactor, TlsPolicy(tls), CONNECT_TIMEOUT)
        agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)
        self.exchange = Exchange(HTTPClient(agent).request, reactor, timeout, retries)

    async def close(self) -> None:
        """End what is under way, and close what is idle."""
        await self.exchange.cancel()
        await self._pool.closeCachedConnections()
