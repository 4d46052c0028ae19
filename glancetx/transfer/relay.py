"""A transfer that outlives the store it began with: another copy goes on where the first one broke off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.domain.errors import StoreError


@implementer(IBodyProducer, IConsumer)
class Relay:
    """Delivers what *source* delivers. If that fails with a StoreError, *reopen* is asked for a source of the rest.

    *reopen* gets the number of bytes delivered so far; what it raises ends the transfer, and it is asked as often as
    its sources fail.
    """

    def __init__(self, source: IBodyProducer, reopen: Callable[[int], Awaitable[IBodyProducer]]) -> None:
        self.length = source.length
        self._source, self._reopen = source, reopen
        self._delivered = 0
        self._paused = self._over = self._active = False
        self._next: IBodyProducer | None = None  # opened while the consumer wanted a pause
        self._reopening: Deferred[IBodyProducer] | None = None
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        done = self._done = Deferred(lambda _: self.stopProducing())
        self._consumer = consumer
        self._attach(self._source)
        return done

    def pauseProducing(self) -> None:
        self._paused = True
        if self._active:
            self._source.pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._active:
            self._source.resumeProducing()
        elif self._next is not None:
            source, self._next = self._next, None
            self._attach(source)

    def stopProducing(self) -> None:
        if self._over:
            return
        self._over, self._done = True, None
        if self._reopening is not None:
            self._reopening.cancel()
        elif self._next is not None:
            self._next.stopProducing()
        elif self._active or self._consumer is None:
            self._source.stopProducing()

    def write(self, data: bytes) -> None:
        if not self._over and self._consumer is not None:
            self._delivered += len(data)
            self._consumer.write(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing: the source is known already."""

    def unregisterProducer(self) -> None:
        """Nothing: the end is told by the source's Deferred."""

    def _attach(self, source: IBodyProducer) -> None:
        self._source, self._active = source, True
        source.startProducing(self).addCallbacks(lambda _: self._finish(None), self._failed)

    def _failed(self, failure: Failure) -> None:
        self._active = False
        if self._over:
            return
        if not failure.check(StoreError):
            self._finish(failure.value)
            return
        self._reopening = Deferred.fromCoroutine(self._go_on())
        self._reopening.addCallbacks(self._opened, lambda failure: self._finish(failure.value))

    async def _go_on(self) -> IBodyProducer:
        return await self._reopen(self._delivered)

    def _opened(self, source: IBodyProducer) -> None:
        self._reopening = None
        if self._over:
            source.stopProducing()
        elif self._paused:
            self._next = source
        else:
            self._attach(source)

    def _finish(self, error: BaseException | None) -> None:
        self._active, self._reopening = False, None
        if self._over:
            return
        self._over = True
        done, self._done = self._done, None
        if done is not None and error is None:
            done.callback(None)
        elif done is not None:
            done.errback(error)
