"""Removing for good what was deleted long ago (database.md, section 7)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import Connection, Table, func, insert, select

from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import transact
from glancetx.db.own_schema import copies
from glancetx.db.purge import CHILDREN, count_held, of_children, of_images, purge_all
from glancetx.db.schema import image_locations, image_members, image_properties, image_tags, images, task_info, tasks

NOW: Final = datetime(2026, 6, 1, 12)
DELETED: Final = (None, 10, 40, 100, 200, 400)
"""How many days ago images, and all that belongs to them, were deleted."""


def life(days: int | None) -> dict[str, Any]:
    ended = None if days is None else NOW - timedelta(days=days)
    return {"created_at": NOW - timedelta(days=900), "deleted": ended is not None, "deleted_at": ended}


def write_rows(connection: Connection) -> None:
    """An image and a task for each of `DELETED`, and what belongs to them; named by how many days ago."""
    for days in DELETED:
        status = "active" if days is None else "deleted"
        image = {"id": f"i{days}", "status": status, "min_disk": 0, "min_ram": 0, "protected": False}
        mine = {"image_id": f"i{days}", **life(days)}
        task = {"id": f"t{days}", "type": "import", "status": "success", "owner": "o"}
        rows: list[tuple[Table, dict[str, Any]]] = [
            (images, {**image, "os_hidden": False, **life(days)}),
            (image_properties, {**mine, "name": "a", "value": "1"}),
            (image_properties, {**mine, "name": "b", "value": "2"}),
            (image_tags, {**mine, "value": "x"}),
            (image_locations, {**mine, "value": "file:///x", "meta_data": "{}", "status": status}),
            (image_members, {**mine, "member": "m", "can_share": False, "status": "accepted"}),
            (tasks, {**task, **life(days)}),
            (task_info, {"task_id": f"t{days}", "message": "done"}),
        ]
        for table, row in rows:
            connection.execute(insert(table).values(row))


def ids(connection: Connection, table: Table) -> list[str]:
    column = next(table.c[name] for name in ("image_id", "task_id", "id") if name in table.c and table is not tasks)
    return sorted(connection.execute(select(column)).scalars())


def days(found: list[str]) -> list[str]:
    return sorted({name[1:] for name in found})


@pytest.fixture
def written(settings: DatabaseSettings) -> DatabaseSettings:
    transact(settings, write_rows)
    return settings


def purge(settings: DatabaseSettings, age: int, most: int | None = None) -> dict[str, int]:
    """As ``db purge``; how many rows went, by table."""
    run = lambda work: transact(settings, work)  # noqa: E731
    each = of_children(NOW - timedelta(days=age))
    return {one.table.name: purge_all(run, one, most, lambda done: None) for one in each}


def purge_images(settings: DatabaseSettings, age: int, most: int | None = None) -> int:
    return purge_all(
        lambda work: transact(settings, work), of_images(NOW - timedelta(days=age)), most, lambda done: None
    )


def test_old_rows_go(written: DatabaseSettings) -> None:
    """What is older goes from all tables but that of the images; what is younger, or lives, stays."""
    gone = purge(written, 50)
    assert gone == {"image_properties": 6, "image_tags": 3, "image_locations": 3, "image_members": 3, "tasks": 3}
    for table in (*CHILDREN, task_info):
        assert days(transact(written, ids, table)) == ["10", "40", "None"]
    assert len(transact(written, ids, images)) == len(DELETED)


def test_limited(written: DatabaseSettings) -> None:
    """A limit is for each table, and the oldest go first."""
    assert purge(written, 0, most=2)["image_tags"] == 2
    assert days(transact(written, ids, image_tags)) == ["10", "100", "40", "None"]
    assert days(transact(written, ids, image_properties)) == ["10", "100", "200", "40", "None"]
    assert days(transact(written, ids, task_info)) == ["10", "100", "40", "None"]
    assert set(purge(written, 0, most=0).values()) == {0}


def test_images(written: DatabaseSettings) -> None:
    """An image goes when nothing is left of it; those that cannot go are counted."""
    assert purge_images(written, 50) == 0
    assert transact(written, count_held, NOW - timedelta(days=50)) == 3
    purge(written, 150)
    assert purge_images(written, 50, most=1) == 1
    assert days(transact(written, ids, images)) == ["10", "100", "200", "40", "None"]
    assert purge_images(written, 50) == 1
    assert transact(written, count_held, NOW - timedelta(days=50)) == 1


def test_revived(written: DatabaseSettings) -> None:
    """What lives again stays, though it still says when it was deleted: Glance leaves that on it (D-042)."""

    def revive(connection: Connection) -> None:
        for table in (image_properties, image_members, tasks):
            connection.execute(table.update().values(deleted=False))

    transact(written, revive)
    gone = purge(written, 0)
    assert (gone["image_properties"], gone["image_members"], gone["tasks"]) == (0, 0, 0)
    assert gone["image_tags"] == 5


def test_pending(written: DatabaseSettings) -> None:
    """What waits for the scrubber stays: else nobody would know of the data any more."""

    def wait(connection: Connection) -> None:
        for table in (image_locations, images):
            connection.execute(table.update().where(table.c.deleted).values(status="pending_delete"))

    transact(written, wait)
    assert purge(written, 0)["image_locations"] == 0
    assert purge_images(written, 0) == 0


def test_copies(written: DatabaseSettings) -> None:
    """What the auditor knows of a location goes with it: its number may be given again."""

    def note(connection: Connection) -> None:
        for number in connection.execute(select(image_locations.c.id)).scalars().all():
            row = {"location_id": number, "image_id": "i", "state": "sound", "audited_at": NOW}
            connection.execute(insert(copies).values(row))

    transact(written, note)
    purge(written, 50)
    assert (
        transact(written, lambda connection: connection.execute(select(func.count()).select_from(copies)).scalar()) == 3
    )


def test_batches(written: DatabaseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Much goes in several transactions, with progress after each."""
    monkeypatch.setattr("glancetx.db.purge.BATCH", 2)
    seen: list[int] = []
    run: Callable[..., int] = lambda work: transact(written, work)  # noqa: E731
    (properties, *_) = of_children(NOW)
    assert purge_all(run, properties, None, seen.append) == 10
    assert seen == [2] * 5
