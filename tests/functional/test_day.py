"""A day in the life of all background services, over many images: time is a Clock's, the rest is real.

What a service does at a time is bounded, however much there is to do; and each gets its turn as often as it should.
``GLANCETX_DAY=24,10000`` has the day last so many hours, and gives it so many images: that takes a minute.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest_twisted
from attrs import define, field
from sqlalchemy import Connection, event, func, insert, select
from twisted.internet.task import Clock, deferLater

from glancetx.app import ImageService
from glancetx.config.settings import (
    AuditSettings,
    CacheSettings,
    CoordinationSettings,
    ScrubSettings,
    StoresSettings,
)
from glancetx.db.own_schema import claims, copies
from glancetx.db.schema import image_locations, images
from glancetx.domain.placement import Rule
from glancetx.services.auditor import SLICE
from glancetx.testing.database import write_database
from glancetx.testing.fakes import MemoryStore, _Kept
from tests.running import settings_in

HOUR, MINUTE = 3600.0, 60.0
HOURS, COUNT = map(int, os.environ.get("GLANCETX_DAY", "4,1000").split(","))
DAY = HOURS * HOUR
START = datetime(2026, 1, 2)
LATE = COUNT // 4  # of them have not been looked at for days
DAMAGED, WANTED, DOOMED = 60, COUNT // 500, COUNT // 50
CONTENT = b"all images are the same, and small" * 30
RATE = 100_000  # bytes a second that the auditor may read
SLOW = {"reaper": 10 * MINUTE, "reporter": 10 * MINUTE, "presence": 10 * MINUTE, "unstager": 10 * MINUTE}
SLOW |= {"placer": HOUR}  # seconds; else these were most of the work


class Simulated:
    """The reactor, but for its time and its threads: what they would do is done at once, and here."""

    def __init__(self, real: Any) -> None:
        self.clock = Clock()
        self.seconds, self.callLater = self.clock.seconds, self.clock.callLater
        self._real = real

    def callFromThread(self, call: Any, *args: Any, **named: Any) -> None:
        call(*args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


async def at_once(function: Any, *args: Any, **named: Any) -> Any:
    """In place of a pool of threads."""
    return function(*args, **named)


class CountingStore(MemoryStore):
    """Counts how often it is read, and how many bytes."""

    def __init__(self, identifier: str) -> None:
        super().__init__(identifier)
        self.reads: Counter[str] = Counter()
        self.bytes = 0

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> Any:
        self.reads[url] += 1
        self.bytes += len(self._kept[url].data)
        return await super().get(url, offset, length)


@define
class Day:
    service: ImageService
    reactor: Simulated
    near: CountingStore
    far: CountingStore
    statements: list[str] = field(factory=list)

    @property
    def clock(self) -> Clock:
        return self.reactor.clock

    @property
    def rooms(self) -> tuple[Any, Any]:
        return self.service._engine._writers, self.service._engine._readers

    def pass_minute(self) -> None:
        """From one timer to the next one."""
        end = self.clock.seconds() + MINUTE
        while self.clock.calls and (at := self.clock.calls[0].getTime()) <= end:
            self.clock.advance(max(0.0, at - self.clock.seconds()))
        self.clock.advance(end - self.clock.seconds())

    def reads(self) -> int:
        return self.near.reads.total() + self.far.reads.total()


def identifier(number: int) -> str:
    return str(uuid.UUID(int=number, version=4))


def fill(connection: Connection) -> None:
    """All images, with locations in the store *near*; the damaged ones have another in *far*."""
    digest = hashlib.sha512(CONTENT).hexdigest()
    rows: dict[Any, list[dict[str, Any]]] = {images: [], image_locations: []}
    for number in range(COUNT + DOOMED):
        doomed = number >= COUNT
        made = START - (timedelta(days=9) if number < LATE else timedelta(seconds=DAY * (COUNT - number) / COUNT))
        gone = START + timedelta(seconds=DAY / 2 * (number - COUNT) / DOOMED)
        status = "pending_delete" if doomed else "active"
        life = {"created_at": made, "updated_at": made, "deleted": doomed, "deleted_at": gone if doomed else None}
        rows[images].append(
            life
            | {
                "id": identifier(number), "name": "wanted" if number % 500 == 1 else "x", "status": status,
                "size": len(CONTENT), "disk_format": "raw", "container_format": "bare", "owner": "ours",
                "visibility": "private", "min_disk": 0, "min_ram": 0, "protected": False, "os_hidden": False,
                "os_hash_algo": "sha512" if number % 10 == 0 else None,
                "os_hash_value": digest if number % 10 == 0 else None,
            }
        )  # fmt: skip
        for store in ("near", "far") if is_damaged(number) else ("near",):
            place = {"value": f"memory://{store}/{identifier(number)}", "meta_data": f'{{"store": "{store}"}}'}
            state = {"image_id": identifier(number), "status": status}
            rows[image_locations].append(life | place | state)
    for table, values in rows.items():
        connection.execute(insert(table), values)


def is_damaged(number: int) -> bool:
    return number < COUNT and number % 10 == 0 and number < DAMAGED * 10


def store_data(near: CountingStore, far: CountingStore) -> None:
    for number in range(COUNT + DOOMED):
        data = CONTENT[::-1] if is_damaged(number) else CONTENT
        near._kept[f"memory://near/{identifier(number)}"] = _Kept(data, "")
        if is_damaged(number):
            far._kept[f"memory://far/{identifier(number)}"] = _Kept(CONTENT, "")


@pytest_twisted.async_yield_fixture
async def day(tmp_path: Path) -> AsyncIterator[Day]:
    from twisted.internet import reactor

    simulated, near, far = Simulated(reactor), CountingStore("near"), CountingStore("far")
    settings = settings_in(
        tmp_path,
        database=write_database(tmp_path),
        stores=StoresSettings(),
        audit=AuditSettings(audit_rate=RATE, audit_period=DAY, rules=(Rule.parse("name=wanted -> near,far"),)),
        scrub=ScrubSettings(delayed_delete=True),
        cache=CacheSettings(directory=tmp_path / "cache", driver="sqlite", interval=10 * MINUTE),
        coordination=CoordinationSettings(lease=0.5 * HOUR),
    )
    from glancetx.db.engine import transact

    transact(settings.database, fill)
    store_data(near, far)
    service = ImageService(settings, simulated, stores={"near": near, "far": far})
    background = service.background

    def now() -> datetime:
        return START + timedelta(seconds=simulated.clock.seconds())

    for each in (
        background.auditor, background.auditor._copies, background.scrubber._pending, service._claims, service._leases,
    ):  # fmt: skip
        vars(each)["_now"] = now
    for work in (*service._background, *background.works.values()):
        work._interval = SLOW.get(work.name_of_work, work._interval)
    (pulse,) = [child for child in service.services if type(child).__name__ == "Pulse"]
    pulse.disownServiceParent()  # it looks at the time four times a second, and does nothing else
    made = Day(service, simulated, near, far)
    for pool in service._pools:
        pool.run = at_once  # type: ignore[method-assign]
    for room in made.rooms:
        room.threads.do = lambda task: task()
        event.listen(room.pool.engine, "connect", lambda raw, record: raw.execute("PRAGMA synchronous = OFF"))
    service.startService()
    await service.started
    for room in made.rooms:
        event.listen(room.pool.engine, "before_cursor_execute", lambda *seen: made.statements.append(seen[2]))
    yield made
    stopping = service.stopService()
    while not stopping.called:  # the last writes may wait for others, in the Clock's time
        made.pass_minute()
        await deferLater(reactor, 0)
    await stopping
    for room in made.rooms:
        room.threads._close()


@pytest_twisted.ensureDeferred
async def test_a_day(day: Day) -> None:
    """Nothing is done too much at a time, nothing is forgotten."""
    most: Counter[str] = Counter()
    for _ in range(round(DAY / MINUTE) + 2):  # the last image is due with the day
        before = Counter(statements=len(day.statements), reads=day.reads(), bytes=day.near.bytes + day.far.bytes)
        day.pass_minute()
        after = Counter(statements=len(day.statements), reads=day.reads(), bytes=day.near.bytes + day.far.bytes)
        most |= after - before
    facts = day.service.statuses()
    print(dict(most), {name: status["runs"] for name, status in facts.items()})

    # What there is to do does not tell how much is done in a minute.
    assert most["reads"] <= SLICE + 10 + 2 * DAMAGED
    assert most["statements"] <= 4 * (SLICE + 10)
    assert most["bytes"] <= 2 * RATE * MINUTE

    # Every service had its turn, and none of them failed.
    works = {work.name_of_work: work for work in (*day.service._background, *day.service.background.works.values())}
    for name, work in works.items():
        expected = DAY / work._interval
        assert facts[name]["failures"] == 0, facts[name]
        assert 0.95 * expected - 2 <= facts[name]["runs"] <= 1.05 * expected + 2, (name, facts[name]["runs"], expected)

    # Every image was looked at, those that were late first; what was damaged is sound again, what was deleted is gone.
    found = await day.service._engine.read(tell)
    assert found["looked at"] == {"sound": COUNT + DAMAGED}
    assert found["statuses"] == {"active": COUNT, "deleted": DOOMED}
    assert found["claims"] == 0
    assert facts["replicator"]["repaired"] == DAMAGED
    assert facts["placer"]["begun"] == WANTED  # though the stores do not write their names to the locations
    assert len(day.far._kept) == DAMAGED + WANTED
    assert all(kept.data == CONTENT for store in (day.near, day.far) for kept in store._kept.values())
    assert len(day.near._kept) == COUNT


def tell(connection: Connection) -> dict[str, Any]:
    def count(table: Any, column: Any) -> dict[str, int]:
        return {name: number for name, number in connection.execute(select(column, func.count()).group_by(column))}

    recent = select(copies.c.state, func.count()).join(image_locations, image_locations.c.id == copies.c.location_id)
    recent = recent.where(copies.c.audited_at >= START, image_locations.c.created_at < START).group_by(copies.c.state)
    return {
        "looked at": {state: number for state, number in connection.execute(recent)},
        "statuses": count(images, images.c.status),
        "claims": connection.execute(select(func.count()).select_from(claims)).scalar_one(),
    }
