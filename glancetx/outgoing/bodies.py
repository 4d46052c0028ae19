"""Bodies of requests on their way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer


@implementer(IBodyProducer)
class Watched:
    """*source*, of which somebody is told how it proceeds. *error* is what it failed with."""

    def __init__(self, source: IBodyProducer) -> None:
        self._source = source
        self.length = source.length
        self.error: BaseException | None = None
        self._tell: Callable[[str], None] = lambda state: None
        self._active = False

    def tell(self, listener: Callable[[str], None]) -> None:
        """Call *listener* with each change."""
        self._tell = listener

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._active = True
        done: Deferred[None] = Deferred(lambda _: self.leave())
        self._source.startProducing(consumer).addCallbacks(self._ended, self._failed, (done,), None, (done,))
        return done

    def _ended(self, _: object, done: Deferred[None]) -> None:
        if self._active:
            self._active = False
            self._tell("sent")
            done.callback(None)

    def _failed(self, failure: Failure, done: Deferred[None]) -> None:
        if self._active:
            self._active = False
            self.error = failure.value
            done.errback(failure)

    def pauseProducing(self) -> None:
        self._source.pauseProducing()
        self._tell("held")

    def resumeProducing(self) -> None:
        self._tell("flowing")
        if self._active:
            self._source.resumeProducing()

    def stopProducing(self) -> None:
        self.leave()

    def leave(self) -> None:
        """Stop the source if it runs; nothing is told from now on."""
        self._tell = lambda state: None
        if self._active:
            self._active = False
            self._source.stopProducing()


@implementer(IBodyProducer)
class Chunks:
    """A body that is in memory."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks = list(reversed(chunks))
        self.length = sum(map(len, chunks))
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None
        self._paused = self._writing = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._consumer, self._done = consumer, done
        self.resumeProducing()
        return done

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._writing:
            return
        self._writing = True
        while self._chunks and not self._paused and self._consumer is not None:
            self._consumer.write(self._chunks.pop())
        self._writing = False
        if not self._chunks and self._done is not None:
            done, self._done, self._consumer = self._done, None, None
            done.callback(None)

    def stopProducing(self) -> None:
        self._chunks, self._done, self._consumer = [], None, None
