"""What looks at the bytes of a transfer: digests, a size limit, the format inspection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from glancetx.config.settings import FormatSettings
from glancetx.domain.errors import ImageTooLarge
from glancetx.formats.inspector import FIRST_PIECE, Inspector
from glancetx.runtime.threads import Threads
from glancetx.streams.interfaces import IObserver
from glancetx.streams.sinks import CHUNK_COST
from glancetx.streams.slowness import Slowness

HOP: Final = 256 * 1024  # bytes worth a thread hop
BEHIND: Final = 1024 * 1024  # bytes that may wait for an observer
LARGE: Final = 64 * 1024  # bytes of a chunk whose digest takes longer than copying it beside others
SMALL: Final = 64 * 1024  # bytes whose digest takes hardly longer than a hop

Work = Callable[[list[bytes]], None]


@implementer(IObserver)
class Follower:
    """Calls each *work* with the bytes, in order and some at a time, in a thread of *threads*.

    Works share out the threads that are idle; in a crowd one thread does them all, one after the other, since each hop
    has its price.

    Bytes are gathered until a hop is worth while: *hop* of them. There may be many slow transfers, so what comes of one
    does not wait, if *small* is given: as many bytes, with what waits since before, are worked on where they come, and
    more in a thread. What *work* raises comes out of this or the next `observe`, or of `finish`.
    """

    __slots__ = (
        "_caught_up",
        "_chunks",
        "_error",
        "_finished",
        "_hop",
        "_size",
        "_slowness",
        "_small",
        "_threads",
        "_under_way",
        "_works",
    )

    def __init__(self, threads: Threads, *works: Work, hop: int = HOP, small: int = 0) -> None:
        self._threads, self._works, self._hop, self._small = threads, works, hop, small
        self._slowness = Slowness(threads.seconds) if small else None
        self._chunks: list[bytes] = []
        self._size = 0
        self._under_way = 0  # calls of the present step
        self._caught_up: Deferred[None] | None = None
        self._finished: Deferred[None] | None = None
        self._error: BaseException | None = None

    def observe(self, chunk: bytes) -> Deferred[None] | None:
        if self._error is not None:
            raise self._error
        self._chunks.append(chunk)
        self._size += len(chunk) + CHUNK_COST
        slow = self._slowness is not None and self._slowness.seen(len(chunk))
        if not self._under_way and slow and self._size <= self._small:
            chunks, self._chunks, self._size = self._chunks, [], 0
            _do(self._works, chunks)
        elif not self._under_way and (slow or self._size >= self._hop):
            self._take_step()
        if self._size < BEHIND or self._caught_up is not None:
            return None
        self._caught_up = Deferred()
        return self._caught_up

    async def finish(self) -> None:
        self._finished = Deferred()
        if not self._under_way:
            self._go_on()
        await self._finished
        if self._error is not None:
            raise self._error

    def _take_step(self) -> None:
        chunks, self._chunks, self._size = self._chunks, [], 0
        count = self._under_way = max(1, min(self._threads.idle, len(self._works)))
        for number in range(count):
            self._threads.begin(partial(_do, self._works[number::count], chunks)).addBoth(self._ended)
        if self._caught_up is not None:
            caught_up, self._caught_up = self._caught_up, None
            caught_up.callback(None)

    def _ended(self, result: object) -> None:
        self._under_way -= 1
        if isinstance(result, Failure) and self._error is None:
            self._error = result.value
        if self._under_way:
            return
        if self._error is None:
            self._go_on()
        else:
            self._fail(self._error)

    def _go_on(self) -> None:
        if self._size >= self._hop or (self._chunks and self._finished is not None):
            self._take_step()
        elif self._finished is not None:
            self._finished.callback(None)

    def _fail(self, error: BaseException) -> None:
        self._chunks, self._size = [], 0
        if self._caught_up is not None:
            self._caught_up.errback(error)
        if self._finished is not None:
            self._finished.callback(None)


def _do(works: Sequence[Work], chunks: list[bytes]) -> None:
    for work in works:
        work(chunks)


class _Hash:
    def __init__(self, algorithm: str) -> None:
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        self.hexdigest = self._hash.hexdigest

    def update(self, chunks: list[bytes]) -> None:
        # Each update has to win the interpreter lock again: small chunks are joined, large ones are not copied.
        if sum(map(len, chunks)) < len(chunks) * LARGE:
            chunks = [b"".join(chunks)]
        for chunk in chunks:
            self._hash.update(chunk)


@implementer(IObserver)
class Hashes:
    """Digests of all bytes by *algorithms*: *hexdigests*, once finished.

    Computed in *threads*, where hashlib holds no lock; but a little of a slow transfer where it comes.
    """

    def __init__(self, threads: Threads, algorithms: Iterable[str]) -> None:
        self.hexdigests: dict[str, str] = {}
        self._hashes = {algorithm: _Hash(algorithm) for algorithm in algorithms}
        self._follower = Follower(threads, *[each.update for each in self._hashes.values()], small=SMALL)

    def observe(self, chunk: bytes) -> Deferred[None] | None:
        return self._follower.observe(chunk) if self._hashes else None

    async def finish(self) -> None:
        await self._follower.finish()
        self.hexdigests = {algorithm: each.hexdigest() for algorithm, each in self._hashes.items()}


@implementer(IObserver)
class Digest(Hashes):
    """Only one: *hexdigest*, once finished."""

    def __init__(self, algorithm: str, threads: Threads) -> None:
        super().__init__(threads, [algorithm])
        self.algorithm = algorithm

    @property
    def hexdigest(self) -> str:
        return self.hexdigests.get(self.algorithm, "")


@implementer(IObserver)
class SizeLimit:
    """Counts the bytes in *received*; more than *limit* (if there is one) raise ImageTooLarge."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.received = 0

    def observe(self, chunk: bytes) -> None:
        self.received += len(chunk)
        if self.limit is not None and self.received > self.limit:
            raise ImageTooLarge

    async def finish(self) -> None:
        """Nothing is left to be done."""


@implementer(IObserver)
class Inspection:
    """Looks whether the content is of its declared format and safe (api.md, A-103); learns *virtual_size*.

    FormatMismatch comes when all bytes were seen, as in Glance. Content may be made so that looking at it is slow, so
    it is done in *threads*; without them (small content of one's own) in the caller.
    """

    def __init__(
        self,
        disk_format: str | None,
        container_format: str | None,
        settings: FormatSettings,
        threads: Threads | None = None,
    ) -> None:
        self.virtual_size: int | None = None
        self._size = 0
        self._inspector = Inspector(disk_format, container_format, settings)
        self._threads = threads
        self._follower = None if threads is None else Follower(threads, self._inspector.feed, hop=FIRST_PIECE)

    def observe(self, chunk: bytes) -> Deferred[None] | None:
        self._size += len(chunk)
        if self._inspector.settled:
            return None
        if self._follower is not None:
            return self._follower.observe(chunk)
        self._inspector.feed([chunk])
        return None

    async def finish(self) -> None:
        if self._threads is None or self._follower is None:
            self.virtual_size = self._inspector.finish(self._size)
        elif self._inspector.active:
            await self._follower.finish()
            self.virtual_size = await self._threads.run(self._inspector.finish, self._size)
