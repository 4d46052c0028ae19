"""One source for several: an image is read once, and goes to all its stores."""

from __future__ import annotations

from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.streams.tee import Side


@implementer(IConsumer)
class Fan:
    """Delivers what *source* delivers to each of *outlets*, at the pace of the slowest. They are body producers.

    The source is started once every outlet was started or stopped. An outlet that is stopped, or whose consumer's
    `write` raises, is dropped, and the others go on; when the last one is gone the source is stopped. If the source
    fails, so does every outlet that is left, and *error* tells why.
    """

    def __init__(self, source: IBodyProducer, count: int) -> None:
        self.outlets = tuple(Side(source.length, self._adjust, self._adjust) for _ in range(count))
        self.error: BaseException | None = None
        self._source = source
        self._begun = self._active = self._paused = False

    def write(self, data: bytes) -> None:
        for outlet in self.outlets:
            try:
                outlet.deliver(data)
            except Exception as error:
                outlet.end(error)
                self._adjust()

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing: the source is known already."""

    def unregisterProducer(self) -> None:
        """Nothing: the end is told by the source's Deferred."""

    def _adjust(self) -> None:
        """Start, pause, resume or stop the source, as the outlets want it."""
        if not self._begun:
            if not all(outlet.decided for outlet in self.outlets):
                return
            self._begin()
        if not self._active:
            return
        left = [outlet for outlet in self.outlets if not outlet.gone]
        wanted = any(outlet.paused for outlet in left)
        if not left:
            self._active = False
            self._source.stopProducing()
        elif wanted != self._paused:
            self._paused = wanted
            if wanted:
                self._source.pauseProducing()
            else:
                self._source.resumeProducing()

    def _begin(self) -> None:
        self._begun = self._active = True
        if any(not outlet.gone for outlet in self.outlets):
            ending = self._source.startProducing(self)
            ending.addCallbacks(lambda _: self._end(None), lambda failure: self._end(failure.value))

    def _end(self, error: BaseException | None) -> None:
        self._active, self.error = False, error
        for outlet in self.outlets:
            outlet.end(error)
