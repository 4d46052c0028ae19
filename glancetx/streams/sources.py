"""Where bytes come from: memory, or an open file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.domain.errors import StoreError
from glancetx.runtime.threads import Threads
from glancetx.streams.interfaces import IFileSource
from glancetx.streams.pulled import PulledSource

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
            done, self._done, self._consumer = self._done, None, None
            done.callback(None)


@implementer(IFileSource)
class FileSource(PulledSource):
    """Delivers *length* bytes of an open file from *offset* on, and closes *descriptor* exactly once in any event.

    If others read it as well, *leave* is called instead of that. A file that turns out to be shorter fails the transfer
    with StoreError. Reads happen in *threads*, one piece ahead of the consumer; so at most two pieces are in memory.
    """

    def __init__(
        self,
        threads: Threads,
        descriptor: int,
        offset: int,
        length: int,
        leave: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(length)
        self.descriptor, self.offset = descriptor, offset
        self._threads, self._leave = threads, leave

    async def send(self, consumer: IConsumer) -> None:
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
                await self.gate.passing()
                consumer.write(piece)
        finally:
            self.closing = True
            # A read still under way must end before the close: the number may be another file's at once.
            if ahead is not None:
                ahead.addErrback(lambda _: b"")
                ahead.cancel()
                await ahead
            await self.release()

    def _read(self, done: int) -> Deferred[bytes]:
        size = min(PIECE, self.length - done)
        return Deferred.fromCoroutine(self._threads.run(os.pread, self.descriptor, size, self.offset + done))

    def stopProducing(self) -> None:
        if self._leave is not None and self._running is None and not self._stopped:
            self._stopped = True
            self._leave()
        else:
            super().stopProducing()

    async def release(self) -> None:
        if self._leave is not None:
            self._leave()
        else:
            await close_file(self._threads, self.descriptor)


async def close_file(threads: Threads, descriptor: int) -> None:
    """In a thread: closing the last descriptor of a deleted file frees its blocks, which may take long."""
    if threads.running:
        await threads.run(os.close, descriptor)
    else:
        os.close(descriptor)
