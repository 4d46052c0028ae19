"""A walk through a store takes its time: a run ends when its time is over, and the next one goes on."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from glancetx.config.settings import StraySettings
from glancetx.db.claims import Claims
from glancetx.db.engine import Engine
from glancetx.db.strays import Strays
from glancetx.db.walks import Walks
from glancetx.services.surveyor import BUDGET, Surveyor
from glancetx.stores.registry import Stores
from glancetx.streams import BytesSource
from glancetx.testing.database import fresh_database
from glancetx.testing.fakes import MemoryStore, until
from glancetx.testing.stores import the_reactor
from glancetx.transfer.strays import Ownership, StrayRemoval

COUNT = 100
PAGE = 10
RATE = 2  # so that a page takes five seconds


@pytest_twisted.async_yield_fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with fresh_database(the_reactor(), tmp_path) as started:  # type: ignore[arg-type]
        yield started


def surveyor_of(engine: Engine, clock: Clock, store: MemoryStore, **changes: Any) -> Surveyor:
    """As another process would have it."""
    settings = StraySettings(**{"stray_rate": RATE, "stray_grace": 0, "stray_period": 3600, **changes})
    strays = Strays(engine)
    ownership = Ownership(strays, settings.stray_grace)
    removal = StrayRemoval(strays, Claims(engine), ownership, Stores({"memory": store}, "memory"), "p" * 32)
    return Surveyor(clock, Walks(engine), strays, ownership, removal, {"memory": store}, settings)


async def finished(clock: Clock, work: Any) -> int:
    """Let *work* come to its end, second by second."""
    running: Deferred[int] = Deferred.fromCoroutine(work)
    while not running.called:
        await until(the_reactor(), lambda: bool(running.called or clock.getDelayedCalls()))
        clock.advance(1)
    return await running


@pytest_twisted.ensureDeferred
async def test_a_run_ends_in_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the rate that is set a run looks at what it has time for; others go on, and see everything once."""
    monkeypatch.setattr("glancetx.services.surveyor.PAGE", PAGE)
    clock, store = Clock(), MemoryStore()
    for _ in range(COUNT):
        await store.add(str(uuid.uuid4()), BytesSource(b"data"), uuid.uuid4().hex)
    seen = list[int]()
    while sum(seen) < COUNT:
        began = clock.seconds()
        seen.append(await finished(clock, surveyor_of(engine, clock, store).run_once()))
        assert clock.seconds() - began <= BUDGET + PAGE / RATE + 1
    assert seen[0] == BUDGET * RATE
    assert sum(seen) == COUNT
    assert len(await Strays(engine).listed()) == COUNT
    assert await finished(clock, surveyor_of(engine, clock, store).run_once()) == 0


@pytest_twisted.ensureDeferred
async def test_cancelled_anywhere(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is cancelled has lost nothing of what it has seen, and the walk is not begun anew."""
    monkeypatch.setattr("glancetx.services.surveyor.PAGE", PAGE)
    clock, store = Clock(), MemoryStore()
    for _ in range(COUNT):
        await store.add(str(uuid.uuid4()), BytesSource(b"data"), uuid.uuid4().hex)
    running: Deferred[int] = Deferred.fromCoroutine(surveyor_of(engine, clock, store).run_once())
    await until(the_reactor(), lambda: bool(clock.getDelayedCalls()))
    running.addErrback(lambda _: 0).cancel()
    assert await running == 0
    assert len(await Strays(engine).listed()) == PAGE
    assert await finished(clock, surveyor_of(engine, clock, store).run_all()) == COUNT - PAGE
    assert len(await Strays(engine).listed()) == COUNT
