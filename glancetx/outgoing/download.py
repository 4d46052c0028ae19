"""A body that comes from afar: as many bytes as were announced, or an error; a connection that dies is replaced."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from glancetx.domain.errors import ImageServiceError, StoreUnavailable
from glancetx.outgoing.answers import NoAnswer, end_connection, whole
from glancetx.outgoing.client import Answer
from glancetx.outgoing.retries import Retries

PROGRESS: Final = 1024 * 1024  # bytes after which a connection that dies counts as the first one again

Reopen = Callable[[int], Awaitable[Answer]]
"""Opens the same data again, so many bytes further on; raises StoreError or NoAnswer."""


@implementer(IBodyProducer)
class Download:
    """Delivers *length* bytes of the body of *answer*, after leaving out the first *skip*.

    When the connection breaks, ends too early, or is silent for *stall* seconds, *reopen* is asked for one that goes
    on where this one ended, as often as *retries* allows; then the transfer fails with *error*, whose text says *whose*
    fault it is. Bytes beyond the length are not read. *length* None: all there is, and one that breaks is not replaced.
    """

    def __init__(
        self,
        answer: Answer,
        length: int | None,
        reopen: Reopen,
        retries: Retries,
        stall: float = 60.0,
        skip: int = 0,
        *,
        whose: str = "The store",
        error: type[ImageServiceError] = StoreUnavailable,
    ) -> None:
        self.length = UNKNOWN_LENGTH if length is None else length
        self._end, self._whose, self._error = length, whose, error
        self._answer, self._reopen, self._retries, self._stall = answer, reopen, retries, stall
        self._skip = skip
        self._delivered = self._mark = self._failures = 0
        self._paused = self._over = False
        self._receiver: _Receiver | None = None
        self._reopening: Deferred[Answer] | None = None
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        done = self._done = Deferred(lambda _: self.stopProducing())
        self._consumer = consumer
        self._attach(self._answer, self._skip)
        return done

    def pauseProducing(self) -> None:
        self._paused = True
        if self._receiver is not None:
            self._receiver.pause()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._receiver is not None:
            self._receiver.resume()

    def stopProducing(self) -> None:
        if self._over:
            return
        self._over, self._done, self._consumer = True, None, None
        if self._receiver is not None:
            self._receiver.abandon()
        elif self._reopening is not None:
            self._reopening.cancel()
        else:
            self._answer.drop()

    def deliver(self, data: bytes) -> None:
        """From the connection: the next bytes."""
        if self._over or self._consumer is None:
            return
        if self._end is not None:
            data = data[: self._end - self._delivered]
        self._delivered += len(data)
        self._consumer.write(data)

    @property
    def missing(self) -> int | None:
        """Bytes yet to come, None if nobody knows; none after a stop."""
        if self._over:
            return 0
        return None if self._end is None else self._end - self._delivered

    def broken(self, why: str, *, whole: bool = False) -> None:
        """From the connection: it ended, and everything that came with it was delivered. *whole*: as HTTP sees it."""
        self._receiver = None
        if self._over:
            return
        if self.missing == 0 or (self._end is None and whole):
            self._finish(None)
            return
        if self._end is None:
            self._finish(self._error(f"{self._whose} broke off after {self._delivered} bytes: {why}"))
            return
        if self._delivered - self._mark >= PROGRESS:
            self._failures = 0
        self._mark = self._delivered
        self._reopening = Deferred.fromCoroutine(self._try_again(why))
        self._reopening.addCallbacks(self._continue, self._cannot)

    async def _try_again(self, why: str) -> Answer:
        while True:
            self._failures += 1
            if not await self._retries.pause(self._failures):
                raise self._error(f"{self._whose} broke off after {self._delivered} of {self._end} bytes: {why}")
            try:
                return await self._reopen(self._delivered)
            except NoAnswer as error:
                why = str(error)

    def _continue(self, answer: Answer) -> None:
        self._reopening = None
        if self._over:
            answer.drop()
        else:
            self._attach(answer, 0)

    def _cannot(self, failure: Failure) -> None:
        self._reopening = None
        if not self._over:
            self._finish(failure.value)

    def _attach(self, answer: Answer, skip: int) -> None:
        missing = self.missing
        exact = missing is None or answer.length == skip + missing
        receiver = self._receiver = _Receiver(self, self._retries.clock, self._stall, skip, exact)
        if self._paused:
            receiver.pause()
        answer.deliver(receiver)
        receiver.delivered()

    def _finish(self, error: BaseException | None) -> None:
        self._over, self._consumer = True, None  # which holds us
        done, self._done = self._done, None
        if done is None:
            return
        if error is None:
            done.callback(None)
        else:
            known = isinstance(error, ImageServiceError)
            done.errback(error if known else self._error(f"{self._whose} broke off: {type(error).__name__}"))


class _Receiver(Protocol):
    """One connection's part of a `Download`.

    A paused one keeps what still comes: twisted delivers what it has read already, pause or not.
    """

    transport: Any

    def __init__(self, download: Download, clock: Any, stall: float, skip: int, exact: bool) -> None:
        self._download: Download | None = download
        self._clock, self._stall, self._skip = clock, stall, skip
        self._exact = exact  # the body ends where the wanted bytes end
        self._backlog: deque[bytes] = deque()
        self._paused = self._flushing = False
        self._ended: str | None = None
        self._whole = False
        self._last = clock.seconds()
        self._timer: IDelayedCall | None = clock.callLater(stall, self._check)

    def delivered(self) -> None:
        """``deliverBody`` has returned; it resumes the connection whatever was said before."""
        if self._paused and self._ended is None:
            self.transport.pauseProducing()

    def pause(self) -> None:
        self._paused = True
        if self.transport is not None and self._ended is None:
            self.transport.pauseProducing()

    def resume(self) -> None:
        self._paused = False
        self._last = self._clock.seconds()
        self._flush()
        if not self._paused and self.transport is not None and self._ended is None:
            self.transport.resumeProducing()

    def abandon(self) -> None:
        """End the connection; nothing is told any more."""
        self._download = None
        self._backlog.clear()
        self._disarm()
        if self._ended is None:
            end_connection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self._last = self._clock.seconds()
        if self._skip:
            data, self._skip = data[self._skip :], max(0, self._skip - len(data))
        if data and self._download is not None:
            self._backlog.append(data)
            self._flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._whole = self._ended is None and whole(reason)
        self._end("the connection was cut")

    def _end(self, why: str) -> None:
        if self._ended is None:
            self._ended = why
            self._disarm()
            self._flush()

    def _flush(self) -> None:
        if self._flushing:
            return
        self._flushing = True
        while self._backlog and not self._paused and self._download is not None:
            self._download.deliver(self._backlog.popleft())
        self._flushing = False
        self._settle()

    def _settle(self) -> None:
        """Tell the end: of the connection, or of what is wanted of it."""
        download = self._download
        if download is None or self._backlog:
            return
        if self._ended is not None:
            self._download = None
            download.broken(self._ended, whole=self._whole)
        elif download.missing == 0 and not self._exact:
            self._end("more came than was wanted")
            end_connection(self.transport)
        # else the end of the body is awaited, not forced: so the connection serves the next request

    def _check(self) -> None:
        idle = 0.0 if self._paused else self._clock.seconds() - self._last
        if idle < self._stall:
            self._timer = self._clock.callLater(self._stall - idle, self._check)
            return
        self._timer = None
        transport = self.transport
        self._end(f"nothing came for {self._stall:g} s")
        end_connection(transport)

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
