"""A transfer that outlives the store it began with: another copy goes on where the first broke off or fell silent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.domain.errors import StoreError

SILENCE: Final = 3.0  # seconds without a byte, after which another copy is opened beside


@frozen
class Watch:
    """For sources that may fall silent: whether there are *others* to be opened, and who is told that one was left."""

    clock: Any
    others: Callable[[], bool]
    left: Callable[[], None]


@implementer(IBodyProducer, IConsumer)
class Relay:
    """Delivers what *source* delivers. If that fails with a StoreError, *reopen* is asked for a source of the rest.

    *reopen* gets the number of bytes delivered so far; what it raises ends the transfer, and it is asked as often as
    its sources fail. With a *watch* it is also asked when a source delivers nothing for `SILENCE` seconds although it
    may: if it is silent until the other one is open, that takes its place; what is raised then counts for nothing.
    """

    def __init__(
        self, source: IBodyProducer, reopen: Callable[[int], Awaitable[IBodyProducer]], watch: Watch | None = None
    ) -> None:
        self.length = source.length
        self._source, self._reopen, self._watch = source, reopen, watch
        self._delivered = 0
        self._started = self._paused = self._over = self._active = False
        self._next: IBodyProducer | None = None  # opened while the consumer wanted a pause
        self._reopening: Deferred[IBodyProducer] | None = None
        self._beside: Deferred[IBodyProducer] | None = None  # opened while the source is silent
        self._timer: IDelayedCall | None = None
        self._last = 0.0  # when a byte came, or might come again
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        done = self._done = Deferred(lambda _: self.stopProducing())
        self._started, self._consumer = True, consumer
        self._attach(self._source)
        return done

    def pauseProducing(self) -> None:
        self._paused = True
        self._give_up_beside()
        if self._active:
            self._source.pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        self._note_life()
        if self._active:
            self._source.resumeProducing()
        elif self._next is not None:
            source, self._next = self._next, None
            self._attach(source)

    def stopProducing(self) -> None:
        if self._over:
            return
        self._over, self._done, self._consumer = True, None, None
        self._stop_watching()
        if self._reopening is not None:
            self._reopening.cancel()
        elif self._next is not None:
            self._next.stopProducing()
        elif self._active or not self._started:
            self._source.stopProducing()

    def write(self, data: bytes) -> None:
        if not self._over and self._consumer is not None:
            self._delivered += len(data)
            self._note_life()
            self._consumer.write(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing: the source is known already."""

    def unregisterProducer(self) -> None:
        """Nothing: the end is told by the source's Deferred."""

    def _attach(self, source: IBodyProducer) -> None:
        self._source, self._active = source, True
        running = source.startProducing(self)
        if self._active and self._source is source:
            self._start_watching()
        running.addCallbacks(lambda _: self._ended(source), lambda failure: self._failed(failure, source))

    def _ended(self, source: IBodyProducer) -> None:
        if source is self._source:
            self._finish(None)

    def _failed(self, failure: Failure, source: IBodyProducer) -> None:
        if source is not self._source:
            return
        self._active = False
        if self._over:
            return
        if not failure.check(StoreError):
            self._finish(failure.value)
            return
        self._disarm()
        if self._beside is not None:  # it is being opened already
            self._reopening, self._beside = self._beside, None
        else:
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
        self._stop_watching()
        if self._over:
            return
        self._over, self._consumer = True, None  # which holds us
        done, self._done = self._done, None
        if done is not None and error is None:
            done.callback(None)
        elif done is not None:
            done.errback(error)

    def _start_watching(self) -> None:
        if self._watch is not None and self._timer is None and self._watch.others():
            self._last = self._watch.clock.seconds()
            self._timer = self._watch.clock.callLater(SILENCE, self._look)

    def _look(self) -> None:
        """Is the source silent?"""
        watch, self._timer = self._watch, None
        assert watch is not None
        idle = 0.0 if self._paused else watch.clock.seconds() - self._last
        if idle < SILENCE:
            self._timer = watch.clock.callLater(SILENCE - idle, self._look)
        elif watch.others():
            beside = self._beside = Deferred.fromCoroutine(self._go_on())
            beside.addCallbacks(
                lambda source: self._replace(source, beside), lambda failure: self._no_other(failure, beside)
            )

    def _replace(self, source: IBodyProducer, opening: Deferred[IBodyProducer]) -> IBodyProducer:
        if self._beside is opening:
            self._beside = None
            silent, self._active = self._source, False
            self._source = source
            silent.stopProducing()
            if self._watch is not None:
                self._watch.left()
            self._opened(source)
        elif self._reopening is not opening:  # it was given up, and opened nevertheless
            source.stopProducing()
        return source

    def _no_other(self, failure: Failure, opening: Deferred[IBodyProducer]) -> Failure | None:
        if self._beside is opening:
            self._beside = None
            return None
        return failure if self._reopening is opening else None

    def _note_life(self) -> None:
        if self._watch is not None:
            self._last = self._watch.clock.seconds()
            self._give_up_beside()

    def _give_up_beside(self) -> None:
        """The source is not silent after all, or nobody wants to hear it."""
        if self._beside is not None:
            beside, self._beside = self._beside, None
            beside.cancel()
            self._start_watching()

    def _stop_watching(self) -> None:
        self._disarm()
        if self._beside is not None:
            beside, self._beside = self._beside, None
            beside.cancel()

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
