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


class _Lane:
    """What one *work* has not seen yet, and whether it is at work."""

    __slots__ = ("busy", "chunks", "size", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.busy = False
        self.clear()

    def clear(self) -> None:
        self.chunks: list[bytes] = []
        self.size = 0

    def take(self) -> Callable[[], None]:
        """To do the work on all that has come."""
        chunks = self.chunks
        self.clear()
        return partial(self.work, chunks)


@implementer(IObserver)
class Follower:
    """Calls each *work* with the bytes, in order and some at a time, in a thread of *threads*.

    As long as threads are idle each work has one and goes on by itself; in a crowd one thread does them all, one after
    the other, since each hop has its price.

    Bytes are gathered until a hop is worth while: *hop* of them. There may be many slow transfers, so what comes of one
    does not wait, if *small* is given: as many bytes, with what waits since before, are worked on where they come, and
    more in a thread. What *work* raises comes out of this or the next `observe`, or of `finish`.
    """

    __slots__ = ("_caught_up", "_error", "_finished", "_hop", "_lanes", "_slowness", "_small", "_threads")

    def __init__(self, threads: Threads, *works: Work, hop: int = HOP, small: int = 0) -> None:
        self._threads, self._hop, self._small = threads, hop, small
        self._lanes = [_Lane(work) for work in works]
        self._slowness = Slowness(threads.seconds) if small else None
        self._caught_up: Deferred[None] | None = None
        self._finished: Deferred[None] | None = None
        self._error: BaseException | None = None

    def observe(self, chunk: bytes) -> Deferred[None] | None:
        if self._error is not None:
            raise self._error
        for lane in self._lanes:
            lane.chunks.append(chunk)
            lane.size += len(chunk) + CHUNK_COST
        slow = self._slowness is not None and self._slowness.seen(len(chunk))
        if slow and self._size <= self._small and not self._busy:
            for lane in self._lanes:
                lane.take()()
        else:
            self._go_on(1 if slow else self._hop)
        if self._size < BEHIND or self._caught_up is not None:
            return None
        self._caught_up = Deferred()
        return self._caught_up

    async def finish(self) -> None:
        self._finished = Deferred()
        self._go_on(1)
        await self._finished
        if self._error is not None:
            raise self._error

    @property
    def _busy(self) -> bool:
        return any(lane.busy for lane in self._lanes)

    @property
    def _size(self) -> int:
        """How much waits for the slowest."""
        return max(lane.size for lane in self._lanes)

    def _go_on(self, worth: int) -> None:
        """Take steps of at least *worth* bytes, as far as there are threads."""
        if not self._busy or self._threads.idle:  # else who is done waits for the others, to share their thread
            ready = [lane for lane in self._lanes if not lane.busy and lane.size >= worth]
            count = min(max(1, self._threads.idle), len(ready))
            for number in range(count):
                self._begin(ready[number::count])
        if self._caught_up is not None and (self._error is not None or self._size < BEHIND):
            caught_up, self._caught_up = self._caught_up, None
            if self._error is None:
                caught_up.callback(None)
            else:
                caught_up.errback(self._error)
        if self._finished is not None and not (self._busy or self._finished.called):
            self._finished.callback(None)

    def _begin(self, lanes: Sequence[_Lane]) -> None:
        for lane in lanes:
            lane.busy = True
        self._threads.begin(partial(_do, [lane.take() for lane in lanes])).addBoth(self._ended, lanes)

    def _ended(self, result: object, lanes: Sequence[_Lane]) -> None:
        for lane in lanes:
            lane.busy = False
        if isinstance(result, Failure):
            self._error = self._error or result.value
        if self._error is not None:
            for lane in self._lanes:
                lane.clear()
        self._go_on(self._hop if self._finished is None else 1)


def _do(steps: Sequence[Callable[[], None]]) -> None:
    for step in steps:
        step()


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
