"""Who holds a lease, and who inherits it, by the database."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from sqlalchemy import Connection, event
from twisted.internet.task import Clock

from glancetx.db.claims import LEASE, Claims, Process, this_process
from glancetx.db.engine import Engine
from glancetx.db.leases import Leases
from tests.leasing import *  # noqa: F403
from tests.leasing import NAMES, Parties

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


@pytest_twisted.async_yield_fixture
async def parties(
    here: Leases, there: Leases, claims: Claims, process: Process, stranger: Process, clock: Clock
) -> Any:
    for each in (stranger, process):
        await claims.register(each)

    async def run_out() -> None:
        for seconds in (LEASE / 2, LEASE / 2 + 1):
            clock.advance(seconds)
            await claims.renew(process)

    yield Parties(here, there, run_out)


@pytest_twisted.ensureDeferred
async def test_inherited(parties: Parties, claims: Claims, process: Process, clock: Clock) -> None:
    """It is so after the time it said, and not before; and that time is what it was told."""
    assert (await parties.there.hold(["auditor"])).seconds == LEASE
    clock.advance(LEASE - 1)
    await claims.renew(process)
    assert (await parties.here.hold(["auditor"])).names == set()
    assert (await parties.there.hold(["auditor"])).seconds == 1
    clock.advance(2)
    assert (await parties.there.hold(["auditor"])).names == set()  # nobody has taken it, but somebody may
    assert (await parties.here.hold(["auditor"])).names == {"auditor"}


@pytest_twisted.ensureDeferred
async def test_inherited_at_once_on_the_same_host(
    parties: Parties, engine: Engine, claims: Claims, clock: Clock
) -> None:
    """A process of this host that is gone needs no time to be dead."""
    gone = evolve(this_process(), id="0" * 32, pid=2**22 + 1)
    await claims.register(gone)
    assert (await Leases(engine, gone, now=lambda: START).hold(["auditor"])).names == {"auditor"}
    assert (await parties.here.hold(["auditor"])).names == {"auditor"}


@pytest_twisted.ensureDeferred
async def test_unknown_process(here: Leases) -> None:
    """Who has not said that it lives gets nothing: others would take it away at once."""
    assert (await here.hold(NAMES)).names == set()


@pytest_twisted.ensureDeferred
async def test_forgotten(parties: Parties, claims: Claims, stranger: Process) -> None:
    """Of a process that was forgotten, as the reaper does, and wakes up, nothing is left: it has to ask again."""
    await parties.there.hold(NAMES)
    await parties.run_out()
    await claims.orphans()
    await claims.renew(stranger)
    assert (await parties.here.hold(["auditor"])).names == {"auditor"}
    assert (await parties.there.hold(NAMES)).names == {"replicator", "scrubber"}


@pytest_twisted.ensureDeferred
async def test_late_and_not_dead(parties: Parties, engine: Engine, stranger: Process, claims: Claims) -> None:
    """A process that says that it lives just before its lease is taken keeps it."""
    await parties.there.hold(NAMES)
    await parties.run_out()
    look = parties.here.look(NAMES)

    def take_late(connection: Connection) -> Any:
        rows = {row["name"]: row for row in look.rows(connection)}
        assert all(look.is_free(row) for row in rows.values())
        return rows

    rows = await engine.read(take_late)
    await claims.renew(stranger)
    assert not any([await engine.interact(look.inherit, name, rows[name]) for name in NAMES])
    assert (await parties.there.hold(NAMES)).names == set(NAMES)


@pytest_twisted.ensureDeferred
async def test_one_statement(parties: Parties, engine: Engine) -> None:
    """Holding all of them again, and seeing that another has them, is one statement each."""
    await parties.here.hold(NAMES)
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    pool = engine._readers.pool.engine
    event.listen(pool, "before_cursor_execute", note)
    try:
        assert (await parties.here.hold(NAMES)).names == set(NAMES)
        assert (await parties.there.hold(NAMES)).names == set()
    finally:
        event.remove(pool, "before_cursor_execute", note)
    assert len(statements) == 2
    assert all(statement.startswith("SELECT") for statement in statements)
