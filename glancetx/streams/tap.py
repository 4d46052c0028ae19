"""A place on the way of the bytes where others may look at them."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.streams.interfaces import IObserver


@implementer(IBodyProducer, IConsumer)
class Tap:
    """Delivers what *source* delivers; every chunk is shown to each observer, in order, before the consumer gets it.

    The Deferred fires when the source has ended and every observer has finished. An observer that raises stops the
    source and fails the Deferred with its error. The source is paused while the consumer wants a pause or an observer
    has fallen behind.
    """

    def __init__(self, source: IBodyProducer, *observers: IObserver) -> None:
        self.length = source.length
        self._source, self._observers = source, observers
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None
        self._finishing: Deferred[None] | None = None
        self._started = self._source_active = False
        self._held = 0  # observers that have fallen behind
        self._asked = self._paused = False  # the consumer wants a pause; the source was told to pause

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        done = self._done = Deferred(self._cancelled)
        self._consumer = consumer
        self._started = self._source_active = True
        self._source.startProducing(self).addCallbacks(self._source_ended, self._source_failed)
        return done

    def pauseProducing(self) -> None:
        self._asked = True
        self._adjust()

    def resumeProducing(self) -> None:
        self._asked = False
        self._adjust()

    def stopProducing(self) -> None:
        self._forget()
        if self._source_active or not self._started:
            self._source_active = False
            self._source.stopProducing()
        if self._finishing is not None:
            self._finishing.cancel()

    def _cancelled(self, _: Deferred[None]) -> None:
        self.stopProducing()

    def write(self, data: bytes) -> None:
        if self._done is None or self._consumer is None:
            return  # the source has not noticed yet that it was stopped
        for observer in self._observers:
            try:
                behind = observer.observe(data)
            except Exception as error:
                self._fail(error)
                return
            if behind is not None:
                self._hold(behind)
        if self._consumer is not None:  # no observer has failed
            self._consumer.write(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing: the source is known already."""

    def unregisterProducer(self) -> None:
        """Nothing: the end is told by the source's Deferred."""

    def _hold(self, behind: Deferred[None]) -> None:
        self._held += 1
        self._adjust()
        behind.addCallbacks(lambda _: self._release(), lambda failure: self._fail(failure.value))

    def _release(self) -> None:
        self._held -= 1
        self._adjust()

    def _adjust(self) -> None:
        wanted = self._asked or self._held > 0
        if wanted != self._paused and self._source_active:
            self._paused = wanted
            if wanted:
                self._source.pauseProducing()
            else:
                self._source.resumeProducing()

    def _source_ended(self, _: object) -> None:
        self._source_active = False
        if self._done is not None:
            self._finishing = Deferred.fromCoroutine(self._finish())
            self._finishing.addCallbacks(self._succeed, lambda failure: self._fail(failure.value))

    async def _finish(self) -> None:
        for observer in self._observers:
            await observer.finish()

    def _source_failed(self, failure: Failure) -> None:
        self._source_active = False
        self._fail(failure.value)

    def _succeed(self, _: object) -> None:
        self._finishing = None
        done = self._forget()
        if done is not None:
            done.callback(None)

    def _fail(self, error: BaseException | None) -> None:
        """The first error is the one that is told; the source, if it is active, stops."""
        self._finishing = None
        done = self._forget()
        if done is None:
            return
        if self._source_active:
            self._source_active = False
            self._source.stopProducing()
        done.errback(error)

    def _forget(self) -> Deferred[None] | None:
        """Nobody is told any more but who is returned. The consumer holds us, so we let go of it."""
        done, self._done, self._consumer = self._done, None, None
        return done
