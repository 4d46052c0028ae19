"""Whole transactions in threads: what is committed, what is rolled back, what cancelling does."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults

from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import Engine, load_wrap_engine, transact
from glancetx.domain.errors import ConfigurationError, DatabaseUnavailable


def run(connection: Connection, statement: str) -> list[Any]:
    result = connection.execute(text(statement))
    return list(result) if result.returns_rows else []


def add_tag_type(connection: Connection, name: str = "a") -> None:
    statement = "INSERT INTO metadef_resource_types (name, protected, created_at) VALUES (:name, 0, '2026-01-01')"
    connection.execute(text(statement), {"name": name})


async def names(engine: Engine) -> list[str]:
    return [row[0] for row in await engine.read(run, "SELECT name FROM metadef_resource_types ORDER BY id")]


class Gate:
    """Holds a transaction in its thread until it is opened."""

    def __init__(self, reactor: Any) -> None:
        self.entered: Deferred[None] = Deferred()
        self._reactor = reactor
        self._open = threading.Event()

    def hold(self, connection: Connection, name: str) -> str:
        add_tag_type(connection, name)
        self._reactor.callFromThread(self.entered.callback, None)
        assert self._open.wait(10)
        return name

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Gate:
    from twisted.internet import reactor

    return Gate(reactor)


@pytest_twisted.ensureDeferred
async def test_result(engine: Engine) -> None:
    """What the function returns is the result."""
    assert await engine.interact(run, "SELECT 1 + 1") == [(2,)]


@pytest_twisted.ensureDeferred
async def test_commit(engine: Engine) -> None:
    """A function that returns is committed."""
    await engine.interact(add_tag_type, "kept")
    assert await names(engine) == ["kept"]


@pytest_twisted.ensureDeferred
async def test_rollback(engine: Engine) -> None:
    """A function that raises leaves nothing, and its error is ours."""

    def fail(connection: Connection) -> None:
        add_tag_type(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await engine.interact(fail)
    assert await names(engine) == []


@pytest_twisted.ensureDeferred
async def test_use_after_error(engine: Engine) -> None:
    """A statement that fails spoils no later transaction."""
    await engine.interact(add_tag_type, "same")
    with pytest.raises(IntegrityError):
        await engine.interact(add_tag_type, "same")
    await engine.interact(add_tag_type, "other")
    assert await names(engine) == ["same", "other"]


@pytest_twisted.ensureDeferred
async def test_writers_queue(engine: Engine) -> None:
    """Writes run one after the other, in the order they came."""
    wanted = [f"{number}" for number in range(30)]
    await gatherResults([ensureDeferred(engine.interact(add_tag_type, name)) for name in wanted])
    assert await names(engine) == wanted


@pytest_twisted.ensureDeferred
async def test_reads_pass_a_writer(engine: Engine, gate: Gate) -> None:
    """A read does not wait for a write under way, and does not see it."""
    writing = ensureDeferred(engine.interact(gate.hold, "late"))
    await gate.entered
    assert await names(engine) == []
    gate.open()
    await writing
    assert await names(engine) == ["late"]


@pytest_twisted.ensureDeferred
async def test_read_does_not_write(engine: Engine) -> None:
    """A function given to `read` cannot change anything."""
    with pytest.raises(DatabaseUnavailable):
        await engine.read(add_tag_type)
    assert await names(engine) == []


@pytest_twisted.ensureDeferred
async def test_connections_persist(engine: Engine) -> None:
    """Transactions one after the other use the same connection."""

    def identity(connection: Connection) -> int:
        return id(connection.connection.dbapi_connection)

    assert len({await engine.read(identity) for _ in range(5)}) == 1


@pytest_twisted.ensureDeferred
async def test_threads_are_bounded(engine: Engine) -> None:
    """Many reads at once use no more threads than the pool has, and all are answered."""

    def where(connection: Connection) -> int:
        return threading.get_ident()

    seen = await gatherResults([ensureDeferred(engine.read(where)) for _ in range(100)])
    assert len(seen) == 100
    assert len(set(seen)) <= 4


@pytest_twisted.ensureDeferred
async def test_cancel_waits(engine: Engine, gate: Gate) -> None:
    """Cancelling a transaction that has begun raises only when it has ended; it is committed."""
    writing = ensureDeferred(engine.interact(gate.hold, "done"))
    await gate.entered
    ended: list[Any] = []
    writing.addBoth(ended.append)
    writing.cancel()
    assert await names(engine) == []
    assert ended == []
    gate.open()
    await engine.interact(run, "SELECT 1")  # behind the cancelled one in the queue
    assert ended[0].check(CancelledError)
    assert await names(engine) == ["done"]


@pytest_twisted.ensureDeferred
async def test_cancel_drops(engine: Engine, gate: Gate) -> None:
    """Cancelling a transaction that has not begun raises at once, and it never runs."""
    writing = ensureDeferred(engine.interact(gate.hold, "first"))
    await gate.entered
    waiting = ensureDeferred(engine.interact(add_tag_type, "never"))
    waiting.cancel()
    with pytest.raises(CancelledError):
        await waiting
    gate.open()
    await writing
    await engine.interact(add_tag_type, "last")
    assert await names(engine) == ["first", "last"]


@pytest_twisted.ensureDeferred
async def test_cancel_twice(engine: Engine, gate: Gate) -> None:
    """A second cancel does not end the wait for a transaction that has begun."""
    writing = ensureDeferred(engine.interact(gate.hold, "done"))
    await gate.entered
    ended: list[Any] = []
    writing.addBoth(ended.append)
    writing.cancel()
    writing.cancel()
    assert ended == []
    gate.open()
    await engine.interact(run, "SELECT 1")
    assert ended[0].check(CancelledError)


@pytest_twisted.ensureDeferred
async def test_stop_waits(settings: DatabaseSettings, gate: Gate) -> None:
    """Stopping waits for what is under way, and for what already waits."""
    from twisted.internet import reactor

    engine = Engine(reactor, settings)
    await engine.start()
    first = ensureDeferred(engine.interact(gate.hold, "first"))
    second = ensureDeferred(engine.interact(add_tag_type, "second"))
    await gate.entered
    stopping = ensureDeferred(engine.stop())
    gate.open()
    await stopping
    assert first.called
    assert second.called
    assert transact(settings, run, "SELECT name FROM metadef_resource_types") == [("first",), ("second",)]


@pytest_twisted.ensureDeferred
async def test_stopped(settings: DatabaseSettings) -> None:
    """A stopped engine refuses work."""
    from twisted.internet import reactor

    engine = Engine(reactor, settings)
    await engine.start()
    await engine.stop()
    with pytest.raises(DatabaseUnavailable):
        await engine.interact(run, "SELECT 1")


@pytest_twisted.ensureDeferred
async def test_restart(settings: DatabaseSettings) -> None:
    """An engine that was stopped can be started again."""
    from twisted.internet import reactor

    engine = Engine(reactor, settings)
    for _ in range(2):
        await engine.start()
        assert await engine.read(run, "SELECT 1") == [(1,)]
        await engine.stop()


@pytest_twisted.ensureDeferred
async def test_unreachable(tmp_path: Path) -> None:
    """A database that cannot be opened fails the start, without naming its place."""
    from twisted.internet import reactor

    connection = f"sqlite:///{tmp_path}/nowhere/file.sqlite"
    engine = Engine(reactor, DatabaseSettings(connection=connection))
    with pytest.raises(DatabaseUnavailable) as caught:
        await engine.start()
    assert "nowhere" not in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_recovery(engine: Engine) -> None:
    """After the database failed the next transaction gets a new connection."""
    with pytest.raises(DatabaseUnavailable):
        await engine.interact(run, "SELECT * FROM no_such_table")
    await engine.interact(add_tag_type, "again")
    assert await names(engine) == ["again"]


@pytest_twisted.ensureDeferred
async def test_durability(engine: Engine) -> None:
    """The write-ahead log is on, every commit reaches the disk, and references are checked."""
    found = [(await engine.interact(run, f"PRAGMA {name}"))[0][0] for name in ("journal_mode", "synchronous")]
    assert found == ["wal", 2]
    assert await engine.interact(run, "PRAGMA foreign_keys") == [(1,)]


@pytest.mark.parametrize(
    "connection",
    ["", "no url", "nosuch://x/y", "oracle://h/d", "sqlite://", "sqlite:///:memory:", "mysql://h/d?read_timeout=soon"],
)
def test_bad_settings(connection: str) -> None:
    """A URL that cannot work is told before anything starts."""
    from twisted.internet import reactor

    with pytest.raises(ConfigurationError):
        Engine(reactor, DatabaseSettings(connection=connection))


def test_password_is_not_shown() -> None:
    """What is wrong with a URL is told without its password."""
    for connection in ("nosuch://user:secret@host/glance", "mysql://user:secret@host/glance?read_timeout=soon"):
        with pytest.raises(ConfigurationError) as caught:
            transact(DatabaseSettings(connection=connection), run, "SELECT 1")
        assert "secret" not in str(caught.value)


def test_small_pool(settings: DatabaseSettings) -> None:
    """One writer and at least one reader exist in the smallest pool."""
    from glancetx.db.dialects import make_pools

    pools = make_pools(evolve(settings, max_pool_size=1))
    assert (pools.writers.size, pools.readers.size) == (1, 1)


def test_alchimia_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """alchimia imports where SQLAlchemy has the module without the class it wants."""
    bare = ModuleType("sqlalchemy.engine.strategies")
    forget_alchimia(monkeypatch)
    monkeypatch.setitem(sys.modules, bare.__name__, bare)
    assert callable(load_wrap_engine())
    assert isinstance(bare.DefaultEngineStrategy, type)


def test_alchimia_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """alchimia imports where SQLAlchemy has no such module at all."""
    forget_alchimia(monkeypatch)
    monkeypatch.setitem(sys.modules, "sqlalchemy.engine.strategies", None)
    assert callable(load_wrap_engine())


def forget_alchimia(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "alchimia"]:
        monkeypatch.delitem(sys.modules, name)


WRITE = """
import sys
from sqlalchemy import text
from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import transact

settings = DatabaseSettings(connection=sys.argv[1])
def write(connection):
    connection.execute(text("SELECT max(id) FROM metadef_resource_types")).scalar()
    connection.execute(text(
        "INSERT INTO metadef_resource_types (name, protected, created_at)"
        " SELECT 'n' || count(*), 0, '2026-01-01' FROM metadef_resource_types"
    ))
for _ in range(40):
    transact(settings, write)
"""


def test_processes_share(settings: DatabaseSettings) -> None:
    """Several processes that read and then write in one transaction all succeed, and no number is given twice."""
    command = [sys.executable, "-c", WRITE, settings.connection]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for writer in writers:
        _, errors = writer.communicate(timeout=300)
        assert (writer.returncode, errors) == (0, "")
    assert transact(settings, run, "SELECT count(DISTINCT name) FROM metadef_resource_types") == [(120,)]


def test_processes_open_at_once(tmp_path: Path) -> None:
    """Several processes that make the same new database at once all succeed."""
    script = (
        "import sys; from glancetx.config.settings import DatabaseSettings;"
        "from glancetx.db.engine import transact; from glancetx.db.migrations import prepare;"
        "transact(DatabaseSettings(connection=sys.argv[1]), prepare)"
    )
    command = [sys.executable, "-c", script, f"sqlite:///{tmp_path}/new.sqlite"]
    makers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for maker in makers:
        _, errors = maker.communicate(timeout=300)
        assert (maker.returncode, errors) == (0, "")
