"""What a database itself counts while it answers, which does not depend on what else the machine does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection

STEPS: Final = 10
"""Instructions of SQLite's machine that are counted at a time."""
UNITS: Final = {"sqlite": "instructions", "mysql": "rows", "postgresql": "rows"}
"""What is counted: instructions of SQLite's machine, or entries of indexes and rows of tables that were looked at."""

_PUSHED: Final = "Handler_icp_attempts"
"""Entries of an index that were looked at, and perhaps passed over, below the handler."""
_POSTGRESQL: Final = (
    "SELECT (SELECT COALESCE(SUM(seq_tup_read + COALESCE(idx_tup_fetch, 0)), 0) FROM pg_stat_user_tables)"
    " + (SELECT COALESCE(SUM(idx_tup_read), 0) FROM pg_stat_user_indexes)"
)


def counted(connection: Connection, work: Callable[[Connection], object]) -> int:
    """What *work* takes on a *connection* that only reads, and whose database nobody else uses."""
    name = connection.dialect.name
    if name == "sqlite":
        return _sqlite(connection, work)
    ask = {"mysql": _mariadb, "postgresql": _postgresql}[name]
    idle = -ask(connection) + ask(connection)
    before = ask(connection)
    work(connection)
    return ask(connection) - before - idle


def _sqlite(connection: Connection, work: Callable[[Connection], object]) -> int:
    calls = 0

    def count() -> int:
        nonlocal calls
        calls += 1
        return 0

    raw: Any = connection.connection.driver_connection
    raw.set_progress_handler(count, STEPS)
    try:
        work(connection)
    finally:
        raw.set_progress_handler(None, 0)
    return calls * STEPS


def _mariadb(connection: Connection) -> int:
    found = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_%%'").all()
    return sum(int(value) for name, value in found if name.startswith("Handler_read") or name == _PUSHED)


def _postgresql(connection: Connection) -> int:
    # Counts of a session are told to the others when a transaction has ended, and not at once.
    connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    return int(connection.exec_driver_sql(_POSTGRESQL).scalar_one())
