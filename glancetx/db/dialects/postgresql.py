"""PostgreSQL, through psycopg 3, whatever driver the URL names."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import URL, Engine, NullPool, create_engine, event

from glancetx.config.settings import DatabaseSettings
from glancetx.db.dialects.pools import Fault, Pool, Pools, share

OPTIONS: Final = {
    "connect_timeout": "5",
    # Notice within half a minute that the other host is gone.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
"""libpq's parameters, unless the URL says otherwise."""
LOCK_TIMEOUT: Final = 10
"""Seconds a statement waits for the row lock of another transaction; the server's own default is for ever."""
IDLE_TIMEOUT: Final = 5
"""Seconds after which a transaction in which nothing comes is ended: the process may be frozen, with rows locked."""

COLLISIONS: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock timeout."""
READ_ONLY: Final = "25006"
"""The server became a standby: a new connection may find the one that is not."""


def postgresql_pools(url: URL, settings: DatabaseSettings) -> Pools:
    """Connections that write in transactions, and connections of which each statement is one.

    A reader's statement is a single round trip then; every read that must be consistent is one statement.
    """
    writing, reading = share(settings.max_pool_size)
    writers, readers = (_engine(url, level) for level in ("READ COMMITTED", "AUTOCOMMIT"))
    _read_in_order(readers)
    return Pools(
        writers=Pool(engine=writers, size=writing, classify=classify, recycle=settings.recycle, together=8),
        readers=Pool(engine=readers, size=reading, classify=classify, recycle=settings.recycle),
    )


def _engine(url: URL, level: Any) -> Engine:
    url = url.set(drivername="postgresql+psycopg")
    defaults = {name: value for name, value in OPTIONS.items() if name not in url.query}
    engine = create_engine(url, poolclass=NullPool, isolation_level=level, connect_args=defaults)

    @event.listens_for(engine, "connect", insert=True)
    def connect(connection: Any, record: Any) -> None:
        # Not as libpq's options, which poolers such as PgBouncer do not know.
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}s'")
        connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}s'")
        connection.commit()

    return engine


def _read_in_order(engine: Engine) -> None:
    """By indexes, row by row: bitmaps and scans read all there is, say of a visibility, for the first few of a list."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        for option in ("enable_bitmapscan", "enable_seqscan", "jit"):  # which would compile what seems so dear then
            connection.execute(f"SET {option} = off")
        connection.execute("SET random_page_cost = 1.1")  # as for a database in memory, or on a disk that does not turn
        connection.commit()


def classify(error: Any) -> Fault | None:
    """What one of psycopg's errors means."""
    import psycopg

    state = error.sqlstate
    if state in COLLISIONS:
        return Fault.COLLISION
    if _is_lost(state):
        return Fault.LOST
    if isinstance(error, psycopg.DataError):
        return Fault.VALUE
    if isinstance(error, psycopg.OperationalError):
        return Fault.LOST if state is None else Fault.UNAVAILABLE  # libpq's own errors have no state
    if isinstance(error, psycopg.InterfaceError) or state == READ_ONLY:
        return Fault.UNAVAILABLE
    return None


def _is_lost(state: str | None) -> bool:
    """Connection errors, an operator who ends the session or the server (57P01 to 57P05), and the idle timeout."""
    return state is not None and state.startswith(("08", "57P0", "25P03"))
