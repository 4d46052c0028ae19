"""Work that runs where the lease is held, and nowhere else. The lease is in a real database; time is a Clock's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_twisted
from attrs import evolve, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from glancetx.db.claims import Claims, this_process
from glancetx.db.engine import Engine
from glancetx.db.leases import Leases
from glancetx.services.leader import CHECK_EVERY, DOUBT_AFTER, Leader
from glancetx.testing.database import fresh_database
from glancetx.testing.fakes import until


class Work(Service):
    """Notes each start and stop."""

    def __init__(self) -> None:
        self.story: list[str] = []

    def startService(self) -> None:
        super().startService()
        self.story.append("start")

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        self.story.append("stop")
        return None


@frozen
class Rig:
    clock: Clock
    engine: Engine
    ours: Leases
    others: Leases
    work: Work
    leader: Leader

    async def check(self) -> bool:
        """Have the leader ask for its lease once; whether it leads then."""
        from twisted.internet import reactor

        runs = self.leader.status()["runs"]
        if self.leader.running:
            self.clock.advance(CHECK_EVERY * 1.2)
        else:
            self.leader.startService()
        await until(reactor, lambda: self.leader.status()["runs"] > runs)
        return bool(self.leader.status()["leads"])


@pytest_twisted.async_yield_fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    from twisted.internet import reactor

    real: Any = reactor
    async with fresh_database(real, tmp_path) as engine:
        here, elsewhere = this_process(), evolve(this_process(), host="elsewhere", id="e" * 32)
        claims = Claims(engine)
        await claims.register(elsewhere)
        await claims.register(here)
        clock, work, ours = Clock(), Work(), Leases(engine, here)
        leader = Leader(clock, ours, "auditor", work)
        yield Rig(clock, engine, ours, Leases(engine, elsewhere), work, leader)
        if leader.running and "closed" not in str(leader.status()["last_error"]):
            await leader.stopService()


@pytest_twisted.ensureDeferred
async def test_runs_while_held(rig: Rig) -> None:
    """It starts with the lease, stops when that is lost, and starts again."""
    assert await rig.check()
    assert await rig.check()
    assert rig.work.story == ["start"]
    await rig.ours.release("auditor")  # as if we had been taken for dead
    assert await rig.others.hold("auditor")
    assert not await rig.check()
    assert rig.work.story == ["start", "stop"]
    await rig.others.release("auditor")
    assert await rig.check()
    assert rig.work.story == ["start", "stop", "start"]


@pytest_twisted.ensureDeferred
async def test_waits_for_the_lease(rig: Rig) -> None:
    """Where another has it nothing runs."""
    assert await rig.others.hold("auditor")
    assert not await rig.check()
    assert not await rig.check()
    assert rig.work.story == []


@pytest_twisted.ensureDeferred
async def test_stops_when_in_doubt(rig: Rig) -> None:
    """A holder that cannot ask for long stops working, before others take it for dead; not at the first failure."""
    assert await rig.check()
    await rig.engine.stop()
    assert await rig.check()
    assert "closed" in rig.leader.status()["last_error"]
    for _ in range(round(DOUBT_AFTER / CHECK_EVERY)):
        await rig.check()
    assert rig.work.story == ["start", "stop"]


@pytest_twisted.ensureDeferred
async def test_gives_the_lease_back(rig: Rig) -> None:
    """At the end the work is stopped, and another may begin at once."""
    assert await rig.check()
    await rig.leader.stopService()
    assert rig.work.story == ["start", "stop"]
    assert await rig.others.hold("auditor")
