"""The driver ``centralized_db``: the entries of all nodes in the service's database."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from twisted.logger import Logger
from zope.interface import implementer

from glancetx.cache import index_sqlite
from glancetx.db.cache import CacheRows
from glancetx.domain.cached import CacheEntry
from glancetx.interfaces import ICacheIndex
from glancetx.runtime.threads import Threads

_log = Logger()


@implementer(ICacheIndex)
class DatabaseIndex:
    """Keeps entries in *rows*. What the driver ``sqlite`` kept before in *former* is taken over once (P-075)."""

    def __init__(self, rows: CacheRows, former: Path, threads: Threads) -> None:
        self._rows, self._former, self._threads = rows, former, threads

    async def start(self) -> None:
        await self._rows.register()
        known = {entry.image_id for entry in await self._rows.entries()}
        entries = await self._threads.run(index_sqlite.read_if_there, self._former)
        for entry in entries:
            if entry.image_id not in known:
                await self._rows.add(entry)
        if entries:
            await self._threads.run(index_sqlite.forget, self._former, [entry.image_id for entry in entries])
            _log.info("{count} entries of {file} are in the database now", count=len(entries), file=self._former.name)

    async def add(self, entry: CacheEntry) -> None:
        await self._rows.add(entry)

    async def hit(self, image_id: str, times: int = 1) -> None:
        await self._rows.hit(image_id, times, time.time())

    async def remove(self, image_id: str) -> None:
        await self._rows.remove(image_id)

    async def clear(self) -> None:
        await self._rows.remove(None)

    async def entries(self) -> Sequence[CacheEntry]:
        return await self._rows.entries()

    async def nodes(self, image_id: str) -> Sequence[str]:
        return await self._rows.nodes(image_id)
