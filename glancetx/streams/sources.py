"""Where bytes come from: memory, or an open file."""

from __future__ import annotations

import os
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.domain.errors import StoreError
from glancetx.runtime.threads import Threads
from glancetx.streams.interfaces import IFileSource

PIECE: Final = 256 * 1024  # bytes handed over at once: enough to make a thread hop cheap beside the reading


@implementer(IBodyProducer)
class BytesSource:
    """Delivers *data*."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._rest = memoryview(data)
        self._done: Deferred[None] | None = None
        self._consumer: IConsumer | None = None
        self._paused = self._writing = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        done: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._done, self._consumer = done, consumer
        self._deliver()
        return done

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._deliver()

    def stopProducing(self) -> None:
        self._done = self._consumer = None
        self._rest = self._rest[:0]

    def _deliver(self) -> None:
        if self._writing:
            return  # resumed from inside a write: the loop below goes on by itself
        self._writing = True
        try:
            while self._consumer is not None and self._rest and not self._paused:
                piece, self._rest = bytes(self._rest[:PIECE]), self._rest[PIECE:]
                self._consumer.write(piece)
        finally:
            self._writing = False
        if self._done is not None and not self._rest:
            done, self._done = self._done, None
            done.callback(None)


class Gate:
    """Open or closed; whoever wants through waits until it is open."""

    def __init__(self) -> None:
        self._closed = False
        self._waiting: Deferred[None] | None = None

    def close(self) -> None:
        self._closed = True

    def open(self) -> None:
        self._closed = False
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def passing(self) -> None:
        while self._closed:
            self._waiting = Deferred()
            await self._waiting


@implementer(IBodyProducer, IFileSource)
class FileSource:
    """Delivers *length* bytes of an open file from *offset* on, and closes *descriptor* exactly once in any event.

    A file that turns out to be shorter fails the transfer with StoreError. Reads happen in *threads*, one piece ahead
    of the consumer; so at most two pieces are in memory.
    """

    def __init__(self, threads: Threads, descriptor: int, offset: int, length: int) -> None:
        self.descriptor, self.offset, self.length = descriptor, offset, length
        self._threads = threads
        self._gate = Gate()
        self._done: Deferred[None] | None = None
        self._running: Deferred[None] | None = None
        self._stopped = self._closing = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        done = self._done = Deferred(lambda _: self.stopProducing())
        self._running = Deferred.fromCoroutine(self._send(consumer))
        self._running.addCallbacks(lambda _: self._end(None), lambda failure: self._end(failure.value))
        return done

    def pauseProducing(self) -> None:
        self._gate.close()

    def resumeProducing(self) -> None:
        self._gate.open()

    def stopProducing(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._done = None
        if self._running is None:
            closing = Deferred.fromCoroutine(self._close())
            closing.addErrback(lambda _: None)  # nobody is left to be told, and the descriptor is gone either way
        elif not self._closing:
            self._running.cancel()

    def _end(self, error: BaseException | None) -> None:
        self._stopped = True
        done, self._done = self._done, None
        if done is not None and error is None:
            done.callback(None)
        elif done is not None:
            done.errback(error)

    async def _send(self, consumer: IConsumer) -> None:
        ahead: Deferred[bytes] | None = None
        delivered = 0
        try:
            while delivered < self.length:
                reading, ahead = ahead or self._read(delivered), None
                piece = await reading
                if not piece:
                    raise StoreError(f"The stored data ends after {delivered} of {self.length} bytes")
                delivered += len(piece)
                if delivered < self.length:
                    ahead = self._read(delivered)
                await self._gate.passing()
                consumer.write(piece)
        finally:
            self._closing = True
            # A read still under way must end before the close: the number may be another file's at once.
            if ahead is not None:
                ahead.addErrback(lambda _: b"")
                ahead.cancel()
                await ahead
            await self._close()

    def _read(self, done: int) -> Deferred[bytes]:
        size = min(PIECE, self.length - done)
        return Deferred.fromCoroutine(self._threads.run(os.pread, self.descriptor, size, self.offset + done))

    async def _close(self) -> None:
        """In a thread: closing the last descriptor of a deleted file frees its blocks, which may take long."""
        if self._threads.running:
            await self._threads.run(os.close, self.descriptor)
        else:
            os.close(self.descriptor)
