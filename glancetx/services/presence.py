"""This process, as the others see it: a row in the database which it renews while it lives."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from glancetx.db.claims import Claims, Process
from glancetx.services.periodic import PeriodicService


class Presence(PeriodicService):
    """Renews the process's lease, so that nobody takes over its claims while it lives."""

    def __init__(self, reactor: IReactorTime, claims: Claims, process: Process, interval: float = 4.0) -> None:
        super().__init__(reactor, interval)
        self._claims = claims
        self._process = process

    async def run_once(self) -> None:
        await self._claims.renew(self._process)

    async def retire(self) -> None:
        """Say goodbye; what this process still claims may be taken over at once."""
        await self._claims.retire(self._process)
