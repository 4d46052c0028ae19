"""The databases a service can run on, each as a server of the tests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import Connection, text

from glancetx.config.settings import DatabaseSettings
from glancetx.db import own_schema, schema
from glancetx.db.engine import transact
from glancetx.db.migrations import prepare
from tests.services.mariadb import MariaDb
from tests.services.postgresql import PostgreSql


class DatabaseServer(Protocol):
    """One of them. Its databases are named by their users; `url` is where SQLAlchemy finds one."""

    @property
    def pid(self) -> int | None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def remove(self) -> None: ...
    def create(self, database: str) -> None: ...
    def drop(self, database: str) -> None: ...
    def url(self, database: str) -> str: ...
    def run(self, statement: str) -> list[Any]: ...


class SqliteFiles:
    """No server at all: files in a folder."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="glancetx-sqlite-")

    @property
    def pid(self) -> int | None:
        return None

    def start(self) -> None:
        """There is nothing to start, or to stop."""

    stop = kill = start

    def remove(self) -> None:
        self._folder.cleanup()

    def create(self, database: str) -> None:
        """The first connection makes the file."""

    def drop(self, database: str) -> None:
        for path in Path(self._folder.name).glob(f"{database}.sqlite*"):
            path.unlink()

    def url(self, database: str) -> str:
        return f"sqlite:///{self._folder.name}/{database}.sqlite"

    def run(self, statement: str) -> list[Any]:
        raise NotImplementedError("there is no server to ask")


SERVERS: Final[Mapping[str, Callable[[], DatabaseServer]]] = {
    "sqlite": SqliteFiles,
    "mariadb": MariaDb,
    "postgresql": PostgreSql,
}


def prepared(server: DatabaseServer, database: str) -> DatabaseSettings:
    """A new database with all tables and no image."""
    server.create(database)
    settings = DatabaseSettings(connection=server.url(database))
    transact(settings, prepare)
    return settings


def wipe(connection: Connection) -> None:
    """Remove all rows but those that tell the version."""
    tables = [table for made in (own_schema, schema) for table in reversed(made.metadata.sorted_tables)]
    asked = ", ".join(f"EXISTS (SELECT 1 FROM {table.name})" for table in tables)  # most have none
    for table, filled in zip(tables, connection.execute(text(f"SELECT {asked}")).one(), strict=True):
        if filled and table is not schema.alembic_version:
            connection.execute(table.delete())
