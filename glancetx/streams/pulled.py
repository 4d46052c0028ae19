"""What sources have in common that are one coroutine: it reads, waits at a gate while paused, and writes."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer


class Gate:
    """Open or closed; whoever wants through waits until it is open."""

    def __init__(self) -> None:
        self.closed = False
        self._waiting: Deferred[None] | None = None

    def close(self) -> None:
        self.closed = True

    def open(self) -> None:
        self.closed = False
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def passing(self) -> None:
        while self.closed:
            self._waiting = Deferred()
            await self._waiting


@implementer(IBodyProducer)
class PulledSource:
    """Starts, pauses, stops and ends `send`, which a subclass has, as `streams.interfaces` demands.

    `send` passes *gate* before each write, and sets *closing* when it begins to release what it holds: from then on it
    is not cancelled any more.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.gate = Gate()
        self.closing = False
        self._done: Deferred[None] | None = None
        self._running: Deferred[None] | None = None
        self._stopped = False

    async def send(self, consumer: IConsumer) -> None:
        """Write everything to *consumer*, and release what is held, however it ends."""
        raise NotImplementedError

    async def release(self) -> None:
        """Release what is held by a source that was never started."""
        raise NotImplementedError

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        done = self._done = Deferred(lambda _: self.stopProducing())
        self._running = Deferred.fromCoroutine(self.send(consumer))
        self._running.addCallbacks(lambda _: self._end(None), lambda failure: self._end(failure.value))
        return done

    def pauseProducing(self) -> None:
        self.gate.close()

    def resumeProducing(self) -> None:
        self.gate.open()

    def stopProducing(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._done = None
        if self._running is None:
            releasing = Deferred.fromCoroutine(self.release())
            releasing.addErrback(lambda _: None)  # nobody is left to be told
        elif not self.closing:
            self._running.cancel()

    def _end(self, error: BaseException | None) -> None:
        self._stopped = True
        done, self._done = self._done, None
        if done is not None and error is None:
            done.callback(None)
        elif done is not None:
            done.errback(error)
