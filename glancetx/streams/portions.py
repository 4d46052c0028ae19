"""A stream cut into bodies of bounded size, one after the other, as object stores want large data."""

from __future__ import annotations

from collections import deque
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from glancetx.domain.errors import SizeMismatch
from glancetx.streams.sinks import Intake

PIECE: Final = 1024 * 1024  # bytes given to a connection at once, at most


class Portions:
    """What *intake* takes, in parts. *announced* is the number of bytes that is to come, None if nobody knows.

    The last bytes are handed out only when the source has ended well: whoever receives all of them may act on it.
    Every method raises what the source failed with, and SizeMismatch if it delivers more or less than announced.
    """

    def __init__(self, intake: Intake, announced: object) -> None:
        self._intake = intake
        self._announced = announced if isinstance(announced, int) else None
        self._chunks: deque[bytes] = deque()
        self._waiting = 0  # bytes in _chunks
        self._came = 0  # bytes in all
        self._ended = False
        self.size = 0

    @property
    def left(self) -> int | None:
        """How many bytes were announced and not handed out; None if that is unknown."""
        return None if self._announced is None else self._announced - self.size

    async def more(self) -> bool:
        """Whether there is another byte."""
        while not self._chunks and not self._ended:
            await self._fill()
        return bool(self._chunks)

    async def fits(self, most: int) -> bool:
        """Whether what is left is at most *most* bytes. To find out, one byte more than that may be kept in memory."""
        while self._waiting <= most and not self._ended:
            await self._fill()
        return self._waiting <= most

    async def block(self, most: int) -> list[bytes]:
        """The next *most* bytes in memory; fewer at the end only."""
        while self._waiting < most and not self._ended:
            await self._fill()
        taken: list[bytes] = []
        wanted = min(most, self._waiting)
        while wanted:
            chunk = self._cut(wanted)
            wanted -= len(chunk)
            taken.append(chunk)
        return taken

    def portion(self, most: int) -> Portion:
        """A body of the next *most* bytes, fewer at the end only. Ask for the next one when it has ended."""
        return Portion(self, most)

    async def piece(self, most: int) -> bytes:
        """Some of the next bytes, at least one and at most *most*; none at the end."""
        if not await self.more():
            return b""
        while self._announced is not None and self.size + self._waiting >= self._announced and not self._ended:
            await self._fill()
        return self._cut(min(most, PIECE))

    async def _fill(self) -> None:
        chunks = await self._intake.take()
        size = sum(map(len, chunks))
        self._chunks.extend(filter(None, chunks))
        self._waiting += size
        self._came += size
        self._ended = not chunks
        announced = self._announced
        if announced is not None and (self._came > announced or (self._ended and self._came < announced)):
            raise SizeMismatch(announced, self._came)

    def _cut(self, most: int) -> bytes:
        chunk = self._chunks.popleft()
        if len(chunk) > most:
            self._chunks.appendleft(chunk[most:])
            chunk = chunk[:most]
        self._waiting -= len(chunk)
        self.size += len(chunk)
        return chunk


@implementer(IBodyProducer)
class Portion:
    """One body. *length* is known where the whole length is."""

    def __init__(self, portions: Portions, most: int) -> None:
        left = portions.left
        self.length: int | str = UNKNOWN_LENGTH if left is None else min(most, left)
        self._portions, self._most = portions, most
        self._running: Deferred[None] | None = None
        self._resumed: Deferred[None] | None = None
        self._paused = self._stopped = False
        self.started = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        done: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self.started = True
        self._running = Deferred.fromCoroutine(self._send(consumer))
        self._running.addCallbacks(lambda _: self._end(done, None), lambda failure: self._end(done, failure.value))
        return done

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._resumed is not None:
            resumed, self._resumed = self._resumed, None
            resumed.callback(None)

    def stopProducing(self) -> None:
        self._stopped = True
        if self._running is not None:
            self._running.cancel()

    def _end(self, done: Deferred[None], error: BaseException | None) -> None:
        if self._stopped:
            return
        self._stopped = True
        if error is None:
            done.callback(None)
        else:
            done.errback(error)

    async def _send(self, consumer: IConsumer) -> None:
        left = self._most
        while left and not self._stopped:
            while self._paused:
                self._resumed = Deferred()
                await self._resumed
            piece = await self._portions.piece(left)
            if not piece:
                return
            left -= len(piece)
            if not self._stopped:
                consumer.write(piece)
