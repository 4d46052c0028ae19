"""Who holds a lease, and who inherits it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.task import Clock

from glancetx.db.claims import LEASE, Claims, Process, this_process
from glancetx.db.engine import Engine
from glancetx.db.leases import Leases

START = datetime(2026, 1, 1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def here(engine: Engine, process: Process, clock: Clock) -> Leases:
    return Leases(engine, process, now=lambda: START + timedelta(seconds=clock.seconds()))


@pytest.fixture
def stranger() -> Process:
    """A process of another host, which lives as long as it says so."""
    return evolve(this_process(), host="elsewhere")


@pytest.fixture
def there(engine: Engine, stranger: Process, clock: Clock) -> Leases:
    return Leases(engine, stranger, now=lambda: START + timedelta(seconds=clock.seconds()))


@pytest.fixture
def claims(engine: Engine, clock: Clock) -> Claims:
    return Claims(engine, now=lambda: START + timedelta(seconds=clock.seconds()))


@pytest_twisted.ensureDeferred
async def test_one_holds_it(here: Leases, there: Leases, claims: Claims, process: Process, stranger: Process) -> None:
    """Who comes first has it, each time it asks; another lease is another matter."""
    for each in (process, stranger):
        await claims.register(each)
    assert await here.hold("auditor")
    assert not await there.hold("auditor")
    assert await here.hold("auditor")
    assert await there.hold("scrubber")


@pytest_twisted.ensureDeferred
async def test_given_back(here: Leases, there: Leases, claims: Claims, process: Process) -> None:
    """Who gives it back leaves it to others; giving back what is another's changes nothing."""
    await claims.register(process)
    assert await here.hold("auditor")
    await there.release("auditor")
    assert not await there.hold("auditor")
    await here.release("auditor")
    assert await there.hold("auditor")


@pytest_twisted.ensureDeferred
async def test_inherited(
    here: Leases, there: Leases, claims: Claims, process: Process, stranger: Process, clock: Clock
) -> None:
    """The lease of a process that says no more that it lives is anybody's, after that time and not before."""
    await claims.register(stranger)
    assert await there.hold("auditor")
    clock.advance(LEASE - 1)
    assert not await here.hold("auditor")
    clock.advance(2)
    await claims.register(process)
    assert await here.hold("auditor")
    assert not await there.hold("auditor")


@pytest_twisted.ensureDeferred
async def test_inherited_at_once_on_the_same_host(here: Leases, engine: Engine, claims: Claims) -> None:
    """A process of this host that is gone needs no time to be dead."""
    gone = evolve(this_process(), id="0" * 32, pid=2**22 + 1)
    await claims.register(gone)
    assert await Leases(engine, gone, now=lambda: START).hold("auditor")
    assert await here.hold("auditor")
