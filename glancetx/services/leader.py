"""What one process does for all: a service that runs only where a lease is held."""

from __future__ import annotations

from typing import Any, Final

from twisted.application.service import IService
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime

from glancetx.db.claims import LEASE
from glancetx.db.leases import Leases
from glancetx.services.periodic import PeriodicService

CHECK_EVERY: Final = 5.0
DOUBT_AFTER: Final = LEASE * 2 / 3
"""Seconds after which a holder that cannot ask stops working: others may take it for dead soon."""


class Leader(PeriodicService):
    """Runs *work* while this process holds the lease *name*, and tries to get it while another one does.

    When the holder dies, another process takes over within a lease and an interval; if it died on the same host,
    within an interval.
    """

    def __init__(
        self, reactor: IReactorTime, leases: Leases, name: str, work: IService, interval: float = CHECK_EVERY
    ) -> None:
        super().__init__(reactor, interval)
        self.work = work
        self._leases = leases
        self._name = name
        self._held_at: float | None = None

    @property
    def name_of_work(self) -> str:
        return self._name

    async def run_once(self) -> bool:
        """Ask for the lease once, and start or stop the work accordingly; tells whether it is ours."""
        try:
            held = await self._leases.hold(self._name)
        except Exception:
            if self._held_at is not None and self._reactor.seconds() - self._held_at >= DOUBT_AFTER:
                await self._step_down()
            raise
        if not held:
            await self._step_down()
            return False
        if self._held_at is None:
            self._log.info("this process is the {name} now", name=self._name)
            self.work.startService()
        self._held_at = self._reactor.seconds()
        return True

    def status(self) -> dict[str, Any]:
        leads = self._held_at is not None
        work = self.work.status() if leads and isinstance(self.work, PeriodicService) else {}
        return {**super().status(), **work, "leads": leads}

    async def _step_down(self) -> None:
        if self._held_at is not None:
            self._held_at = None
            await maybeDeferred(self.work.stopService)

    async def _cancel_run(self) -> None:
        await super()._cancel_run()
        if self._held_at is not None:
            await self._step_down()
            await self._leases.release(self._name)
