"""Events are written with what they tell of, taken over from the dead, and removed when they are sent."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from sqlalchemy import Connection, select
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from glancetx.config.settings import BrokerHost, BrokerSettings, NotificationSettings
from glancetx.db.claims import Claims, Process
from glancetx.db.engine import Engine
from glancetx.db.events import EventRows, KeptEvent, Stamps, count_events
from glancetx.db.images import Images
from glancetx.db.own_schema import events as table
from glancetx.db.telling import Transaction, on_commit
from glancetx.domain.image import Image
from glancetx.notifications.drawer import REMOVE_AFTER, Drawer
from glancetx.notifications.events import Events
from glancetx.notifications.messaging import LARGEST, MessagingNotifier
from glancetx.notifications.outbox import Letter, Outbox
from glancetx.notifications.telling import Event
from tests.unit.notifications.test_events import Collected

TIME = datetime(2026, 1, 1)


@pytest.fixture
def rows_of(engine: Engine, process: Process) -> EventRows:
    return EventRows(engine, process)


def kept(*numbers: int) -> list[KeptEvent]:
    return [KeptEvent(f"{number:032}", f'{{"priority": "INFO", "number": {number}}}') for number in numbers]


async def keep(engine: Engine, rows: EventRows, *numbers: int) -> None:
    await engine.interact(rows.add, kept(*numbers))


async def owners(engine: Engine) -> list[Any]:
    def load(connection: Connection) -> list[Any]:
        return list(connection.execute(select(table.c.process).order_by(table.c.id)).scalars())

    return await engine.read(load)


def test_stamps_of_one_process_are_in_order() -> None:
    """Whatever its clock does; between processes the clock counts."""
    times = [TIME, TIME, TIME - timedelta(days=1), TIME + timedelta(microseconds=9)]
    stamps = Stamps("p" * 32, lambda: times.pop(0))
    given = [stamps.next() for _ in range(4)]
    assert given == sorted(set(given))
    assert all(len(each) == 32 for each in given)
    later = Stamps("a" * 32, lambda: TIME + timedelta(microseconds=10))
    assert later.next() > given[-1]


@pytest_twisted.ensureDeferred
async def test_oldest_first_until_they_are_removed(engine: Engine, rows_of: EventRows) -> None:
    """By their keys, in whatever order they were written."""
    await keep(engine, rows_of, 3, 1, 2)
    assert await rows_of.oldest(2) == kept(1, 2)
    await rows_of.remove([each.key for each in kept(1, 3)])
    assert await rows_of.oldest(10) == kept(2)


@pytest_twisted.ensureDeferred
async def test_only_the_dead_lose_theirs(engine: Engine, rows_of: EventRows, claims: Claims, process: Process) -> None:
    """A living process keeps what it is to send; what nobody is to send is taken over in parts, the oldest first."""
    sister, dead = evolve(process, id="sister"), evolve(process, id="dead", pid=2**22 + 1)
    for each in (sister, dead):
        await claims.renew(each)
    await keep(engine, EventRows(engine, sister), 1)
    await keep(engine, EventRows(engine, dead), 2, 4, 6)
    await keep(engine, EventRows(engine, evolve(process, id="unknown")), 3)
    await keep(engine, rows_of, 5)
    mine = process.id
    assert await rows_of.adopt(2) == 2
    assert await owners(engine) == ["sister", mine, mine, "dead", mine, "dead"]
    assert await rows_of.adopt(9) == 2
    assert await rows_of.adopt(9) == 0
    assert await owners(engine) == ["sister", *[mine] * 5]


@pytest_twisted.ensureDeferred
async def test_the_newest_stay(engine: Engine, rows_of: EventRows) -> None:
    """If there are too many, also if they are more than one statement removes."""
    await keep(engine, rows_of, *range(1200))
    assert await rows_of.trim(1200) == 0
    assert await rows_of.trim(5) == 1195
    assert await rows_of.oldest(9) == kept(*range(1195, 1200))
    assert await engine.read(count_events) == 5


@pytest_twisted.ensureDeferred
async def test_what_comes_to_nothing_is_not_told(engine: Engine, images: Images) -> None:
    """A transaction that fails tells nobody, one that is committed does before its outcome is known."""
    notifier = Collected()
    events = Events(notifier)
    created = await images.create(Image(id="i", name="n"), tell=events.image_created)
    assert [event_type for event_type, *_ in notifier.told] == ["image.create"]

    def fail(transaction: Transaction, image: Image) -> None:
        events.image_updated(transaction, image)
        raise KeyError

    with pytest.raises(KeyError):
        await images.save(created, was="queued", tell=fail)
    await engine.interact(lambda connection: None)
    assert len(notifier.told) == 1


@pytest_twisted.ensureDeferred
async def test_a_transaction_that_is_run_again_tells_once(engine: Engine) -> None:
    """What its first run had to say is forgotten."""
    said: list[int] = []

    def work(transaction: Transaction, number: int) -> None:
        on_commit(transaction, lambda: said.append(number))
        if number == 1:
            raise KeyError

    with pytest.raises(KeyError):
        await engine.interact(work, 1)
    await engine.interact(work, 2)
    await engine.read(work, 3)
    assert said == [2, 3]


@pytest_twisted.ensureDeferred
async def test_a_drawer_brings_what_is_not_at_hand(engine: Engine, rows_of: EventRows) -> None:
    """In parts, each once, and those that are sent never again."""
    clock = Clock()
    drawer = Drawer(clock, rows_of)
    await keep(engine, rows_of, 1, 2, 3, 4)
    first, second = await drawer.oldest(2)
    assert (first.text, first.priority, first.kept) == (kept(1)[0].body, "info", True)
    assert drawer.behind
    assert [drawer.admit(each) for each in (first, second, first)] == [True, True, False]
    drawer.done(first)
    await drawer.empty()
    third, fourth = await drawer.oldest(2)
    assert [each.key for each in (third, fourth)] == [each.key for each in kept(3, 4)]
    assert drawer.admit(third)
    drawer.leave(third)
    assert [each.key for each in await drawer.oldest(9)] == [each.key for each in kept(3, 4)]
    assert not drawer.behind
    assert await rows_of.oldest(9) == kept(2, 3, 4)


@pytest_twisted.ensureDeferred
async def test_what_is_sent_is_removed_after_a_moment(engine: Engine, rows_of: EventRows) -> None:
    """All at once."""
    clock = Clock()
    drawer = Drawer(clock, rows_of)
    await keep(engine, rows_of, 1, 2)
    for each in kept(1, 2):
        drawer.done(Letter(each.key, "info", each.body, kept=True))
    assert await engine.read(count_events) == 2
    clock.advance(REMOVE_AFTER)
    while await engine.read(count_events):
        pass
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_a_drawer_without_a_database(engine: Engine, rows_of: EventRows) -> None:
    """Nothing is at hand, and nothing is forgotten: it is tried again."""
    clock = Clock()
    drawer = Drawer(clock, rows_of)
    await engine.stop()
    assert await drawer.oldest(5) == []
    drawer.done(Letter("k", "info", "", kept=True))
    clock.advance(REMOVE_AFTER)
    assert len(clock.getDelayedCalls()) == 1


@pytest_twisted.ensureDeferred
async def test_what_is_written(engine: Engine, rows_of: EventRows, process: Process) -> None:
    """A row for each event that is not too large for one; all are sent, once they are committed."""
    broker = BrokerSettings(hosts=(BrokerHost(host="127.0.0.1"),))
    settings, clock = NotificationSettings(), MemoryReactorClock()
    notifier = MessagingNotifier(clock, settings, broker, stamps=Stamps(process.id), rows=rows_of)
    told = [Event("a", {"what": object()}), Event("b", {"what": "x" * LARGEST}), Event("c", "text", "error")]
    send = await engine.interact(notifier.write, told)
    kept = [json.loads(row.body)["event_type"] for row in await rows_of.oldest(9)]
    assert kept == ["a", "c"]
    assert notifier.status()["waiting"] == 0
    send()
    assert notifier.status()["waiting"] == 3


@pytest_twisted.ensureDeferred
async def test_what_is_left_behind_stays_in_order(engine: Engine, rows_of: EventRows, process: Process) -> None:
    """As long as older rows are not at hand, newer ones are not taken either."""
    broker = BrokerSettings(hosts=(BrokerHost(host="127.0.0.1"),))
    clock, outbox = MemoryReactorClock(), Outbox(most=1)
    notifier = MessagingNotifier(
        clock, NotificationSettings(), broker, stamps=Stamps(process.id), rows=rows_of, outbox=outbox
    )
    for name in ("a", "b", "c"):
        (await engine.interact(notifier.write, [Event(name, {})]))()
    assert (len(outbox), notifier.is_idle) == (1, False)
    assert json.loads(outbox.take().text)["event_type"] == "a"
    (await engine.interact(notifier.write, [Event("d", {})]))()
    assert len(outbox) == 0
    assert await engine.read(count_events) == 4
