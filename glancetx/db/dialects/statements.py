"""What is done to a connection differently by each database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Dialect

from glancetx.db.dialects.mysql import drop_schema_lock, take_schema_lock
from glancetx.domain.errors import DatabaseUnavailable

SCHEMA_LOCK: Final = 0x676C616E63657478  # "glancetx"


@contextmanager
def lock_schema(connection: Connection) -> Iterator[None]:
    """Within a transaction that writes: until it ends, nobody else changes the tables by our means.

    :raises DatabaseUnavailable: if somebody else takes longer than a minute.
    """
    name = connection.dialect.name
    if name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
    if name != "mysql":  # SQLite's transactions that write are alone anyway
        yield
        return
    if not take_schema_lock(connection):
        raise DatabaseUnavailable("Another process has been preparing the database for a minute")
    try:
        yield
    finally:
        drop_schema_lock(connection)


def as_kept(connection: Connection, time: datetime) -> datetime:
    """*time* as this database keeps it: Glance's columns in MySQL have no fraction of a second."""
    return time.replace(microsecond=0) if connection.dialect.name == "mysql" else time


def reads_what_it_locked(dialect: Dialect) -> bool:
    """Whether a statement that locks a row, and had to wait for it, reads all else as it is when it has the lock.

    InnoDB does, where statements are READ COMMITTED: it first looks at what needs no lock when it has the row.
    PostgreSQL reads what was there when the statement began. SQLite waits before.
    """
    return dialect.name != "postgresql"


def takes_several(dialect: Dialect) -> bool:
    """Whether connections that write take several statements, with ``;`` between them, in one go."""
    return dialect.name == "mysql"


STOPPED: Final = (1028, 1931)
"""What MariaDB says if it has looked at as many rows as it was allowed to: an error while it sorts, else a warning."""


def stopped(connection: Connection, cursor: Any) -> bool:
    """Whether the last query, which was *cursor*'s, did not go on (`counts_what_it_reads`)."""
    if not getattr(cursor, "warning_count", 0):
        return False
    return any(code in STOPPED for _, code, _ in connection.exec_driver_sql("SHOW WARNINGS"))


def is_stop(error: Exception) -> bool:
    """Whether it is the same that *error* tells."""
    return getattr(error, "orig", error).args[:1] == STOPPED[:1]
