"""SQLite: a file, opened by any number of processes of one machine."""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from glancetx.config.settings import DatabaseSettings
from glancetx.db.dialects.pools import Fault, Pool, Pools
from glancetx.domain.errors import ConfigurationError

BUSY_TIMEOUT: Final = 30.0
"""Seconds a process waits for another's write to the same SQLite file."""


def sqlite_pools(url: URL, settings: DatabaseSettings) -> Pools:
    """One connection that writes, the rest read.

    SQLite has one writer at a time. If writers waited for each other in all the threads, reads would wait with them;
    in WAL mode nothing else makes a read wait.

    :raises ConfigurationError: if the URL names no file.
    """
    if url.database in (None, "", ":memory:"):
        raise ConfigurationError("[database] connection: SQLite needs a file; its memory is not shared by connections")
    size = max(1, settings.max_pool_size - 1)
    readers = Pool(engine=_sqlite_engine(url, "BEGIN"), size=size, classify=classify)
    # IMMEDIATE takes the write lock first, so that no transaction fails in its middle because another process wrote.
    writers = Pool(engine=_sqlite_engine(url, "BEGIN IMMEDIATE"), size=1, classify=classify, together=16)
    _on_connect(readers.engine, "PRAGMA query_only = ON")
    return Pools(writers=writers, readers=readers)


def classify(error: Exception) -> Fault | None:
    """What one of sqlite3's errors means."""
    return Fault.UNAVAILABLE if isinstance(error, (sqlite3.OperationalError, sqlite3.InterfaceError)) else None


def _sqlite_engine(url: URL, begin: str) -> Engine:
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT})

    @event.listens_for(engine, "connect")
    def connect(dbapi_connection: sqlite3.Connection, record: Any) -> None:
        dbapi_connection.isolation_level = None  # the driver must not begin transactions of its own making
        _enter_wal(dbapi_connection)
        # FULL: what was acknowledged survives a power failure.
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "temp_store = MEMORY"):
            dbapi_connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        raw.execute(begin)

    return engine


def _on_connect(engine: Engine, statement: str) -> None:
    @event.listens_for(engine, "connect")
    def connect(dbapi_connection: sqlite3.Connection, record: Any) -> None:
        dbapi_connection.execute(statement)


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Turn on the write-ahead log, which the file remembers.

    The change does not wait for other processes' locks as statements do, so it is tried until they are gone.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
