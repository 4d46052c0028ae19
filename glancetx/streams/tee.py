"""One source for two: the one who asked for the bytes, and a side branch (a cache) that may fail unnoticed."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.domain.errors import ClientVanished


@implementer(IBodyProducer)
class Side:
    """One of the two outlets of a `Tee`."""

    def __init__(self, length: int, changed: Callable[[], None], stopped: Callable[[], None]) -> None:
        self.length = length
        self.paused = self.gone = False
        self._changed, self._stopped = changed, stopped
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None

    @property
    def decided(self) -> bool:
        """Whether it was started or stopped."""
        return self.gone or self._consumer is not None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        done: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._consumer, self._done = consumer, done
        self._changed()
        return done

    def pauseProducing(self) -> None:
        self.paused = True
        self._changed()

    def resumeProducing(self) -> None:
        self.paused = False
        self._changed()

    def stopProducing(self) -> None:
        self._done = None
        if not self.gone:
            self.gone = True
            self._stopped()

    def deliver(self, data: bytes) -> None:
        """Pass the bytes on, if somebody is there to take them."""
        if not self.gone and self._consumer is not None:
            self._consumer.write(data)

    def end(self, error: BaseException | None) -> None:
        """Tell the end, once."""
        self.gone = True
        done, self._done = self._done, None
        if done is not None and error is None:
            done.callback(None)
        elif done is not None:
            done.errback(error)


@implementer(IConsumer)
class Tee:
    """Delivers what *source* delivers to *main* and to *branch*, both body producers, at the pace of the slower one.

    The source is started once each of the two was started or stopped. Stopping the branch, or an error in its
    consumer's `write`, drops it, and main goes on without. Stopping main stops everything: the branch then fails with
    ClientVanished, so that nobody takes a part for the whole.
    """

    def __init__(self, source: IBodyProducer) -> None:
        self.main = Side(source.length, self._adjust, self._stop)
        self.branch = Side(source.length, self._adjust, self._adjust)
        self._source = source
        self._begun = self._active = self._paused = False

    def write(self, data: bytes) -> None:
        self.main.deliver(data)
        try:
            self.branch.deliver(data)
        except Exception as error:
            self.branch.end(error)
            self._adjust()

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing: the source is known already."""

    def unregisterProducer(self) -> None:
        """Nothing: the end is told by the source's Deferred."""

    def _adjust(self) -> None:
        """Start, pause or resume the source, as both sides want it."""
        if not self._begun:
            if not (self.main.decided and self.branch.decided):
                return
            self._begun = self._active = True
            ending = self._source.startProducing(self)
            ending.addCallbacks(lambda _: self._end(None), lambda failure: self._end(failure.value))
        wanted = any(side.paused and not side.gone for side in (self.main, self.branch))
        if self._active and wanted != self._paused:
            self._paused = wanted
            if wanted:
                self._source.pauseProducing()
            else:
                self._source.resumeProducing()

    def _stop(self) -> None:
        if self._active or not self._begun:
            self._begun, self._active = True, False
            self._source.stopProducing()
        self.branch.end(ClientVanished("The transfer was stopped"))

    def _end(self, error: BaseException | None) -> None:
        self._active = False
        self.branch.end(error)
        self.main.end(error)
