"""The reaper: finds claims whose process is dead and has them put right."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from glancetx.db.claims import Claims
from glancetx.services.periodic import PeriodicService
from glancetx.transfer.recovery import Recovery


class Reaper(PeriodicService):
    """Sweeps at the start, and then every *interval* seconds.

    Several processes may sweep at once: putting a claim right is idempotent.
    """

    def __init__(self, reactor: IReactorTime, claims: Claims, recovery: Recovery, interval: float = 6.0) -> None:
        super().__init__(reactor, interval)
        self._claims = claims
        self._recovery = recovery

    async def run_once(self) -> int:
        """One sweep; returns how many claims were put right."""
        return await self._recovery.settle_all(await self._claims.orphans())
