"""The cleaner: removes from the image cache of this node what nobody will ever read."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime

from glancetx.cache.cache import ImageCache
from glancetx.services.periodic import PeriodicService
from glancetx.services.pruner import BUDGET


class Cleaner(PeriodicService):
    """Removes invalid files, incomplete ones that are stale, and those of images that are gone.

    Where a crash has left an entry without a file, or a file without an entry, it makes both agree.
    """

    def __init__(self, reactor: IReactorTime, cache: ImageCache, interval: float) -> None:
        super().__init__(reactor, interval)
        self._cache = cache
        self.removed = 0

    async def run_once(self) -> int:
        """Clean once, for a limited time; returns how many files were removed."""
        removed = await self._cache.clean(wait=False, latest=self._reactor.seconds() + BUDGET)
        self.removed += removed
        return removed

    def status(self) -> dict[str, Any]:
        return super().status() | {"removed": self.removed}
