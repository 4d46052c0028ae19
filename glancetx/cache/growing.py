"""Files that are still being filled, by this process or by another one, and the source that follows one of them.

Nothing waits for a reader: the fill goes at the pace of the store and the disk, and each reader at its own, from the
file. The last byte is withheld until the content was compared, so that nobody takes wrong data for the whole. Nor when
the fill ends early, and a reader goes on elsewhere: then what it has had is compared together with the rest.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import deferLater
from twisted.web.iweb import IBodyProducer

from glancetx.cache.files import CacheFolder, Draft
from glancetx.domain.cached import Content
from glancetx.domain.errors import CacheLost, DataCorrupt, StoreError
from glancetx.runtime.threads import Threads
from glancetx.runtime.undo import undone_by
from glancetx.streams import Digest, Intake, Tap
from glancetx.streams.pulled import PulledSource
from glancetx.streams.sources import PIECE

POLL: Final = 0.05
"""Seconds between two looks at how far another process has come."""


class Growing(Protocol):
    """A file that grows to *total* bytes."""

    total: int

    @property
    def descriptor(self) -> int:
        """An open descriptor of the file, until the last reader has left."""

    async def reached(self, at: int) -> int:
        """How many bytes can be had, as soon as these are more than *at*.

        :raises CacheLost: if there will not be any more. :raises DataCorrupt: if they are not those of the image.
        """

    async def leave(self) -> None:
        """Called once by each reader."""


class Fill:
    """One image that this process puts into the cache. *readers* is how many follow, and wait for it to end.

    When the last of them has left before all was compared, *deserted* is called.
    """

    def __init__(self, draft: Draft, content: Content, threads: Threads, deserted: Callable[[], None]) -> None:
        self.total = content.size
        self.readers = 0
        self._draft, self._content, self._threads, self._deserted = draft, content, threads, deserted
        self._size = 0
        self.over = False
        self._verified = self._closed = False
        self._error: Exception | None = None
        self._news: list[Deferred[None]] = []

    @property
    def descriptor(self) -> int:
        return self._draft.descriptor

    def join(self) -> None:
        """One reader more."""
        self.readers += 1

    async def leave(self) -> None:
        self.readers -= 1
        if not self.readers and not self.over and not self._verified:
            self._deserted()
        await self._close()

    async def reached(self, at: int) -> int:
        while True:
            ready = self._size if self._verified else min(self._size, self.total - 1)
            if ready > at:
                return ready
            if self._error is not None:
                raise self._error
            await self._wait()

    async def ended(self) -> None:
        """Return when the image is cached. :raises CacheLost, DataCorrupt: if it never will be."""
        while not self.over:
            await self._wait()
        if self._error is not None:
            raise self._error

    async def run(self, source: IBodyProducer, hashing: Threads) -> None:
        """Write what *source* delivers, compare it and publish it; it is used up in any event. Cancelling undoes it.

        :raises StoreError: if the source or the disk fails. :raises DataCorrupt: if it is not what it should be.
        """
        try:
            async with undone_by(self._threads.run, self._draft.abandon):
                await self._fill(source, hashing)
        except DataCorrupt as error:
            self._fail(error)
            raise
        except StoreError as error:
            self._fail(CacheLost(str(error)))
            raise
        except BaseException:
            self._fail(CacheLost("The cache does not go on with this image"))
            raise
        finally:
            self.over = True
            self._tell()
            await self._close()

    async def _fill(self, source: IBodyProducer, hashing: Threads) -> None:
        digest = Digest(self._content.algorithm, hashing)
        async with Intake(Tap(source, digest), block=1) as intake:  # readers want what there is
            while chunks := await intake.take():
                await self._on_disk(self._draft.write, chunks)
                self._size += sum(map(len, chunks))
                if self._size > self.total:
                    break
                self._tell()
        if (self._size, digest.hexdigest) != (self.total, self._content.digest.lower()):
            await self._on_disk(self._draft.reject)
            raise DataCorrupt(f"The data of image {self._content.image_id} is not what was stored")
        self._verified = True
        self._tell()
        await self._on_disk(self._draft.publish, self._content.mark)

    async def _on_disk(self, function: Callable[..., None], *args: Any) -> None:
        try:
            await self._threads.run(function, *args)
        except OSError as error:
            raise CacheLost(f"The cache cannot be written: {os.strerror(error.errno or 0)}") from error

    async def _close(self) -> None:
        """In a thread: closing the last descriptor of a removed file frees its blocks, which may take long."""
        if self.over and not self.readers and not self._closed:
            self._closed = True
            await close_in(self._threads, self._draft.close)

    async def _wait(self) -> None:
        news: Deferred[None] = Deferred(self._news.remove)
        self._news.append(news)
        await news

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, []
        for waiting in news:
            waiting.callback(None)


class RemoteFill:
    """One image that another process puts into the cache, for one reader: looked at while that waits."""

    def __init__(self, folder: CacheFolder, image_id: str, total: int, threads: Threads, reactor: Any) -> None:
        self.total = total
        self.descriptor = -1
        self._path, self._whole = folder.incomplete / image_id, folder.whole(image_id)
        self._threads, self._reactor = threads, reactor
        self._verified = self._lost = False

    def open(self) -> bool:
        """In a thread: False if nobody fills the image."""
        try:
            self.descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        if self._is_locked():
            return True
        self.close()
        return False

    def close(self) -> None:
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            os.close(descriptor)

    async def reached(self, at: int) -> int:
        while True:
            size = await self._threads.run(self._look)
            ready = size if self._verified else min(size, self.total - 1)
            if ready > at:
                return ready
            if self._lost:
                raise CacheLost("The process that filled the cache has given up")
            await deferLater(self._reactor, POLL)

    async def leave(self) -> None:
        await close_in(self._threads, self.close)

    def _look(self) -> int:
        locked = self._is_locked()
        status = os.fstat(self.descriptor)
        try:
            whole = os.stat(self._whole, follow_symlinks=False)
            published = (whole.st_dev, whole.st_ino) == (status.st_dev, status.st_ino)
        except FileNotFoundError:
            published = False
        self._verified = self._verified or (published and status.st_size == self.total)
        self._lost = not locked and not self._verified
        return status.st_size

    def _is_locked(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


async def close_in(threads: Threads, close: Callable[[], None]) -> None:
    """Close something in a thread, or here if there are none any more."""
    if threads.running:
        await threads.run(close)
    else:
        close()


@frozen
class Rest:
    """How to go on with *content* where the cache does not: *open_at* opens it from a byte on; digests are computed in
    *hashing*.
    """

    content: Content
    open_at: Callable[[int], Awaitable[IBodyProducer]]
    hashing: Threads


class Follower(PulledSource):
    """Delivers a file while it grows, at the consumer's pace. Reads happen in *threads*, a piece at a time.

    The reader has joined; it leaves when this is over, whether it was started or not. Without a *rest* it breaks off
    with CacheLost if the file does not grow to its end.
    """

    def __init__(self, growing: Growing, threads: Threads, rest: Rest | None = None) -> None:
        super().__init__(growing.total)
        self._growing, self._threads, self._rest = growing, threads, rest

    async def send(self, consumer: IConsumer) -> None:
        try:
            await self._follow(consumer)
        finally:
            self.closing = True
            await self.release()

    async def release(self) -> None:
        await self._growing.leave()

    async def _follow(self, consumer: IConsumer) -> None:
        at = ready = 0
        while at < self.length:
            try:
                if ready <= at:
                    ready = await self._growing.reached(at)
            except CacheLost:
                if self._rest is None:
                    raise
                await self._go_on(consumer, at, self._rest)
                return
            await self.gate.passing()
            piece = await self._read(at, ready)
            if not piece:
                raise CacheLost("The cached file has become shorter")
            at += len(piece)
            await self.gate.passing()
            consumer.write(piece)

    async def _go_on(self, consumer: IConsumer, begin: int, rest: Rest) -> None:
        """Deliver what lies behind *begin* from elsewhere; the end of it when all that was delivered was compared.

        The fill did not come to compare what it had, and the copy that it had it from may be damaged.
        """
        computed = hashlib.new(rest.content.algorithm, usedforsecurity=False)
        at = 0
        while at < begin and (piece := await self._read(at, begin)):
            await rest.hashing.run(computed.update, piece)
            at += len(piece)
        withheld = b""
        async with Intake(await rest.open_at(begin), block=1) as intake:
            while chunks := await intake.take():
                await self.gate.passing()
                consumer.write(withheld)
                withheld = b"".join(chunks)
                await rest.hashing.run(computed.update, withheld)
        if computed.hexdigest() != rest.content.digest.lower():
            raise DataCorrupt(f"What was read of image {rest.content.image_id} is not what was stored")
        await self.gate.passing()
        consumer.write(withheld)

    async def _read(self, at: int, end: int) -> bytes:
        return await self._threads.run(os.pread, self._growing.descriptor, min(PIECE, end - at), at)
