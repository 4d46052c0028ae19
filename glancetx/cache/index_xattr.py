"""The driver ``xattr``: what is to be known of a file is kept with it (processes.md, P-074)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from zope.interface import implementer

from glancetx.cache.files import CachedFile, CacheFolder
from glancetx.cache.index_sqlite import NOT_CENTRAL
from glancetx.domain.cached import CacheEntry
from glancetx.domain.errors import Conflict
from glancetx.interfaces import ICacheIndex
from glancetx.runtime.threads import Threads

HITS: Final = "user.hits"


@implementer(ICacheIndex)
class AttributeIndex:
    """Hits are an extended attribute; the last access is the file's, which we set: mounts that keep none will do."""

    def __init__(self, folder: CacheFolder, threads: Threads) -> None:
        self._folder, self._threads = folder, threads

    async def start(self) -> None:
        """Nothing: whether there are attributes was found out before."""

    async def add(self, entry: CacheEntry) -> None:
        await self._threads.run(self._add, entry)

    async def hit(self, image_id: str, times: int = 1) -> None:
        await self._threads.run(self._hit, image_id, times)

    async def remove(self, image_id: str) -> None:
        """Nothing: it went with the file."""

    async def clear(self) -> None:
        """Nothing, likewise."""

    async def entries(self) -> Sequence[CacheEntry]:
        return await self._threads.run(self._entries)

    async def nodes(self, image_id: str) -> Sequence[str]:
        raise Conflict(NOT_CENTRAL)

    def _add(self, entry: CacheEntry) -> None:
        """The file is listed as soon as it is there, so it may have been hit before."""
        self._set(entry.image_id, max(entry.hits, self._hits(entry.image_id)), entry.last_accessed)

    def _set(self, image_id: str, hits: int, accessed: float) -> None:
        path = self._folder.whole(image_id)
        with suppress(FileNotFoundError):
            os.setxattr(path, HITS, str(hits).encode())
            os.utime(path, ns=(int(accessed * 10**9), path.stat().st_mtime_ns))

    def _hit(self, image_id: str, times: int) -> None:
        self._set(image_id, self._hits(image_id) + times, time.time())

    def _hits(self, image_id: str) -> int:
        try:
            return int(os.getxattr(self._folder.whole(image_id), HITS))
        except (OSError, ValueError):
            return 0

    def _entries(self) -> list[CacheEntry]:
        files = sorted(self._folder.cached(), key=lambda file: file.image_id)
        return [self._entry(file) for file in files]

    def _entry(self, file: CachedFile) -> CacheEntry:
        return CacheEntry(
            image_id=file.image_id,
            size=file.size,
            hits=self._hits(file.image_id),
            last_accessed=file.accessed,
            last_modified=file.modified,
        )
