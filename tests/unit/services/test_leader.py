"""Work that runs where the lease is held, and nowhere else. The lease is in a real database; time is a Clock's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest_twisted
from attrs import define, evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from glancetx.db.claims import LEASE, Claims, this_process
from glancetx.db.engine import Engine
from glancetx.db.leases import Leases
from glancetx.services.leader import CERTAIN, CHECKS, Leadership
from glancetx.services.periodic import PeriodicService
from glancetx.testing.database import fresh_database
from glancetx.testing.fakes import until

START = datetime(2026, 1, 1)
CHECK = LEASE / CHECKS * 1.2  # seconds after which it has asked again, whatever the jitter
NAMES = ("auditor", "scrubber")


class Work(PeriodicService):
    """One long run at a time, in steps that the test takes; notes what happens."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, 3600.0)
        self.story: list[str] = []
        self.step: Deferred[None] = Deferred()
        self.clearing: Deferred[None] | None = None  # what an undoing waits for

    async def run_once(self) -> None:
        self.story.append("begin")
        try:
            while True:
                self.step = Deferred()
                await self.step
                self.story.append("step")
        except CancelledError:
            if self.clearing is not None:
                await self.clearing
            self.story.append("cancelled")
            raise


@define
class Rig:
    clock: Clock
    engine: Engine
    claims: Claims
    here: Any
    ours: Leases
    others: Leases
    works: dict[str, Work]
    leadership: Leadership

    async def asked(self) -> None:
        """Wait until it has asked for its leases once more."""
        from twisted.internet import reactor

        runs = self.leadership.status()["runs"]
        if self.leadership.running:
            self.clock.advance(CHECK)
        else:
            self.leadership.startService()
        await until(reactor, lambda: self.leadership.status()["runs"] > runs)

    def leads(self) -> set[str]:
        return {name for name, status in self.leadership.statuses().items() if status["leads"]}


@pytest_twisted.async_yield_fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    from twisted.internet import reactor

    real: Any = reactor
    async with fresh_database(real, tmp_path) as engine:
        clock = Clock()

        def now() -> datetime:
            return START + timedelta(seconds=clock.seconds())

        here, elsewhere = this_process(), evolve(this_process(), host="elsewhere", id="e" * 32)
        claims = Claims(engine, now=now)
        for process in (elsewhere, here):
            await Claims(engine, lease=1e6 if process is elsewhere else LEASE, now=now).register(process)
        await claims.register(here)
        ours = Leases(engine, here, now)
        works = {name: Work(clock) for name in NAMES}
        leadership = Leadership(clock, ours, LEASE)
        for name, work in works.items():
            leadership.lead(name, work)
        yield Rig(clock, engine, claims, here, ours, Leases(engine, elsewhere, now), works, leadership)
        if leadership.running:
            await leadership.stopService()


@pytest_twisted.ensureDeferred
async def test_runs_while_held(rig: Rig) -> None:
    """Each work starts with its lease, stops when that is lost, and starts again; the others go on."""
    await rig.asked()
    await rig.claims.renew(rig.here)
    await rig.asked()
    assert rig.leads() == set(NAMES)
    await rig.ours.release(["auditor"])  # as if we had been taken for dead
    assert (await rig.others.hold(["auditor"])).names == {"auditor"}
    await rig.claims.renew(rig.here)
    await rig.asked()
    assert rig.leads() == {"scrubber"}
    await rig.others.release(["auditor"])
    await rig.claims.renew(rig.here)
    await rig.asked()
    assert rig.works["auditor"].story == ["begin", "cancelled", "begin"]
    assert rig.works["scrubber"].story == ["begin"]


@pytest_twisted.ensureDeferred
async def test_waits_for_the_lease(rig: Rig) -> None:
    """Where another has it nothing runs."""
    await rig.others.hold(NAMES)
    for _ in range(2):
        await rig.asked()
        assert rig.leads() == set()
    assert [work.story for work in rig.works.values()] == [[], []]


@pytest_twisted.ensureDeferred
async def test_stops_when_in_doubt(rig: Rig) -> None:
    """A holder that cannot ask for long stops working, before others take it for dead; not at the first failure."""
    await rig.asked()
    await rig.engine.stop()
    await rig.asked()
    assert "closed" in rig.leadership.status()["last_error"]
    assert rig.leads() == set(NAMES)
    rig.clock.advance(LEASE * CERTAIN - rig.clock.seconds())
    assert rig.leads() == set()
    assert rig.works["auditor"].story == ["begin", "cancelled"]


@pytest_twisted.ensureDeferred
async def test_a_run_that_slept_takes_no_step(rig: Rig) -> None:
    """What a stopped process was waiting for comes before it notices the time: the run is cancelled all the same."""
    await rig.asked()
    work = rig.works["auditor"]
    work.step.callback(None)
    assert work.story == ["begin", "step"]
    rig.clock.rightNow += LEASE  # no timer is called in a process that sleeps
    work.step.callback(None)
    assert work.story == ["begin", "step", "cancelled"]


@pytest_twisted.ensureDeferred
async def test_no_run_begins_after_a_sleep(rig: Rig) -> None:
    """Nor does another run begin before the lease was asked for again; then it does."""
    await rig.asked()
    work = rig.works["auditor"]
    rig.clock.rightNow += LEASE
    work.step.callback(None)
    work.wake()
    assert work.story == ["begin", "cancelled"]
    await rig.claims.renew(rig.here)
    await rig.asked()
    assert work.story == ["begin", "cancelled", "begin"]


@pytest_twisted.ensureDeferred
async def test_starts_again_only_when_it_has_stopped(rig: Rig) -> None:
    """A work that takes long to stop is not started beside itself, and does not hold up the others."""
    await rig.asked()
    work = rig.works["auditor"]
    work.clearing = Deferred()
    await rig.ours.release(NAMES)
    assert (await rig.others.hold(NAMES)).names == set(NAMES)
    await rig.asked()
    assert rig.leads() == set()
    await rig.others.release(NAMES)
    await rig.claims.renew(rig.here)
    await rig.asked()
    assert rig.works["scrubber"].story == ["begin", "cancelled", "begin"]
    assert work.story == ["begin"]
    work.clearing.callback(None)
    assert work.story == ["begin", "cancelled", "begin"]
    assert rig.leads() == set(NAMES)


@pytest_twisted.ensureDeferred
async def test_gives_the_leases_back(rig: Rig) -> None:
    """At the end the works are stopped, and others may begin at once; who runs one by hand may do so, too."""
    await rig.asked()
    await rig.leadership.stopService()
    assert [work.story for work in rig.works.values()] == [["begin", "cancelled"]] * 2
    assert (await rig.others.hold(NAMES)).names == set(NAMES)
    assert rig.works["auditor"].permitted()
