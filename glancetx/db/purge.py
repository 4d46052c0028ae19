"""Removing for good what was deleted long ago (D-070..D-072): each function is a transaction, or a part of one.

As Glance does it, table by table and the oldest rows first, with two exceptions: a row that lives again is never
removed, though it still may say when it was deleted; nor is one whose data waits for the scrubber.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from attrs import frozen
from sqlalchemy import ColumnElement, Connection, Table, delete, exists, func, or_, select, true

from glancetx.db.own_schema import copies
from glancetx.db.schema import image_locations, image_members, image_properties, image_tags, images, task_info, tasks
from glancetx.domain.status import PENDING_DELETE

BATCH: Final = 1000
"""Rows of one transaction: short enough for a cluster, and not to keep others waiting."""
CHILDREN: Final = (image_properties, image_tags, image_locations, image_members)


@frozen
class Purge:
    """What is to be removed of one table: rows deleted before *before*, where *also* holds."""

    table: Table
    before: datetime
    also: ColumnElement[bool]

    def count(self, connection: Connection) -> int:
        """How many rows there are to remove."""
        found = select(func.count()).select_from(self.table).where(*self._old())
        return int(connection.execute(found).scalar_one())

    def remove(self, connection: Connection, most: int) -> int:
        """Remove the oldest rows, *most* at most, with what is kept about them elsewhere; returns how many.

        A row that comes to life meanwhile stays.
        """
        key = self.table.c.id
        oldest = select(key).where(*self._old()).order_by(self.table.c.deleted_at, key).limit(most)
        ids = list(connection.execute(oldest).scalars())
        if not ids:
            return 0
        for column in _NOTES.get(self.table, ()):
            connection.execute(delete(column.table).where(column.in_(ids)))
        return connection.execute(delete(self.table).where(key.in_(ids), *self._old())).rowcount

    def _old(self) -> tuple[ColumnElement[bool], ...]:
        return self.table.c.deleted == true(), self.table.c.deleted_at < self.before, self.also


_NOTES: Final[dict[Table, tuple[Any, ...]]] = {tasks: (task_info.c.task_id,), image_locations: (copies.c.location_id,)}
"""What is known of a row in other tables. The numbers of locations may be given again."""


def of_children(before: datetime) -> Iterator[Purge]:
    """What ``db purge`` removes: all but the images themselves, whose ids would be free again (OSSN-0075)."""
    for table in (*CHILDREN, tasks):
        waits = table.c.status != PENDING_DELETE if table is image_locations else true()
        yield Purge(table, before, waits)


def of_images(before: datetime) -> Purge:
    """What ``db purge_images_table`` removes: images of which nothing is left in other tables."""
    left = or_(*(exists().where(table.c.image_id == images.c.id) for table in CHILDREN))
    return Purge(images, before, ~left & (images.c.status != PENDING_DELETE))


def count_held(connection: Connection, before: datetime) -> int:
    """How many images were deleted before then, but cannot go: something of them is left, or they wait."""
    old = images.c.deleted == true(), images.c.deleted_at < before
    every = int(connection.execute(select(func.count()).select_from(images).where(*old)).scalar_one())
    return every - of_images(before).count(connection)


Run = Callable[[Callable[[Connection], int]], int]


def purge_all(run: Run, purge: Purge, most: int | None, progress: Callable[[int], None]) -> int:
    """Remove all there is, or *most* rows, in transactions that *run* carries out; returns how many that were."""
    removed = 0
    while most is None or removed < most:
        size = BATCH if most is None else min(BATCH, most - removed)
        done = run(lambda connection, size=size: purge.remove(connection, size))  # type: ignore[misc]
        if done == 0:
            break
        removed += done
        progress(done)
    return removed
