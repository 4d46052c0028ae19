"""The scrubber: removes the data of images that were deleted some time ago (P-060..P-063)."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import CancelledError, DeferredSemaphore, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime

from glancetx.config.settings import ScrubSettings
from glancetx.db.scrub import Doomed, PendingDeletes
from glancetx.services.periodic import SlicedService
from glancetx.transfer.scrub import Scrubs

BATCH: Final = 1000
"""Locations looked up at a time."""
BUDGET: Final = 60.0
"""Seconds after which a run looks up no more; the next one goes on there."""


class Scrubber(SlicedService):
    """Every ``wakeup_time`` seconds, scrubs what waits longer than ``scrub_time``, ``scrub_pool_size`` images at once.

    What a store refuses stays, and is tried again at the next run.
    """

    def __init__(self, reactor: IReactorTime, pending: PendingDeletes, scrubs: Scrubs, settings: ScrubSettings) -> None:
        super().__init__(reactor, max(1.0, settings.wakeup_time))
        self._pending, self._scrubs, self._settings = pending, scrubs, settings
        self._after = ""  # the image that was tried last
        self.scrubbed = self.refused = 0

    async def run_once(self) -> int:
        """Try once what is due, for a limited time; returns how many images are gone.

        *more* tells whether the time was too short for all of it.
        """
        latest, gone = self._reactor.seconds() + BUDGET, 0
        if not self._after:
            done = await self.guarded(self._scrubs.go_on())
            gone = sum(done)
            self.scrubbed, self.refused = self.scrubbed + gone, self.refused + len(done) - gone
        while batch := await self._pending.due(self._settings.scrub_time, BATCH, self._after):
            if self._reactor.seconds() > latest:
                break
            gone += await self._scrub_all(batch)
            self._after = batch[-1].image_id
        self.more = bool(batch)
        if not self.more:
            self._after = ""
        return gone

    async def _scrub_all(self, batch: list[Doomed]) -> int:
        at_once = DeferredSemaphore(self._settings.scrub_pool_size)
        works = [at_once.run(self._scrub_one, doomed) for doomed in batch]
        try:
            return sum(await gatherResults(works, consumeErrors=True))
        except FirstError as first:
            first.subFailure.raiseException()

    def status(self) -> dict[str, Any]:
        return super().status() | {"scrubbed": self.scrubbed, "refused": self.refused}

    async def _scrub_one(self, doomed: Doomed) -> bool:
        return await self.guarded(self._scrub(doomed))

    async def _scrub(self, doomed: Doomed) -> bool:
        try:
            done = await self._scrubs.scrub(doomed)
        except CancelledError:
            raise
        except Exception:
            self._log.failure("image {image}: scrubbing failed, to be tried again", image=doomed.image_id)
            done = False
        if done:
            self.scrubbed += 1
        else:
            self.refused += 1
        return done
