"""Where bytes go when code rather than a connection wants them: pulled in blocks, at the pace of who pulls."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.domain.errors import LimitExceeded
from glancetx.streams.slowness import Slowness

MIB: Final = 1024 * 1024
CHUNK_COST: Final = 256  # counted for each chunk beside its bytes: a million chunks of one byte take more than 1 MiB
SLOW_BLOCK: Final = 4 * 1024  # bytes of a slow transfer that are worth being taken


@implementer(IConsumer)
class Intake:
    """Gathers what *source* pushes, so that a coroutine can pull it: ``async with Intake(source) as intake``.

    Entering starts the source; leaving, however it happens, stops it if it has not ended. At *most* waiting bytes it is
    paused, and resumed when they were taken; so while one block is being written the next one arrives.

    With a clock, *seconds*, a slow source does not gather a whole block: there may be many of those.
    """

    def __init__(
        self,
        source: IBodyProducer,
        block: int = MIB,
        most: int = 2 * MIB,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self._source = source
        self._slowness = None if seconds is None else Slowness(seconds)
        self._enough = False  # to be taken, although it is no block
        self._block, self._most = block, most
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = self._ended = False
        self._error: BaseException | None = None
        self._news: Deferred[None] | None = None

    @property
    def unhurried(self) -> bool:
        """Whether the source is slow, and has not ended: what was taken may be used a moment later."""
        return self._slowness is not None and self._slowness.lasting and not self._ended

    async def __aenter__(self) -> Intake:
        self._source.startProducing(self).addCallbacks(self._source_ended, self._source_failed)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._chunks, self._size = [], 0
        if not self._ended:
            self._ended = True
            self._source.stopProducing()

    async def take(self) -> list[bytes]:
        """The next chunks, together about *block* bytes unless the source has ended; none at the end.

        :raises Exception: what the source failed with, as soon as it has, even if chunks are left.
        """
        while self._size < self._block and not self._enough and not self._ended:
            self._news = Deferred()
            await self._news
        if self._error is not None:
            raise self._error
        chunks, self._chunks, self._size, self._enough = self._chunks, [], 0, False
        if self._paused:
            self._paused = False
            self._source.resumeProducing()
        return chunks

    def write(self, data: bytes) -> None:
        if self._ended:
            return
        self._chunks.append(data)
        self._size += len(data) + CHUNK_COST
        if self._size >= self._most and not self._paused:
            self._paused = True
            self._source.pauseProducing()
        if self._slowness is not None and self._slowness.seen(len(data)) and self._size >= SLOW_BLOCK:
            self._enough = True
        if self._enough or self._size >= self._block:
            self._tell()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Nothing: the source is known already."""

    def unregisterProducer(self) -> None:
        """Nothing: the end is told by the source's Deferred."""

    def _source_ended(self, _: object) -> None:
        self._ended = True
        self._tell()

    def _source_failed(self, failure: Failure) -> None:
        if not self._ended:
            self._ended, self._error = True, failure.value
            self._tell()

    def _tell(self) -> None:
        if self._news is not None:
            news, self._news = self._news, None
            news.callback(None)


@implementer(IConsumer)
class Discard:
    """Takes all bytes and keeps none."""

    def write(self, data: bytes) -> None:
        """Nothing."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Nothing: it never pauses."""

    def unregisterProducer(self) -> None:
        """Nothing."""


async def gather(source: IBodyProducer, limit: int) -> bytes:
    """All bytes of a small body.

    :raises LimitExceeded: if there are more than *limit*; the source is stopped then.
    """
    chunks: list[bytes] = []
    size = 0
    async with Intake(source, block=1) as intake:
        while block := await intake.take():
            chunks += block
            size += sum(map(len, block))
            if size > limit:
                raise LimitExceeded(f"More than {limit} bytes")
    return b"".join(chunks)
