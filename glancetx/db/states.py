"""How far imports are, for many images at once: what is asked again and again as long as somebody follows them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, select

from glancetx.db.dialects import alive
from glancetx.db.engine import Engine
from glancetx.db.schema import images, tasks
from glancetx.db.tasks import select_full, task_of
from glancetx.domain.following import ImportState
from glancetx.domain.task import API_IMAGE_IMPORT, Task


class ImportStates:
    """Of one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def of(self, image_ids: Collection[str]) -> dict[str, ImportState]:
        """By the ids of the images; those that are deleted are missing."""
        return await self._engine.read(_of, tuple(image_ids))


def _of(connection: Connection, image_ids: tuple[str, ...]) -> dict[str, ImportState]:
    last: dict[str | None, Task] = {}
    # The tasks first: an import that ends in between shows as going on once more, and not as one without its outcome.
    mine = select_full().where(tasks.c.image_id.in_(image_ids), tasks.c.type == API_IMAGE_IMPORT, alive(tasks))
    for row in connection.execute(mine.order_by(tasks.c.created_at, tasks.c.id)).mappings():
        task = task_of(row)
        last[task.image_id] = task
    found = connection.execute(select(images.c.id, images.c.status).where(images.c.id.in_(image_ids), alive(images)))
    return {
        row.id: ImportState(image_id=row.id, status=row.status, task=last.get(row.id))
        for row in found
        if row.id in image_ids
    }
