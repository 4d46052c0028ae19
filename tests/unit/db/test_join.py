"""Short transactions that wait at the same time are committed together, and fail alone."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
import pytest_twisted
from attrs import define, field
from sqlalchemy import Connection, insert
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred

from glancetx.db.engine import Engine
from glancetx.db.schema import metadef_resource_types as kinds
from glancetx.db.telling import on_commit
from glancetx.domain.image import utc_now
from tests.running import PATIENCE


@define
class Writers:
    """Transactions that are asked for by `wait`; while they are on `hold`, none begins before `go`."""

    engine: Engine
    order: list[str] = field(factory=list)
    transactions: list[object] = field(factory=list)
    told: list[str] = field(factory=list)
    _held: threading.Event = field(factory=threading.Event)
    _blockers: list[Deferred[None]] = field(factory=list)

    def write(self, connection: Connection, orders: Sequence[tuple[str, str]]) -> list[str]:
        for name, wanted in orders:
            connection.execute(insert(kinds).values(name=wanted, protected=False, created_at=utc_now()))
            self.transactions.append(connection.get_transaction())
            self.order.append(name)
            on_commit(connection, lambda name=name: self.told.append(name))  # type: ignore[misc]
        return [name for name, _ in orders]

    def write_otherwise(self, connection: Connection, orders: Sequence[tuple[str, str]]) -> list[str]:
        return [name * 2 for name in self.write(connection, orders)]

    def _block(self, connection: Connection, begun: Callable[[], None]) -> None:
        begun()
        assert self._held.wait(PATIENCE)

    async def hold(self) -> None:
        """Until `go`, all connections that write are busy."""
        from twisted.internet import reactor

        for _ in range(self.engine._writers.pool.size):
            begun: Deferred[None] = Deferred()
            blocker = self.engine.interact(
                self._block,
                lambda begun=begun: reactor.callFromThread(begun.callback, None),  # type: ignore[attr-defined,misc]
            )
            self._blockers.append(ensureDeferred(blocker))
            await begun

    def wait(self, name: str, wanted: str | None = None, *, otherwise: bool = False) -> Deferred[str]:
        works = self.write_otherwise if otherwise else self.write
        return ensureDeferred(self.engine.join(works, (name, wanted or name)))

    async def go(self) -> None:
        self._held.set()
        for blocker in self._blockers:
            await blocker


@pytest_twisted.async_yield_fixture
async def writers(engine: Engine) -> AsyncIterator[Writers]:
    made = Writers(engine)
    await made.hold()
    yield made
    await made.go()


@pytest_twisted.ensureDeferred
async def test_together(writers: Writers, count: Callable[..., Deferred[int]]) -> None:
    """Each has its own result, of what he wanted, and all is told once; four or more are one transaction."""
    waiting = [writers.wait(name, otherwise=name in "be") for name in "abcdef"]
    await writers.go()
    assert [await each for each in waiting] == ["a", "bb", "c", "d", "ee", "f"]
    assert sorted(writers.order) == sorted(writers.told) == [*"abcdef"]
    assert len({id(each) for each in writers.transactions}) <= 2
    assert await count(kinds) == 6


@pytest_twisted.ensureDeferred
async def test_one_fails(writers: Writers, count: Callable[..., Deferred[int]]) -> None:
    """Whoever fails is told why; the others are written, once each."""
    waiting = [writers.wait(name, "same" if name in "bc" else None) for name in "abcd"]
    await writers.go()
    assert [await waiting[0], await waiting[3]] == ["a", "d"]
    errors = 0
    for each in waiting[1:3]:
        try:
            await each
        except IntegrityError:
            errors += 1
    assert errors == 1
    assert await count(kinds) == 3


@pytest_twisted.ensureDeferred
async def test_cancelled_before(writers: Writers, count: Callable[..., Deferred[int]]) -> None:
    """Whoever is cancelled while he waits never begins, and the others do."""
    waiting = [writers.wait(name) for name in "abc"]
    waiting[1].cancel()
    with pytest.raises(CancelledError):
        await waiting[1]
    await writers.go()
    assert [await waiting[0], await waiting[2]] == ["a", "c"]
    assert sorted(writers.order) == ["a", "c"]
    assert await count(kinds) == 2


@pytest_twisted.ensureDeferred
async def test_alone(engine: Engine) -> None:
    """When nobody else waits, it is a transaction like any other."""
    writers = Writers(engine)
    assert await writers.wait("a") == "a"
    assert await writers.wait("b") == "b"
    with pytest.raises(IntegrityError):
        await writers.wait("b")
    assert writers.order == ["a", "b"]
