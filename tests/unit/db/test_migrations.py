"""A database is made at Glance's head, used as it is, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from glancetx.config.settings import DatabaseSettings
from glancetx.db import own_schema, schema
from glancetx.db.engine import transact
from glancetx.db.migrations import Need, look, prepare, versions
from glancetx.domain.errors import ConfigurationError
from glancetx.testing.database import write_database


@pytest.fixture
def new(tmp_path: Path) -> DatabaseSettings:
    """A database that does not exist yet."""
    return DatabaseSettings(connection=f"sqlite:///{tmp_path}/new.sqlite")


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def run(connection: Connection, *statements: str) -> list[Any]:
    result = None
    for statement in statements:
        result = connection.execute(text(statement))
    return list(result) if result is not None and result.returns_rows else []


def dump(connection: Connection) -> list[Any]:
    return run(connection, "SELECT name, sql FROM sqlite_master ORDER BY name")


def test_new(new: DatabaseSettings) -> None:
    """A new database has Glance's tables at its head, and ours."""
    assert transact(new, look).empty
    transact(new, prepare)
    found = transact(new, look)
    assert (found.glance, found.own) == (("2024_1_contract01",), (own_schema.OWN_HEAD,))
    assert transact(new, tables) == {
        *schema.metadata.tables, *own_schema.metadata.tables, own_schema.VERSION_TABLE
    }  # fmt: skip


def test_again(new: DatabaseSettings) -> None:
    """Preparing a database twice changes nothing."""
    transact(new, prepare)
    before = transact(new, dump)
    assert transact(new, prepare).current
    assert transact(new, dump) == before


def test_revisions_make_the_schema(settings: DatabaseSettings) -> None:
    """Our revisions, run one after the other, make the tables that own_schema tells of."""

    def differences(connection: Connection) -> list[Any]:
        options = {"include_name": lambda name, kind, parents: kind != "table" or name in own_schema.metadata.tables}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, own_schema.metadata))

    assert transact(settings, differences) == []


def test_first_version(new: DatabaseSettings) -> None:
    """A database of our first version, with work under way, is brought forward and loses nothing but an index."""
    later = [name for name in own_schema.metadata.tables if name not in ("glancetx_processes", "glancetx_claims")]
    transact(new, prepare)
    transact(
        new,
        run,
        *(f"DROP TABLE {name}" for name in later),
        *(f"ALTER TABLE glancetx_claims DROP COLUMN {name}" for name in ("owner", "reserved", "turn")),
        "INSERT INTO glancetx_claims VALUES ('1', 'upload', 'i', 'file', 'p')",
        "CREATE INDEX glancetx_owner_size ON images (owner, deleted, os_hidden, size, created_at, id)",
        f"UPDATE {own_schema.VERSION_TABLE} SET version_num = '0001'",
    )
    assert transact(new, look).need is Need.EXPAND
    transact(new, prepare)
    assert transact(new, look).current
    assert transact(new, run, "SELECT * FROM glancetx_claims") == [("1", "upload", "i", "file", "p", None, 0, None)]
    assert transact(new, run, "SELECT name FROM sqlite_master WHERE name = 'glancetx_owner_size'") == []


def test_every_step_can_be_taken_again() -> None:
    """Our revisions use our steps only: MariaDB commits in the middle of a revision."""
    for script in Path(versions.__path__[0]).glob("v*.py"):
        text_of_script = script.read_text()
        assert "alembic" not in text_of_script, script


def test_glance_only(settings: DatabaseSettings) -> None:
    """To a database that only Glance has used, our tables and indexes are added and nothing else."""
    drop = (*own_schema.metadata.tables, own_schema.VERSION_TABLE)
    transact(settings, run, *(f"DROP TABLE {name}" for name in drop))
    indexes = transact(settings, run, "SELECT name FROM sqlite_master WHERE name LIKE 'glancetx%'")
    transact(settings, run, *(f"DROP INDEX {name}" for (name,) in indexes))
    transact(settings, run, "INSERT INTO metadef_resource_types VALUES (1, 'kept', 0, '2026-01-01', NULL)")
    before = transact(settings, dump)
    assert transact(settings, look).need is Need.EXPAND
    transact(settings, prepare)
    assert [row for row in transact(settings, dump) if "glancetx" not in row[0]] == before
    assert len(transact(settings, run, "SELECT * FROM metadef_resource_types")) == 1
    assert transact(settings, look).need is Need.NOTHING


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE alembic_version SET version_num = '2023_1_contract01'",
        "UPDATE alembic_version SET version_num = '2024_1_expand01'",
        "INSERT INTO alembic_version VALUES ('2024_1_expand01')",
        "UPDATE alembic_version SET version_num = '2030_1_contract01'",
        "DELETE FROM alembic_version",
        "DROP TABLE alembic_version",
    ],
)
def test_other_revision(settings: DatabaseSettings, change: str) -> None:
    """Glance's tables at any other revision are refused, with advice, and not touched."""
    transact(settings, run, change)
    before = transact(settings, dump)
    with pytest.raises(ConfigurationError, match="glance-manage db sync"):
        transact(settings, prepare)
    assert transact(settings, dump) == before


def test_very_old(new: DatabaseSettings) -> None:
    """A database from before alembic is refused (D-005)."""
    transact(new, run, "CREATE TABLE migrate_version (version INTEGER)")
    with pytest.raises(ConfigurationError, match="glance-manage"):
        transact(new, prepare)


def test_later_glancetx(settings: DatabaseSettings) -> None:
    """A database whose own tables are of a later version is refused."""
    transact(settings, run, f"UPDATE {own_schema.VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="9999"):
        transact(settings, prepare)


def test_all_or_nothing(new: DatabaseSettings) -> None:
    """When preparing fails on its way, the database stays empty."""

    def fail(connection: Connection) -> None:
        prepare(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        transact(new, fail)
    assert transact(new, tables) == set()


def test_folder_with_percent(tmp_path: Path) -> None:
    """The place of the file may contain what configuration files give a meaning."""
    folder = tmp_path / "100%(x)s"
    folder.mkdir()
    assert transact(write_database(folder), look).current


def test_need() -> None:
    """Exit statuses are Glance's (D-008)."""
    assert [need.exit_status for need in (Need.NOTHING, Need.EXPAND, Need.OLD, Need.CONTRACT)] == [0, 3, 3, 5]
