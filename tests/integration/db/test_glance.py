"""A MariaDB and a PostgreSQL, opened by a real Glance 33 and by us, in either order."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from sqlalchemy import Connection, text

from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import Engine, transact
from glancetx.db.images import Images
from glancetx.db.migrations import look, prepare
from glancetx.domain.image import Location
from tests.integration.purging import compare_purges
from tests.integration.test_glance_database import (
    ADMIN,
    FILTERS,
    Filters,
    Glance,
    find_venv,
    full,
    test_deleted_by_either,
    test_older_is_refused,
    test_same_lists,
    test_taking_turns,
    test_they_read_ours,
    test_we_read_theirs,
)
from tests.services.databases import DatabaseServer, wipe
from tests.services.mariadb import MariaDb

__all__ = [
    "test_deleted_by_either",
    "test_older_is_refused",
    "test_same_lists",
    "test_taking_turns",
    "test_they_read_ours",
    "test_we_read_theirs",
]

Dump = dict[str, set[Any]]


def glance_on(server: DatabaseServer, database: str, folder: Path) -> Glance:
    """A Glance that keeps its images in *database*, which does not exist yet."""
    server.create(database)
    url = server.url(database).replace("+psycopg:", "+psycopg2:")  # what Glance knows
    config = folder / f"{database}.conf"
    config.write_text(f"[database]\nconnection = {url}\n")
    return Glance(find_venv(), config, DatabaseSettings(connection=url))


def sync(glance: Glance) -> None:
    done = glance.manage("db", "sync")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def glance(server: DatabaseServer, tmp_path: Path) -> Iterator[Glance]:
    """A Glance with an empty database of its own."""
    name = f"g{uuid.uuid4().hex}"
    yield glance_on(server, name, tmp_path)
    server.drop(name)


@pytest.fixture(scope="session")
def once_synced(server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Glance:
    glance = glance_on(server, "synced", tmp_path_factory.mktemp("synced"))
    sync(glance)
    transact(glance.settings, prepare)
    return glance


@pytest.fixture
def synced(once_synced: Glance) -> Glance:
    """A Glance whose tables it has made itself; ours are there too."""
    transact(once_synced.settings, wipe)
    return once_synced


@pytest.fixture
def filters() -> Filters:
    """Not what is no number: that Glance finds as 0 in MariaDB, and fails in PostgreSQL."""
    return tuple((ours, theirs) for ours, theirs in FILTERS if theirs != {"size": "zero"})


@pytest.fixture
def settings(synced: Glance) -> DatabaseSettings:
    return synced.settings


def dump(connection: Connection) -> Dump:
    """All that the database knows of Glance's tables; not the indexes that are ours."""
    return dump_mysql(connection) if connection.dialect.name == "mysql" else dump_postgresql(connection)


def rows(connection: Connection, statement: str) -> list[Any]:
    return [tuple(row) for row in connection.execute(text(statement))]


def dump_mysql(connection: Connection) -> Dump:
    found: Dump = {}
    for (name,) in rows(connection, "SHOW TABLES"):
        if not name.startswith("glancetx"):
            ((_, created),) = rows(connection, f"SHOW CREATE TABLE {name}")
            lines = {line.strip(" ,") for line in re.sub(r"AUTO_INCREMENT=\d+ ", "", created).split("\n")}
            # Glance's images have two checks left that its first schema made by the way: booleans are 0 or 1.
            lines = {line for line in lines if not (name == "images" and "CHECK (" in line)}
            found[name] = {line for line in lines if not line.startswith("KEY `glancetx_")}
    return found


def dump_postgresql(connection: Connection) -> Dump:
    found: Dump = {}
    queries = (
        "SELECT table_name, column_name, data_type, udt_name, character_maximum_length, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_schema = 'public'",
        "SELECT tablename, indexdef, 'index' FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid != 0",
    )
    for query in queries:
        for table, *facts in rows(connection, query):
            if not table.startswith(("glancetx", "pg_", "information_schema")) and "glancetx" not in facts[0]:
                found.setdefault(table, set()).add(tuple(facts))
    found["enums"] = set(
        rows(connection, "SELECT typname, enumlabel FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid")
    )
    return found


def test_schemas_agree(glance: Glance, once_synced: Glance) -> None:
    """Our tables are Glance's: columns, types, defaults, keys, indexes, names; and Glance finds nothing to do."""
    transact(glance.settings, prepare)
    ours, theirs = transact(glance.settings, dump), transact(once_synced.settings, dump)
    assert ours.keys() == theirs.keys()
    for name, table in theirs.items():
        assert ours[name] == table, name
    sync(glance)
    assert glance.manage("db", "version").stdout.strip() == "2024_1_contract01"
    assert transact(glance.settings, dump) == ours
    assert transact(glance.settings, look).current


def test_checked(glance: Glance, once_synced: Glance, server: DatabaseServer) -> None:
    """``glance-manage db check`` is content with a database that we made, and one that we opened."""
    transact(glance.settings, prepare)
    for each in (glance, once_synced):
        checked = each.manage("db", "check")
        if isinstance(server, MariaDb):
            assert checked.returncode == 0, checked.stdout + checked.stderr
        else:  # it knows no upgrades of PostgreSQL in steps
            assert "only for MySQL" in checked.stdout + checked.stderr


def test_begun_and_left(glance: Glance) -> None:
    """If a process dies while it makes the tables, in whichever of them, the next one makes the rest."""

    def lose(connection: Connection, tables: list[str]) -> None:
        connection.execute(text("DELETE FROM alembic_version"))
        connection.execute(text("DELETE FROM glancetx_alembic_version"))
        for table in tables:
            connection.execute(text(f"DROP TABLE {table}"))

    transact(glance.settings, prepare)
    whole = transact(glance.settings, dump)
    for tables in ([], ["glancetx_claims"], ["image_tags", "image_properties", "task_info", "glancetx_claims"]):
        transact(glance.settings, lose, tables)
        transact(glance.settings, prepare)
        assert transact(glance.settings, look).current
        assert transact(glance.settings, dump) == whole


@pytest_twisted.ensureDeferred
async def test_revived_by_glance(synced: Glance, engine: Engine, images: Images) -> None:
    """A property that Glance removed under another case is ours to revive, and what we revive is Glance's to read."""
    image = await images.create(full(status="queued", properties={"x": "1"}))
    synced.call("image_update", image.id, {"properties": {}}, purge_props=True)
    found = await images.get(ADMIN, image.id)
    await images.save(evolve(found, properties={"X": "2"}), was="queued")
    shown = synced.call("image_get", image.id)["properties"]
    assert [(each["name"], each["value"]) for each in shown if not each["deleted"]] == [("X", "2")]


@pytest_twisted.ensureDeferred
async def test_numbers(synced: Glance, images: Images) -> None:
    """Rows get their numbers from the database: neither of us gives one that the other has given (D-088)."""
    ours = await images.create(full(locations=(Location(url="file:///a"), Location(url="file:///b"))))
    for _ in range(3):
        synced.call("image_update", ours.id, {"properties": {f"{uuid.uuid4()}": "1"}})
    after = await images.create(full(locations=(Location(url="file:///c"),)))
    assert after.locations[0].id not in {place.id for place in ours.locations}


def test_same_purge(synced: Glance) -> None:
    """Our purge leaves what Glance's leaves, with the same limits."""
    compare_purges(synced)
