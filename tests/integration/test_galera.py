"""Two services, each on a node of its own of a Galera cluster: conflicts come to light at COMMIT, as deadlocks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest
import pytest_twisted
from attrs import evolve, frozen
from sqlalchemy import Connection, text, update
from twisted.internet.defer import DeferredList, ensureDeferred

from glancetx.config.settings import DatabaseSettings
from glancetx.db.dialects import make_pools
from glancetx.db.engine import Engine, transact
from glancetx.db.images import Images
from glancetx.db.leases import Leases
from glancetx.db.members import Members
from glancetx.db.migrations import look, prepare
from glancetx.db.own_schema import projects
from glancetx.db.usage import take_turn
from glancetx.domain.context import service_context
from glancetx.domain.errors import ImageExists, LimitExceeded, MemberExists, StatusConflict
from glancetx.domain.image import Image, utc_now
from glancetx.domain.limits import Limits
from tests.services.databases import wipe
from tests.services.galera import Galera
from tests.unit.db.conftest import new_image, process

__all__ = ["new_image", "process"]

ADMIN: Final = service_context()
EACH: Final = 20


@frozen
class Side:
    """A service's view of the database, by its own node."""

    engine: Engine
    images: Images
    members: Members


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[DatabaseSettings]]:
    galera = Galera()
    try:
        galera.start()
        galera.nodes[0].run("CREATE DATABASE glance")
        settings = [DatabaseSettings(connection=node.url("glance"), wsrep_sync_wait=1) for node in galera.nodes]
        transact(settings[0], prepare)
        yield settings
    finally:
        galera.remove()


@pytest_twisted.async_yield_fixture
async def sides(cluster: list[DatabaseSettings]) -> AsyncIterator[list[Side]]:
    from twisted.internet import reactor

    transact(cluster[0], wipe)
    engines = [Engine(reactor, settings) for settings in cluster]
    for engine in engines:
        await engine.start()
    yield [Side(engine, Images(engine), Members(engine)) for engine in engines]
    for engine in engines:
        await engine.stop()


async def together(*calls: Any) -> list[Any]:
    """What each returned or raised."""
    outcomes = await DeferredList([ensureDeferred(call) for call in calls], consumeErrors=True)
    return [value if succeeded else value.value for succeeded, value in outcomes]


@pytest_twisted.ensureDeferred
async def test_prepared_once(cluster: list[DatabaseSettings]) -> None:
    """What one node's service has made, the other's finds."""
    assert transact(cluster[1], look).current


@pytest_twisted.ensureDeferred
async def test_what_the_other_node_was_told(sides: list[Side], new_image: Any) -> None:
    """It is read at once, also by a statement that the server knows already: a node waits until it has it."""
    for number in range(EACH * 5):
        here, there = sides[number % 2], sides[1 - number % 2]
        image = await here.images.create(new_image())
        assert await there.images.get(ADMIN, image.id) == image


@pytest_twisted.ensureDeferred
async def test_collision_at_commit(cluster: list[DatabaseSettings], sides: list[Side]) -> None:
    """A transaction that is rolled back at its commit is run again, and nothing is counted twice or lost."""
    one = sides[0]
    await one.engine.interact(take_turn, "p")
    runs = []

    def late(connection: Connection) -> int:
        runs.append(connection)
        turn = take_turn(connection, "p")
        if len(runs) == 1:  # the other node does not wait for our lock, and is first to commit
            other.execute(update(projects).values(turn=projects.c.turn + 1))
            other.commit()
        return turn

    with make_pools(cluster[1]).writers.engine.connect() as other:
        assert await one.engine.interact(late) == 3
    assert len(runs) == 2


@pytest_twisted.ensureDeferred
async def test_same_id(sides: list[Side], new_image: Any) -> None:
    """Of two images with one id, made on two nodes at the same time, one is a conflict."""
    for _ in range(EACH):
        image = new_image()
        outcomes = await together(*(side.images.create(image) for side in sides))
        assert [type(outcome) for outcome in outcomes if not isinstance(outcome, Image)] == [ImageExists]


@pytest_twisted.ensureDeferred
async def test_same_change(sides: list[Side], new_image: Any) -> None:
    """Of two changes from one status to another, on two nodes at the same time, one comes too late."""
    for _ in range(EACH):
        image = await sides[0].images.create(new_image())
        changed = evolve(image, status="saving")
        outcomes = await together(*(side.images.save(changed, was="queued") for side in sides))
        assert [type(outcome) for outcome in outcomes if not isinstance(outcome, Image)] == [StatusConflict]


@pytest_twisted.ensureDeferred
async def test_same_member(sides: list[Side], new_image: Any) -> None:
    """An image is shared with a project once, though nothing in Glance's tables says so."""
    for _ in range(EACH):
        image = await sides[0].images.create(new_image(owner="p"))
        outcomes = await together(*(side.members.add(image.id, "m", 9) for side in sides))
        assert [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [MemberExists]
        assert len(await sides[1].members.list(image.id)) == 1


@pytest_twisted.ensureDeferred
async def test_limit(sides: list[Side], new_image: Any) -> None:
    """A limit holds, though nodes do not wait for each other's locks."""
    limits = Limits(count_total=5)
    calls = [sides[number % 2].images.create(new_image(owner="q"), limits) for number in range(12)]
    outcomes = await together(*calls)
    assert sum(isinstance(outcome, Image) for outcome in outcomes) == 5
    assert all(isinstance(outcome, (Image, LimitExceeded)) for outcome in outcomes)


@pytest_twisted.ensureDeferred
async def test_one_lease(sides: list[Side], process: Any) -> None:
    """A lease that two want at the same time is given to one."""

    def known(connection: Connection, *processes: Any) -> None:
        for each in processes:
            values = f"'{each.id}', 'h', 'b', 'n', 1, 1, '{utc_now().year + 1}-01-01'"
            connection.execute(text(f"INSERT INTO glancetx_processes VALUES ({values})"))

    others = [evolve(process, id=f"{number:032x}") for number in range(2)]
    await sides[0].engine.interact(known, *others)
    for number in range(EACH):
        held = await together(
            *(Leases(side.engine, mine).hold([f"lease {number}"]) for side, mine in zip(sides, others, strict=True))
        )
        assert sorted(len(each.names) for each in held) == [0, 1]
