"""Bringing a database to the schema we need.

Glance's own revisions are not ours: an empty database is made at Glance's head, one that is there already is used,
any other is refused, for `glance-manage db sync` to bring forward. Our own tables have a version table of their own
and are brought forward here. It happens once if several processes begin together.

Everything happens in the caller's transaction, so whole or not at all; but MariaDB and MySQL commit at each change of a
table. There a process that dies leaves a part, and the next one passes over what it finds: a new database is marked by
our version table first and by Glance's version last, and our own revisions are made of `steps`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from attrs import frozen
from sqlalchemy import Connection, String, column, delete, insert, inspect, select, table
from sqlalchemy.schema import CreateTable

from glancetx.db import schema
from glancetx.db.dialects import lock_schema
from glancetx.db.own_schema import OWN_HEAD, VERSION_TABLE, own_version
from glancetx.db.schema import GLANCE_HEAD, alembic_version
from glancetx.domain.errors import ConfigurationError

GLANCE_EXPANDED = GLANCE_HEAD.replace("contract", "expand")


class Need(Enum):
    """What a database lacks."""

    NOTHING = "nothing"
    EXPAND = "tables"  # `prepare` makes them
    OLD = "a newer Glance"
    CONTRACT = "the second half of Glance's upgrade"

    @property
    def exit_status(self) -> int:
        """What ``db check`` exits with (D-008)."""
        return {Need.NOTHING: 0, Need.CONTRACT: 5}.get(self, 3)


@frozen
class Revisions:
    """The rows of both version tables; None where the table does not exist. *tables*: whether Glance's exist."""

    glance: tuple[str, ...] | None
    own: tuple[str, ...] | None
    tables: bool

    @property
    def empty(self) -> bool:
        """Whether there is nothing of Glance in this database."""
        return not self.glance and not self.tables

    @property
    def begun(self) -> bool:
        """Whether somebody died while making it."""
        return not self.glance and self.own == ()

    @property
    def current(self) -> bool:
        return self.glance == (GLANCE_HEAD,) and self.own == (OWN_HEAD,)

    @property
    def need(self) -> Need:
        if self.current:
            return Need.NOTHING
        if self.glance == (GLANCE_HEAD,) or self.empty or self.begun:
            return Need.EXPAND
        return Need.CONTRACT if GLANCE_EXPANDED in (self.glance or ()) else Need.OLD


def look(connection: Connection) -> Revisions:
    """What revisions the database has."""
    names = set(inspect(connection).get_table_names())
    return Revisions(
        glance=_versions(connection, "alembic_version", names),
        own=_versions(connection, VERSION_TABLE, names),
        tables="images" in names or "migrate_version" in names,
    )


def prepare(connection: Connection) -> Revisions:
    """Make the database fit for use; changes nothing if it is. Returns what was found before.

    :raises ConfigurationError: if Glance's tables are there at another revision, or ours at a later one.
    """
    found = look(connection)
    if found.current:
        return found
    with lock_schema(connection):
        found = look(connection)  # somebody else may have been at it meanwhile
        if found.empty or found.begun:
            _create(connection)
        elif found.glance != (GLANCE_HEAD,):
            raise ConfigurationError(
                f"The database is at Glance's revision {_text(found.glance)}, not {GLANCE_HEAD}: "
                "run glance-manage db sync of Glance 30 to 33 first"
            )
        _upgrade_own(connection, found.own or ())
    return found


def mark(connection: Connection) -> None:
    """Write Glance's revision into a database that has the tables of it, but says nothing, or something else.

    :raises ConfigurationError: if a table or a column is not there: it is not at that revision.
    """
    with lock_schema(connection):
        found = inspect(connection)
        names = set(found.get_table_names())
        for each in schema.metadata.sorted_tables:
            columns = {column["name"] for column in found.get_columns(each.name)} if each.name in names else set()
            if each is not alembic_version and not columns.issuperset(each.columns.keys()):
                raise ConfigurationError(f"The table {each.name} is not that of Glance's revision {GLANCE_HEAD}")
        alembic_version.create(connection, checkfirst=True)
        connection.execute(delete(alembic_version))
        connection.execute(insert(alembic_version).values(version_num=GLANCE_HEAD))


def _create(connection: Connection) -> None:
    """Glance's tables; not those that are there already."""
    connection.execute(CreateTable(own_version, if_not_exists=True))
    schema.create_all(connection)
    connection.execute(insert(alembic_version).values(version_num=GLANCE_HEAD))


def _upgrade_own(connection: Connection, present: Sequence[str]) -> None:
    from alembic import command  # late: takes a while to import, and a current database never needs it
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if not known.issuperset(present):
        raise ConfigurationError(f"The database was made by a later glancetx: its revision is {_text(present)}")
    command.upgrade(config, "head")


def _versions(connection: Connection, name: str, names: set[str]) -> tuple[str, ...] | None:
    if name not in names:
        return None
    rows = connection.execute(select(column("version_num", String)).select_from(table(name)))
    return tuple(sorted(row[0] for row in rows))


def _text(revisions: Sequence[str] | None) -> str:
    return ", ".join(revisions) if revisions else "(none)"
