"""The image cache: what was downloaded once is served from the directory of this node.

It knows nothing of stores: who asks brings along how the data is opened. Policy was asked before.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.logger import Logger
from twisted.web.iweb import IBodyProducer

from glancetx.cache.files import CacheFolder, Draft, stale_before
from glancetx.cache.growing import Fill, Follower, RemoteFill, Rest
from glancetx.cache.hits import Hits
from glancetx.cache.whole import WholeFiles
from glancetx.config.settings import CacheSettings
from glancetx.db.copies import Copies
from glancetx.db.images import Images
from glancetx.domain.cached import CacheEntry, Content, Pruned, content_of
from glancetx.domain.errors import DataCorrupt, StoreError
from glancetx.domain.image import Image
from glancetx.domain.status import ACTIVE
from glancetx.interfaces import ICacheIndex
from glancetx.runtime.failpoints import reach
from glancetx.runtime.ongoing import Ongoing
from glancetx.runtime.sharing import SharedCall
from glancetx.runtime.threads import Threads
from glancetx.runtime.undo import undone_by


class Origin(Protocol):
    """Where the data of one image comes from."""

    async def open(self, begin: int) -> IBodyProducer:
        """A source of all from the byte *begin* on. :raises StoreError: if there is none."""

    async def doubt(self) -> None:
        """Called if what was opened from the byte 0 on was not the image."""


class ImageCache:
    """The cache of one node, which several processes share; *index* is told what they do.

    Files are read and written in *files*, and compared in *hashing*.
    """

    def __init__(
        self,
        settings: CacheSettings,
        folder: CacheFolder,
        index: ICacheIndex,
        images: Images,
        copies: Copies,
        files: Threads,
        hashing: Threads,
        reactor: Any,
    ) -> None:
        self.settings = settings
        self.index = index
        self._folder = folder
        self._images, self._copies = images, copies
        self._files, self._hashing, self._reactor = files, hashing, reactor
        self._fills: dict[str, Fill] = {}
        self._beginning: dict[str, SharedCall[Fill | None]] = {}
        self._running: dict[str, Deferred[None]] = {}
        self._hits = Hits(index, reactor)
        self._turn = DeferredLock()
        self._ongoing = Ongoing()
        self._log = Logger()
        self._whole = WholeFiles(folder, index, files, hashing, reactor, self._run)

    async def start(self) -> None:
        """Make the folders and prepare the index. :raises ConfigurationError: if that is impossible."""
        await self._files.run(self._folder.prepare)
        await self.index.start()

    async def stop(self) -> None:
        """End what is under way; what is not whole is removed."""
        await self._ongoing.cancel()
        await self._logged(self._hits.told())
        self._whole.close()

    async def open(self, image: Image, offset: int, length: int, origin: Origin) -> IBodyProducer | None:
        """A source of these bytes from the cache: of a whole file (an IFileSource), or of one that is being filled.

        If the image is neither, and all of it is wanted, it is filled from what *origin* opens; all who ask
        meanwhile share that. None: read it elsewhere. Where the cache does not go on a source goes on with what
        *origin* opens, and fails before its end if all that it delivered is not the image.

        :raises StoreError: what *origin* raises.
        """
        content = content_of(image)
        if image.status != ACTIVE or content is None or content.algorithm not in hashlib.algorithms_available:
            return None
        hit = await self._whole.open(content, offset, length)
        if hit is not None:
            if self._hits.count(image.id):
                self._run(self._hits.tell())
            return hit
        if (offset, length) != (0, content.size):
            return None
        return await self._follow(content, origin)

    async def whole(self, content: Content) -> IBodyProducer | None:
        """A source of all of the cached file, if it was found to be *content* when it was written; nothing is filled.

        It delivers what is in the file now: who needs to be sure compares once more. As long as it is open the file is
        not pruned; and also if it is removed, the source has it. It must be started or stopped.
        """
        return await self._whole.open(content, 0, content.size)

    async def fetch(self, image: Image, origin: Origin) -> bool:
        """Put the image into the cache; True if it is there in the end.

        False if it cannot be, or another process is about it. :raises Exception: why that failed.
        """
        content = content_of(image)
        if content is None or content.algorithm not in hashlib.algorithms_available:
            return False
        if await self._files.run(self._folder.is_cached, image.id):
            await self._files.run(self._folder.unqueue, image.id)
            return True
        fill = await self._begin(content, origin)
        if fill is None:
            return False
        fill.join()
        try:
            await fill.ended()
        finally:
            await fill.leave()
        return True

    async def remove(self, image_id: str) -> bool:
        """Take the image out of the cache and off the queue; whoever reads it goes on. Tells whether it was there."""
        queued = await self._files.run(self._folder.unqueue, image_id)
        return await self.remove_file(image_id) or queued

    async def remove_file(self, image_id: str) -> bool:
        """As `remove`; what is on the queue stays there."""
        removed = await self._files.run(self._folder.remove, image_id)
        reach("cache.unlinked")
        self._whole.forget(image_id)
        await self.index.remove(image_id)
        return removed

    async def discard(self, image_id: str) -> None:
        """As `remove`, for an image that is not served any more: what fails is left to the cleaner."""
        try:
            await self.remove(image_id)
        except Exception:
            self._log.failure("image {image} stays in the cache for now", image=image_id)

    async def clear(self) -> int:
        """Remove all that is cached; returns how many files these were."""
        removed = 0
        for file in await self._files.run(self._folder.cached):
            removed += await self._files.run(self._folder.remove, file.image_id)
        self._whole.close()
        await self.index.clear()
        return removed

    async def entries(self) -> Sequence[CacheEntry]:
        """What the index knows, by image id, with all that was read here until now."""
        await self._hits.told()
        return await self.index.entries()

    async def enqueue(self, image_id: str) -> bool:
        """Ask for the image to be fetched; False if it is cached, queued or being fetched."""
        return await self._files.run(self._folder.enqueue, image_id)

    async def unqueue(self, image_id: str) -> bool:
        """Whether it was queued."""
        return await self._files.run(self._folder.unqueue, image_id)

    async def clear_queue(self) -> int:
        """Empty the queue; returns how many images were on it."""
        removed = 0
        for image_id in await self.queued():
            removed += await self.unqueue(image_id)
        return removed

    async def queued(self) -> list[str]:
        """What is to be fetched, in this order."""
        return await self._files.run(self._folder.queued)

    async def holds(self, image_id: str) -> bool:
        """Whether it is cached or queued."""
        return await self._files.run(self._folder.is_cached, image_id) or image_id in await self.queued()

    async def prune(self, *, wait: bool = True, latest: float = math.inf) -> Pruned:
        """Remove what was not read for the longest time, until the files are not larger than the limit together.

        A file that is being read stays, and so does one that a damaged copy may have to be remade from. If another
        process of this node prunes or cleans: *wait*, or do nothing. It ends early at the time *latest* of the
        reactor's clock.
        """
        async with self._alone(wait=wait) as turn:
            return await self._prune(latest) if turn else Pruned()

    async def clean(self, *, wait: bool = True, latest: float = math.inf) -> int:
        """Remove what is invalid, stale, or of images that are gone; returns how many files.

        Entries and files that have lost each other, after a crash, are put right. *wait*, *latest*: as for `prune`.
        """
        async with self._alone(wait=wait) as turn:
            return await self._clean(latest) if turn else 0

    async def _prune(self, latest: float) -> Pruned:
        files = await self._files.run(self._folder.cached)
        excess = sum(file.size for file in files) - self.settings.max_size
        if excess <= 0:
            return Pruned()
        read = {entry.image_id: entry.last_accessed for entry in await self.entries()}
        count = size = 0
        for file in sorted(files, key=lambda file: read.get(file.image_id, file.modified)):
            if size >= excess or self._reactor.seconds() > latest:
                break
            if await self._copies.are_damaged(file.image_id):
                continue
            if await self._files.run(self._folder.remove_unused, file.image_id):
                self._whole.forget(file.image_id)
                await self.index.remove(file.image_id)
                count, size = count + 1, size + file.size
        return Pruned(count, size)

    async def _clean(self, latest: float) -> int:
        removed = await self._files.run(self._folder.clean, stale_before(self.settings.stall_time))
        entries = {entry.image_id for entry in await self.index.entries()}
        files = {file.image_id: file for file in await self._files.run(self._folder.cached)}
        for image_id in {*files, *entries}:
            if self._reactor.seconds() > latest:
                return removed
            if image_id not in files:
                await self.index.remove(image_id)
            elif await self._images.status(image_id) != ACTIVE:
                removed += await self.remove(image_id)
            elif image_id not in entries:
                await self.index.add(_entry(image_id, files[image_id].size, files[image_id].modified))
        for image_id in await self.queued():
            if await self._images.status(image_id) is None:
                removed += await self.unqueue(image_id)
        return removed

    async def condemn(self, content: Content) -> None:
        """The whole file was read and is not *content*: it is not served any more, and kept among the invalid ones."""
        await self._whole.condemn(content)

    async def _follow(self, content: Content, origin: Origin) -> IBodyProducer | None:
        rest = Rest(content, origin.open, self._hashing)
        fill = await self._begin(content, origin)
        if fill is not None:
            fill.join()
            return Follower(fill, self._files, rest)
        remote = RemoteFill(self._folder, content.image_id, content.size, self._files, self._reactor)
        async with undone_by(self._files.run, remote.close):
            found = await self._files.run(remote.open)
        return Follower(remote, self._files, rest) if found else None

    async def _begin(self, content: Content, origin: Origin) -> Fill | None:
        """The fill that this process has under way, or a new one; None if there cannot be any.

        What begins a fill serves all who ask, so the one who asked first may leave.
        """
        image_id = content.image_id
        fill = self._fills.get(image_id)
        if fill is not None and not fill.over:
            return fill
        call = self._beginning.get(image_id)
        if call is None or not call.running:
            call = self._beginning[image_id] = SharedCall(self._begin_for_all(content, origin))
        return await call.result()

    async def _begin_for_all(self, content: Content, origin: Origin) -> Fill | None:
        return await self._ongoing.run(self._begin_fill(content, origin))

    async def _begin_fill(self, content: Content, origin: Origin) -> Fill | None:
        image_id = content.image_id
        draft = self._folder.draft(image_id)
        try:
            if not await self._create(draft):
                return None
            async with undone_by(self._files.run, draft.drop):
                source = await origin.open(0)
            fill = Fill(draft, content, self._files, lambda: self._desert(image_id))
            self._fills[image_id] = fill
            self._running[image_id] = self._run(self._fill(fill, content, source, origin))
        finally:
            self._beginning.pop(image_id, None)
        return fill

    async def _create(self, draft: Draft) -> bool:
        try:
            return await self._files.run(draft.create)
        except OSError as error:
            self._log.warn("the cache cannot be written: {error}", error=error.strerror)
            return False

    async def _fill(self, fill: Fill, content: Content, source: IBodyProducer, origin: Origin) -> None:
        image_id = content.image_id
        try:
            await fill.run(source, self._hashing)
            now = time.time()
            await self.index.add(_entry(image_id, content.size, now))
            reach("cache.indexed")
            if await self._images.status(image_id) != ACTIVE:
                await self.remove(image_id)
        except DataCorrupt as error:
            self._log.error("{error}; it is not cached", error=str(error))
            await origin.doubt()
        except StoreError as error:
            self._log.warn("image {image} is not cached: {error}", image=image_id, error=str(error))
        finally:
            if self._fills.get(image_id) is fill:
                del self._fills[image_id], self._running[image_id]

    def _desert(self, image_id: str) -> None:
        """Nobody reads what is being filled any more."""
        if (running := self._running.get(image_id)) is not None:
            running.cancel()

    def _run(self, work: Coroutine[Deferred[Any], Any, Any]) -> Deferred[None]:
        """Do something that nobody waits for; an error is logged."""
        return self._ongoing.run(self._logged(work))

    async def _logged(self, work: Coroutine[Deferred[Any], Any, Any]) -> None:
        try:
            await work
        except CancelledError:
            pass
        except Exception:
            self._log.failure("the cache could not do something; it goes on without")

    @asynccontextmanager
    async def _alone(self, *, wait: bool) -> AsyncIterator[bool]:
        await self._turn.acquire()
        turn = self._folder.turn()
        try:
            yield await self._files.run(turn.take, wait=wait)
        finally:
            turn.close()
            self._turn.release()


def _entry(image_id: str, size: int, now: float) -> CacheEntry:
    return CacheEntry(image_id=image_id, size=size, last_accessed=now, last_modified=now)
