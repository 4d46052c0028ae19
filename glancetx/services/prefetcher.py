"""The prefetcher: brings into the image cache of this node what is on its queue."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime

from glancetx.services.periodic import PeriodicService
from glancetx.services.pruner import BUDGET
from glancetx.transfer.prefetch import Prefetches

SELDOM: Final = 3600.0
"""Seconds between two looks if nobody wants any; a process that was killed may have left something on the queue."""


class Prefetcher(PeriodicService):
    """Fetches one image after the other, in the order of the queue, which all processes of the node share.

    One that cannot be fetched stays there, is tried again at the next run, and does not keep others from their turn.
    """

    def __init__(self, reactor: IReactorTime, prefetches: Prefetches, interval: float) -> None:
        super().__init__(reactor, interval or SELDOM)
        self._prefetches = prefetches
        self.fetched = self.failed = 0

    async def run_once(self) -> int:
        """Try every image once, while there is time; returns how many were cached."""
        latest, tried, done = self._reactor.seconds() + BUDGET, set[str](), 0
        while fresh := [each for each in await self._prefetches.queued() if each not in tried]:
            for image_id in fresh:
                if self._reactor.seconds() > latest:
                    return done
                tried.add(image_id)
                done += await self._try(image_id)
        return done

    def status(self) -> dict[str, Any]:
        return super().status() | {"fetched": self.fetched, "failed": self.failed}

    async def _try(self, image_id: str) -> bool:
        try:
            fetched = await self._prefetches.fetch(image_id)
        except CancelledError:
            raise
        except Exception as error:
            self.failed += 1
            self._log.warn("image {image} cannot be cached now: {error!r}", image=image_id, error=error)
            return False
        self.fetched += fetched
        return fetched
