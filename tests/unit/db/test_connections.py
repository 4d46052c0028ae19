"""Connections that grow old, die unnoticed, or cannot be opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import define, evolve
from sqlalchemy import Connection, Engine, event, text
from twisted.internet.task import Clock

from glancetx.config.settings import DatabaseSettings
from glancetx.db.connections import HOLD_OFF, PING_AFTER, Call, ConnectionThreads, Undone
from glancetx.db.dialects import Fault, Pool, make_pools
from glancetx.domain.errors import DatabaseUnavailable, Invalid, OutcomeUnknown

RECYCLE = 60.0


@define
class Line:
    """Connections as one thread has them: this one. *fault* is what every error of the driver means."""

    pool: Pool
    clock: Clock
    threads: ConnectionThreads

    def run(self, work: Callable[[Connection], object]) -> object:
        return self.threads.perform(Call(work))

    def connection(self) -> int:
        """Which connection is used."""
        return int(str(self.run(lambda connection: id(connection.connection.dbapi_connection))))


def line_to(settings: DatabaseSettings, fault: Fault) -> Line:
    clock = Clock()
    pool = evolve(make_pools(settings).writers, classify=lambda error: fault, recycle=RECYCLE)
    return Line(pool, clock, ConnectionThreads(clock, "test", pool, now=clock.seconds))


@pytest.fixture
def line(settings: DatabaseSettings) -> Line:
    return line_to(settings, Fault.LOST)


def close(connection: Connection) -> None:
    """Close the driver's connection, which nobody else notices."""
    raw = connection.connection.dbapi_connection
    assert raw is not None
    raw.close()


def count_connects(engine: Engine) -> list[object]:
    seen: list[object] = []
    event.listen(engine, "do_connect", lambda *args: seen.append(args))
    return seen


def test_young(line: Line) -> None:
    """A connection is used again."""
    first = line.connection()
    line.clock.advance(RECYCLE)
    assert line.connection() == first


def test_old(line: Line) -> None:
    """An old one is replaced before its next use."""
    connects = count_connects(line.pool.engine)
    line.connection()
    line.clock.advance(RECYCLE + 1)
    line.connection()
    line.connection()
    assert len(connects) == 2


def test_ping(line: Line) -> None:
    """One that was not used for a while is asked first, and replaced if it does not answer."""
    connects = count_connects(line.pool.engine)
    line.run(lambda connection: connection.connection.cursor())
    line.threads._own.kept.connection.connection.dbapi_connection.close()
    line.clock.advance(PING_AFTER + 1)
    assert line.run(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1
    assert len(connects) == 2


def test_hold_off(tmp_path: Path) -> None:
    """After a connection could not be opened nobody tries for a moment, and is told the same."""
    line = line_to(DatabaseSettings(connection=f"sqlite:///{tmp_path}/later/file.sqlite"), Fault.LOST)
    connects = count_connects(line.pool.engine)
    line.clock.advance(1)
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            line.connection()
    assert len(connects) == 1
    (tmp_path / "later").mkdir()
    line.clock.advance(HOLD_OFF)
    assert line.connection()


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (Fault.COLLISION, Undone),
        (Fault.LOST, Undone),
        (Fault.UNAVAILABLE, DatabaseUnavailable),
        (Fault.VALUE, Invalid),
    ],
)
def test_faults(settings: DatabaseSettings, fault: Fault, raised: type[Exception]) -> None:
    """What a fault in the middle of a transaction means to who wanted it."""
    line = line_to(settings, fault)
    with pytest.raises(raised) as caught:
        line.run(lambda connection: connection.execute(text("SELECT * FROM nowhere")))
    assert caught.type is raised
    assert caught.value.__cause__ is not None
    assert "nowhere" not in str(caught.value)
    assert line.run(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1


def test_lost_in_the_commit(line: Line) -> None:
    """Then nobody knows what became of it."""

    def work(connection: Connection) -> None:
        connection.execute(text("SELECT 1"))
        close(connection)

    with pytest.raises(OutcomeUnknown):
        line.run(work)
    assert line.run(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1


def test_own_errors(line: Line) -> None:
    """What is no error of the driver speaks for itself."""
    with pytest.raises(ZeroDivisionError) as caught:
        line.run(lambda connection: 1 / 0)
    assert caught.value.__cause__ is None
