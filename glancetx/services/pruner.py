"""The pruner: keeps the image cache of this node below its limit."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime

from glancetx.cache.cache import ImageCache
from glancetx.services.periodic import PeriodicService

BUDGET = 60.0
"""Seconds after which a run leaves the rest to the next one."""


class Pruner(PeriodicService):
    """Removes what was not read for the longest time, while the cache is larger than ``image_cache_max_size``.

    Every process of a node may have one; while one of them prunes the others do nothing.
    """

    def __init__(self, reactor: IReactorTime, cache: ImageCache, interval: float) -> None:
        super().__init__(reactor, interval)
        self._cache = cache
        self.files = self.bytes = 0

    async def run_once(self) -> int:
        """Prune once, for a limited time; returns how many files were removed."""
        pruned = await self._cache.prune(wait=False, latest=self._reactor.seconds() + BUDGET)
        self.files += pruned.files
        self.bytes += pruned.size
        if pruned.files:
            self._log.info("pruned {files} files of {size} bytes", files=pruned.files, size=pruned.size)
        return pruned.files

    def status(self) -> dict[str, Any]:
        return super().status() | {"files_pruned": self.files, "bytes_pruned": self.bytes}
