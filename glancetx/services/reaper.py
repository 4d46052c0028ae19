"""The reaper: finds claims whose process is dead and has them put right."""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorTime

from glancetx.db.claims import Claims
from glancetx.db.images import Images
from glancetx.services.periodic import PeriodicService
from glancetx.transfer.recovery import Recovery

HOUR: Final = 3600.0


class Reaper(PeriodicService):
    """Sweeps at the start, and then every *interval* seconds.

    Several processes may sweep at once: who puts a claim right has adopted it before. Once an hour, images are queued
    again that have been filled by nobody for *stuck_after* seconds: a Glance that died has left them so.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        claims: Claims,
        recovery: Recovery,
        images: Images,
        stuck_after: float,
        interval: float = 6.0,
    ) -> None:
        super().__init__(reactor, interval)
        self._claims = claims
        self._recovery = recovery
        self._images, self._stuck_after = images, stuck_after
        self._looked_at: float | None = None

    async def run_once(self) -> int:
        """One sweep; returns how many claims and images were put right."""
        settled = await self._recovery.settle_all(await self._claims.orphans())
        return settled + await self._release_stuck()

    async def _release_stuck(self) -> int:
        now = self._reactor.seconds()
        if not self._stuck_after or (self._looked_at is not None and now - self._looked_at < HOUR):
            return 0
        self._looked_at = now
        released = await self._images.release_stuck(self._stuck_after)
        for image_id in released:
            self._log.warn("image {image}: nobody fills it any more, so it is queued again", image=image_id)
        return len(released)
