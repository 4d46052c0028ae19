"""Which claims are orphans, and who decides that a process is dead."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from sqlalchemy import Connection, select, update
from twisted.internet.task import Clock

from glancetx.db.claims import CERTAIN, LEASE, NOBODY, Claims, Process, _abandon, start_time_of, this_process
from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.own_schema import claims as table
from glancetx.db.own_schema import processes
from glancetx.domain.claim import DELETE, DISCARD, IMPORT, UPLOAD, Claim
from glancetx.domain.errors import Conflict
from glancetx.domain.image import Image
from glancetx.domain.limits import UNLIMITED

Rows = Callable[..., Awaitable[list[Any]]]
NewImage = Callable[..., Image]
Count = Callable[..., Awaitable[int]]
START = datetime(2026, 1, 1)


def claim_of(process: Process, kind: str = UPLOAD, number: int = 0) -> Claim:
    return Claim(id=f"{number:032x}", kind=kind, image_id="image", store="file", process=process.id)


def elsewhere(**fields: Any) -> Process:
    """A process of another host, whose pid nobody here can look up."""
    return evolve(this_process(), host="elsewhere", **fields)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_twisted.async_yield_fixture
async def claims(engine: Engine, process: Process, clock: Clock) -> AsyncIterator[Claims]:
    """Claims that live in the clock's time."""
    made = Claims(engine, now=lambda: START + timedelta(seconds=clock.seconds()))
    await made.register(process)
    yield made


async def another(engine: Engine) -> Claims:
    """Those of a second process, of another host."""
    made = Claims(engine, now=lambda: START)
    await made.register(elsewhere())
    return made


@pytest.fixture
def departed() -> Process:
    """A process of this host that has ended."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start_time = start_time_of(child.pid)
    child.communicate(b"\n")
    assert start_time is not None
    return evolve(this_process(), pid=child.pid, start_time=start_time)


async def pass_time(claims: Claims, process: Process, clock: Clock) -> None:
    """Let a little more than a lease end; *process* renews its own in between."""
    clock.advance(LEASE / 2)
    await claims.renew(process)
    clock.advance(LEASE / 2 + 1)


@pytest_twisted.ensureDeferred
async def test_own_claims(claims: Claims, process: Process, clock: Clock) -> None:
    """Those of our own claims that we work on are no orphans, even if we could not renew our lease."""
    claim = claim_of(process)
    with claims.working_on(claim):
        await claims.take(claim)
        with claims.working_on(claim):
            clock.advance(LEASE * 10)
        assert await claims.orphans() == []


@pytest_twisted.ensureDeferred
async def test_own_claim_of_no_work(claims: Claims, process: Process) -> None:
    """A claim of ours that we do not work on, any more or at all, is an orphan, and nobody's from then on."""
    lost, current = claim_of(process), claim_of(process, number=1)
    with claims.working_on(current):
        for claim in (lost, current):
            await claims.take(claim)
        assert await claims.orphans() == [evolve(lost, process=NOBODY)]
    assert len(await claims.orphans()) == 2


@pytest_twisted.ensureDeferred
async def test_living_elsewhere(claims: Claims, clock: Clock) -> None:
    """Within its lease a process elsewhere lives."""
    other = elsewhere()
    await claims.renew(other)
    await claims.take(claim_of(other))
    clock.advance(LEASE)
    assert await claims.orphans() == []


@pytest_twisted.ensureDeferred
async def test_lease_ended(claims: Claims, process: Process, clock: Clock) -> None:
    """A process elsewhere whose lease has ended is dead."""
    other = elsewhere()
    await claims.renew(other)
    await claims.take(claim_of(other, DELETE))
    await pass_time(claims, process, clock)
    assert await claims.orphans() == [evolve(claim_of(other, DELETE), process=NOBODY)]


@pytest_twisted.ensureDeferred
async def test_database_was_away(claims: Claims, process: Process, clock: Clock) -> None:
    """Nobody is dead for a lease that has ended while nobody could renew it; but those who do not come back are."""
    other = elsewhere()
    await claims.renew(other)
    await claims.take(claim_of(other))
    clock.advance(LEASE * 2)
    assert await claims.orphans() == []
    await claims.renew(process)
    clock.advance(LEASE - 1)
    assert await claims.orphans() == []
    await claims.renew(process)
    clock.advance(1)
    assert len(await claims.orphans()) == 1


@pytest_twisted.ensureDeferred
async def test_lease_renewed(claims: Claims, clock: Clock) -> None:
    """Renewing a lease makes it last from then on."""
    other = elsewhere()
    await claims.renew(other)
    await claims.take(claim_of(other))
    clock.advance(LEASE)
    await claims.renew(other)
    clock.advance(LEASE)
    assert await claims.orphans() == []


@pytest_twisted.ensureDeferred
async def test_departed(claims: Claims, departed: Process) -> None:
    """A process of this host that has ended is dead at once."""
    await claims.renew(departed)
    await claims.take(claim_of(departed))
    assert len(await claims.orphans()) == 1


@pytest_twisted.ensureDeferred
async def test_pid_reused(claims: Claims) -> None:
    """A process whose pid belongs to a later one is dead at once."""
    former = evolve(this_process(), start_time=1)
    await claims.renew(former)
    await claims.take(claim_of(former))
    assert len(await claims.orphans()) == 1


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("fact", ["host", "boot_id", "pid_namespace"])
async def test_pid_of_other_place(claims: Claims, departed: Process, fact: str) -> None:
    """A pid says nothing about a process of another host, boot or container."""
    changed: dict[str, Any] = {fact: "other"}
    other = evolve(departed, **changed)
    await claims.renew(other)
    await claims.take(claim_of(other))
    assert await claims.orphans() == []


@pytest_twisted.ensureDeferred
async def test_second_service(claims: Claims) -> None:
    """Another service in this very process lives by its lease."""
    second = this_process()
    await claims.renew(second)
    await claims.take(claim_of(second))
    assert await claims.orphans() == []


@pytest_twisted.ensureDeferred
async def test_retired(claims: Claims) -> None:
    """What a process leaves when it retires is an orphan at once."""
    other = elsewhere()
    await claims.renew(other)
    await claims.take(claim_of(other))
    await claims.retire(other)
    assert len(await claims.orphans()) == 1


@pytest_twisted.ensureDeferred
async def test_left_to_the_import(claims: Claims, process: Process) -> None:
    """What attempts have left is discarded by an import that goes on; only when there is none, by whoever looks."""
    going, left = claim_of(process, IMPORT), evolve(claim_of(process, DISCARD, 1), process=NOBODY)
    with claims.working_on(going):
        for claim in (going, left):
            await claims.take(claim)
        assert await claims.orphans() == []
        await claims.release(going)
    assert await claims.orphans() == [left]


@pytest_twisted.ensureDeferred
async def test_adopted_by_one(claims: Claims, process: Process, engine: Engine) -> None:
    """Of two who have seen an orphan one gets it; as long as he works on it, it is an orphan for nobody."""
    second = await another(engine)
    await claims.take(claim_of(elsewhere()))
    (orphan,), (seen,) = await claims.orphans(), await second.orphans()
    with claims.working_on(orphan):
        assert await claims.adopt(orphan) == evolve(orphan, process=process.id)
        assert await second.adopt(seen) is None
        assert await claims.orphans() == await second.orphans() == []


@pytest_twisted.ensureDeferred
async def test_adopted_by_the_next(claims: Claims, process: Process, engine: Engine) -> None:
    """An adopted claim is an orphan again, for all others, when its process is dead; and for itself, when it failed."""
    second, other = await another(engine), elsewhere()
    third = Claims(engine, now=lambda: START)
    await third.register(other)
    await claims.take(claim_of(elsewhere()))
    (orphan,) = await claims.orphans()
    with third.working_on(orphan):
        first = await third.adopt(orphan)
        assert first is not None
        await claims.retire(other)
        assert await second.orphans() == [orphan]
    with second.working_on(orphan):
        assert await second.adopt(orphan) is not None
        await third.release(first)
        assert not await third.adopt(first)
    assert await claims.orphans() == []
    assert await second.orphans() == [orphan]


@pytest_twisted.ensureDeferred
async def test_adopted_meanwhile(claims: Claims, engine: Engine) -> None:
    """What somebody adopts while another one looks for orphans is not taken away from him."""
    await claims.take(claim_of(elsewhere()))

    def late(connection: Connection) -> list[str]:
        seen = connection.execute(select(table.c.id, table.c.process)).all()
        connection.execute(update(table).values(process="adopter"))
        _abandon(connection, seen)
        return list(connection.execute(select(table.c.process)).scalars())

    assert await engine.interact(late) == ["adopter"]


@pytest_twisted.ensureDeferred
async def test_kept_by_its_owner(claims: Claims, process: Process) -> None:
    """Who is to undo what he did himself finds out whether it still is his; nobody can take it from him meanwhile."""
    claim = claim_of(process)
    with claims.working_on(claim):
        assert await claims.adopt(claim) is None
        await claims.take(claim)
        assert await claims.adopt(claim) == claim
        assert await claims.orphans() == []


@pytest_twisted.ensureDeferred
async def test_discarding_and_filling(claims: Claims, images: Images, new_image: NewImage, process: Process) -> None:
    """Data of an earlier attempt is not removed while the image is filled, nor is the image filled while that is."""
    image = await images.create(new_image(disk_format="raw", container_format="bare"))
    left = evolve(claim_of(process, DISCARD), image_id=image.id, process=NOBODY)
    filling = evolve(claim_of(process, number=1), image_id=image.id)
    await claims.leave([left])
    with claims.working_on(filling):
        await images.begin(image.to("saving"), "queued", filling, UNLIMITED, 1)
        assert await claims.adopt(left) is None
        assert await claims.orphans() == []
        await images.requeue(filling)
    with claims.working_on(left):
        adopted = await claims.adopt(left)
        assert adopted is not None
        with pytest.raises(Conflict):
            await images.begin(image.to("saving"), "queued", filling, UNLIMITED, 1)
        await claims.release(adopted)
    await images.begin(image.to("saving"), "queued", filling, UNLIMITED, 1)


@pytest_twisted.ensureDeferred
async def test_left_twice(claims: Claims, process: Process) -> None:
    """What is left of an attempt is noted once, and not taken from who has adopted it."""
    left = evolve(claim_of(process, DISCARD), process=NOBODY)
    await claims.leave([left])
    with claims.working_on(left):
        assert await claims.adopt(left)
        await claims.leave([left])
        assert await claims.orphans() == []


@pytest_twisted.ensureDeferred
async def test_certainty(claims: Claims, process: Process, clock: Clock) -> None:
    """Who could not renew his lease in time is not certain of what he has adopted, not even when he has renewed it."""
    before = claims.certainty()
    clock.advance(LEASE * CERTAIN)
    assert before()
    clock.advance(1)
    assert not before()
    await claims.renew(process)
    assert not before()
    assert claims.certainty()()


@pytest_twisted.ensureDeferred
async def test_release(claims: Claims, process: Process) -> None:
    """A released claim is gone; releasing it again does no harm."""
    claim = claim_of(process)
    await claims.take(claim)
    for _ in range(2):
        await claims.release(claim)
    assert await claims.existing([claim.id]) == set()


@pytest_twisted.ensureDeferred
async def test_orphans_stay(claims: Claims) -> None:
    """An orphan is one until it is settled, whoever looks, and however often."""
    await claims.take(claim_of(elsewhere()))
    assert len(await claims.orphans()) == len(await claims.orphans()) == 1


@pytest_twisted.ensureDeferred
async def test_dead_are_forgotten(claims: Claims, departed: Process, process: Process, rows: Rows) -> None:
    """Only the living have a row after a look."""
    await claims.renew(departed)
    await claims.orphans()
    assert await rows("SELECT id FROM glancetx_processes") == [(process.id,)]


@pytest_twisted.ensureDeferred
async def test_renew_forgotten(claims: Claims, count: Count, clock: Clock) -> None:
    """A process that was taken for dead is back when it renews its lease."""
    other = elsewhere()
    await claims.renew(other)
    clock.advance(LEASE + 1)
    await claims.orphans()
    await claims.renew(other)
    assert await count(processes) == 2


@pytest_twisted.ensureDeferred
async def test_many(claims: Claims) -> None:
    """Orphans of several processes come in one list, each once."""
    for number in range(5):
        await claims.take(claim_of(elsewhere(), number=number))
    assert [claim.id for claim in await claims.orphans()] == [f"{number:032x}" for number in range(5)]


def test_start_time() -> None:
    """A process that lives has a start time, and always the same."""
    assert start_time_of(os.getpid()) == start_time_of(os.getpid()) == this_process().start_time
    assert this_process().start_time > 0


def test_zombie() -> None:
    """A process that has ended and was not yet waited for is gone."""
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_time_of(child.pid) is None
    child.communicate()
