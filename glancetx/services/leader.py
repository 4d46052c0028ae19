"""What one process does for all: services that run only where a lease is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import IService
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from glancetx.domain.errors import CoordinationUnavailable, DatabaseUnavailable
from glancetx.interfaces import ILeases
from glancetx.services.periodic import PeriodicService, always

CHECKS: Final = 3.6
"""How often in the length of a lease it is asked for."""
CERTAIN: Final = 5 / 6
"""Of the time that a lease is ours for: clocks of hosts may differ by the rest."""


class Leadership(PeriodicService):
    """Asks for the leases of all works of this process, with one question, and runs those whose lease it holds.

    When a holder dies, another process takes over within a lease and a third; if it died on the same host, within a
    third. A process that cannot ask, or has slept, stops its works before another one may begin; a run does nothing
    more then (`PeriodicService.permitted`).
    """

    def __init__(self, reactor: IReactorTime, leases: ILeases, lease: float) -> None:
        super().__init__(reactor, lease / CHECKS)
        self._leases = leases
        self._works: dict[str, Leader] = {}
        self._until = 0.0
        self._doubt: IDelayedCall | None = None

    def lead(self, name: str, work: IService) -> None:
        """From now on, run *work* whenever this process holds the lease *name*."""
        self._works[name] = Leader(name, work, self.is_certain)
        self.wake()

    def is_certain(self) -> bool:
        """Whether what is held is held for sure."""
        return self._reactor.seconds() < self._until

    async def run_once(self) -> frozenset[str]:
        """Ask once, and start and stop the works accordingly; returns what this process holds."""
        if not self._works:
            return frozenset()
        asked = self._reactor.seconds()
        held = await self._leases.hold(self._works)
        self._trust(asked + held.seconds * CERTAIN)
        for name, work in self._works.items():
            work.settle(wanted=name in held.names and self.is_certain())
        return held.names

    def statuses(self) -> dict[str, dict[str, Any]]:
        """What each work has to tell, by its name, and whether it runs here."""
        return {name: work.status() for name, work in self._works.items()}

    def _trust(self, until: float) -> None:
        self._until = until
        if self._doubt is not None and self._doubt.active():
            self._doubt.cancel()
        self._doubt = self._reactor.callLater(max(0.0, until - self._reactor.seconds()), self._pause)

    def _pause(self) -> None:
        leading = [name for name, work in self._works.items() if work.leads]
        if leading:
            self._log.warn("who is to do this is not known any more, so it pauses: {works}", works=", ".join(leading))
        for work in self._works.values():
            work.settle(wanted=False)

    async def _cancel_run(self) -> None:
        await super()._cancel_run()
        if self._doubt is not None and self._doubt.active():
            self._doubt.cancel()
        await DeferredList([work.settle(wanted=False) for work in self._works.values()])
        if not self._until:
            return
        try:
            await self._leases.release(self._works)
        except (CoordinationUnavailable, DatabaseUnavailable) as error:
            self._log.warn("leases could not be given back, so they have to run out: {error}", error=error)


class Leader:
    """One work that runs when it is wanted: never twice at the same time, however slowly it stops."""

    def __init__(self, name: str, work: IService, certain: Callable[[], bool]) -> None:
        self._log = Logger()
        self._name, self._work, self._certain = name, work, certain
        self._wanted = self.leads = False
        self._changing: list[Deferred[None]] | None = None

    def status(self) -> dict[str, Any]:
        work = self._work.status() if isinstance(self._work, PeriodicService) else {}
        return {**work, "leads": self.leads}

    def settle(self, *, wanted: bool) -> Deferred[None]:
        """Have the work run, or not; fires when that is so."""
        self._wanted = wanted
        settled: Deferred[None] = Deferred()
        if self._changing is not None:
            self._changing.append(settled)
        else:
            self._changing = [settled]
            ensureDeferred(self._change())
        return settled

    async def _change(self) -> None:
        while self._wanted != self.leads:
            self.leads = self._wanted
            if self.leads:
                self._log.info("this process is the {name} now", name=self._name)
                self._permit(self._certain)
                self._work.startService()
            else:
                await maybeDeferred(self._work.stopService)
                self._permit(always)  # for whoever has it run once, by a command
        waiting, self._changing = self._changing or [], None
        for each in waiting:
            each.callback(None)

    def _permit(self, permitted: Callable[[], bool]) -> None:
        if isinstance(self._work, PeriodicService):
            self._work.permitted = permitted
