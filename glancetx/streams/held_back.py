"""A stream whose end is kept back until somebody has approved of the whole."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer


@implementer(IBodyProducer, IConsumer)
class HeldBack:
    """Delivers what *source*, whose length is known, delivers; its last chunk only when the source has succeeded.

    So a consumer that knows the length never takes for whole what was refused at the end by, say, the observers of a
    `Tap`.
    """

    def __init__(self, source: IBodyProducer) -> None:
        self.length = source.length
        self._source = source
        self._seen = 0
        self._end: list[bytes] = []
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        done = self._done = Deferred(lambda _: self.stopProducing())
        self._consumer = consumer
        self._source.startProducing(self).addCallbacks(self._succeed, self._fail)
        return done

    def pauseProducing(self) -> None:
        self._source.pauseProducing()

    def resumeProducing(self) -> None:
        self._source.resumeProducing()

    def stopProducing(self) -> None:
        self._done = self._consumer = None
        self._source.stopProducing()

    def write(self, data: bytes) -> None:
        self._seen += len(data)
        if self._seen >= self.length:
            self._end.append(data)
        elif self._consumer is not None:
            self._consumer.write(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing: the source is known already."""

    def unregisterProducer(self) -> None:
        """Nothing: the end is told by the source's Deferred."""

    def _succeed(self, _: object) -> None:
        done, consumer = self._forget()
        if done is None or consumer is None:
            return
        consumer.write(b"".join(self._end))
        done.callback(None)

    def _fail(self, failure: Failure) -> None:
        done, _ = self._forget()
        if done is not None:
            done.errback(failure)

    def _forget(self) -> tuple[Deferred[None] | None, IConsumer | None]:
        """Who is told is returned. The consumer holds us, so we let go of it."""
        done, consumer, self._done, self._consumer = self._done, self._consumer, None, None
        return done, consumer
