"""``db purge`` by us and by a real glance-manage, on the same rows: what remains must be the same (D-071)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from click.testing import CliRunner
from sqlalchemy import Connection, Table, insert, select

from glancetx.cli.manage import main
from glancetx.db.engine import transact
from glancetx.db.schema import image_locations, image_members, image_properties, image_tags, images, task_info, tasks
from glancetx.domain.image import utc_now
from tests.bench.catalogue import fill
from tests.integration.test_glance_database import Glance
from tests.services.databases import wipe

TABLES: Final = (images, image_properties, image_tags, image_locations, image_members, tasks, task_info)
# Of rows that were deleted at the same time, either may take any first: an image has four properties.
COMMANDS: Final[tuple[tuple[str, ...], ...]] = (
    ("purge", "--age_in_days", "70", "--max_rows", "4"),
    ("purge", "--age_in_days", "40", "--max_rows", "-1"),
    ("purge_images_table", "--max_rows", "7"),
)

Dump = dict[str, list[tuple[Any, ...]]]


def write_rows(connection: Connection) -> None:
    """Images of all kinds, each of those that are deleted at a day of its own; and as many tasks."""
    wipe(connection)
    fill(connection, 300)
    deleted = select(images.c.id).where(images.c.deleted).order_by(images.c.created_at)
    ended = connection.execute(deleted).scalars().all()
    assert len(ended) > 20
    for number, image_id in enumerate(ended):
        moment = utc_now().replace(microsecond=0) - timedelta(days=10 * number, hours=1)
        for table in (images, image_properties, image_tags, image_locations, image_members):
            key = table.c.id if table is images else table.c.image_id
            connection.execute(table.update().where(key == image_id).values(deleted_at=moment))
        life = {"created_at": moment, "deleted_at": moment, "deleted": True}
        task = {"id": f"task {number}", "type": "import", "status": "success", "owner": "o", **life}
        connection.execute(insert(tasks).values(task))
        connection.execute(insert(task_info).values(task_id=task["id"], message="m"))


def dump(connection: Connection) -> Dump:
    return {table.name: sorted(tuple(map(str, row)) for row in connection.execute(select(table))) for table in TABLES}


def restore(connection: Connection, rows: dict[Table, list[dict[str, Any]]]) -> None:
    wipe(connection)
    for table, values in rows.items():
        if values:
            connection.execute(insert(table), values)


def keep(connection: Connection) -> dict[Table, list[dict[str, Any]]]:
    return {table: [dict(row) for row in connection.execute(select(table)).mappings()] for table in TABLES}


def compare_purges(glance: Glance) -> None:
    """After each command, one after the other, the same rows are left."""
    settings = glance.settings
    transact(settings, write_rows)
    rows = transact(settings, keep)
    theirs = []
    for command in COMMANDS:
        done = glance.manage("db", *command)
        assert done.returncode == 0, done.stderr
        theirs.append(transact(settings, dump))
    transact(settings, restore, rows)
    for command, expected in zip(COMMANDS, theirs, strict=True):
        purge(glance, *command)
        assert transact(settings, dump) == expected, command
    assert len({len(step["images"]) for step in theirs}) == 2
    assert len({len(step["image_tags"]) for step in theirs}) == 2


def purge(glance: Glance, *command: str) -> None:
    done = CliRunner().invoke(main, ["--config-file", str(glance.config), "db", *command])
    assert done.exit_code == 0, done.output
