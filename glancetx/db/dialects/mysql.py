"""MariaDB and MySQL, through PyMySQL, whatever driver the URL names; also as a Galera cluster."""

from __future__ import annotations

import socket
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from glancetx.config.settings import DatabaseSettings
from glancetx.db.dialects.ending import commit_what_is_left
from glancetx.db.dialects.pools import Fault, Pool, Pools, share
from glancetx.db.dialects.tls_contexts import connections_of_one_context
from glancetx.domain.errors import ConfigurationError

CONNECT_TIMEOUT: Final = 5
"""Seconds for a connection to open, unless the URL says otherwise."""
LOCK_TIMEOUT: Final = 10
"""Seconds a statement waits for the row lock of another transaction; the server's own default is 50."""
IDLE_TIMEOUT: Final = 5
"""Seconds after which MariaDB ends a transaction in which nothing comes: a frozen process would keep rows locked."""

COLLISIONS: Final = frozenset({1020, 1205, 1213})
"""Changed since it was read (MariaDB), lock wait timeout, deadlock; the last is also what Galera says of a conflict."""
LOSSES: Final = frozenset(
    {1053, 1079, 1152, 1158, 1159, 1160, 1161, 1317, 1927, 2006, 2013, 2014, 2045, 2055, 3169, 4031}
)
"""The server shuts down, or has ended the connection, or the network has."""
VALUES: Final = frozenset({1264, 1267, 1270, 1271, 1300, 1366, 1406, 3140, 3988})
"""Out of range, not a character of the column's set, too long."""


def mysql_pools(url: URL, settings: DatabaseSettings) -> Pools:
    """Connections that write in transactions, and connections of which each statement is one.

    A reader's statement is a single round trip then; every read that must be consistent is one statement.
    """
    writing, reading = share(settings.max_pool_size)
    # READ COMMITTED: REPEATABLE READ locks gaps between rows, for which other transactions wait or die in deadlocks.
    writers = _engine(url, settings, "READ COMMITTED", several=True)
    readers = _engine(url, settings, "AUTOCOMMIT", several=False)
    commit_what_is_left(writers.dialect)
    return Pools(
        writers=Pool(engine=writers, size=writing, classify=classify, recycle=settings.recycle, together=16),
        readers=Pool(engine=readers, size=reading, classify=classify, recycle=settings.recycle),
    )


def _engine(url: URL, settings: DatabaseSettings, level: Any, *, several: bool) -> Engine:
    """*several*: a connection takes several statements at once (`takes_several`)."""
    url = url.set(drivername="mysql+pymysql")
    if "charset" not in url.query:
        url = url.update_query_dict({"charset": "utf8mb4"})
    timeout = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_TIMEOUT}
    engine = create_engine(url, poolclass=NullPool, isolation_level=level, connect_args=timeout)

    connected = connections_of_one_context()

    @event.listens_for(engine, "do_connect")
    def do_connect(dialect: Any, record: Any, arguments: Any, parameters: Any) -> Any:
        if several:
            _take_several(parameters)
        return connected(*arguments, **parameters)

    @event.listens_for(engine, "connect", insert=True)
    def connect(connection: Any, record: Any) -> None:
        watch(getattr(connection, "_sock", None))
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION {', '.join(session(connection.get_server_info(), settings))}")

    @event.listens_for(engine, "first_connect")
    def first_connect(connection: Any, record: Any) -> None:
        check_version(connection.get_server_info())

    return engine


def _take_several(parameters: dict[str, Any]) -> None:
    """A connection is asked to before it is opened."""
    from pymysql.constants import CLIENT

    parameters["client_flag"] = parameters.get("client_flag", 0) | CLIENT.MULTI_STATEMENTS


def session(version: str, settings: DatabaseSettings) -> list[str]:
    """What a connection to a server of that *version* is set to."""
    mariadb = "mariadb" in version.lower()
    # Strict, so that nothing is cut silently. MariaDB cuts the fraction of a second off a time; MySQL rounds it.
    modes = "TRADITIONAL" if mariadb else "TRADITIONAL,TIME_TRUNCATE_FRACTIONAL"
    words = [f"sql_mode = '{modes}'", f"innodb_lock_wait_timeout = {LOCK_TIMEOUT}"]
    # It reads all rows that are not deleted, to see which of them are among the few of an image. And what belongs to an
    # image is asked for once, so MariaDB makes tables for nothing that remember it.
    remembering = ",subquery_cache=off" if mariadb else ""
    words.append(f"optimizer_switch = 'index_merge_intersection=off{remembering}'")
    words.append(f"group_concat_max_len = {2**30}")  # what is aggregated is cut there
    if mariadb:
        words.append(f"idle_transaction_timeout = {IDLE_TIMEOUT}")
    if settings.wsrep_sync_wait is not None:
        words.append(f"wsrep_sync_wait = {int(settings.wsrep_sync_wait)}")
    return words


def check_version(version: str) -> None:
    """:raises ConfigurationError: if the server cannot aggregate rows as JSON."""
    # An old replication trick: MariaDB 10 calls itself "5.5.5-10.11.6-MariaDB".
    number = version.removeprefix("5.5.5-")
    release = tuple(int(part) for part in number.split("-")[0].split(".")[:2] if part.isdigit())
    mariadb = "mariadb" in version.lower()
    if release < ((10, 5) if mariadb else (8, 0)):
        raise ConfigurationError(f"The database server is {version}; MariaDB 10.5 or MySQL 8.0 is the oldest supported")


def watch(connected: object) -> None:
    """Notice within half a minute that the other host is gone; a slow answer from one that lives is waited for."""
    if isinstance(connected, socket.socket) and connected.family in (socket.AF_INET, socket.AF_INET6):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, 10),
            (socket.TCP_KEEPINTVL, 5),
            (socket.TCP_KEEPCNT, 3),
            (socket.TCP_USER_TIMEOUT, 25_000),
        ):
            connected.setsockopt(socket.IPPROTO_TCP, option, value)


def classify(error: Any) -> Fault | None:
    """What one of PyMySQL's errors means."""
    import pymysql

    code = error.args[0] if error.args else None
    if code in COLLISIONS:
        return Fault.COLLISION
    if code in LOSSES or (isinstance(error, pymysql.err.InterfaceError) and code == 0):
        return Fault.LOST
    if isinstance(error, pymysql.err.DataError) or code in VALUES:
        return Fault.VALUE
    if isinstance(error, (pymysql.err.OperationalError, pymysql.err.InterfaceError)):
        return Fault.UNAVAILABLE
    return None


def take_schema_lock(connection: Connection) -> bool:
    """Wait up to a minute until nobody else on this server prepares this database; tells whether that came."""
    return connection.exec_driver_sql(f"SELECT GET_LOCK({LOCK_NAME}, 60)").scalar() == 1


def drop_schema_lock(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT RELEASE_LOCK({LOCK_NAME})").scalar()


LOCK_NAME: Final = "CONCAT('glancetx.', MD5(DATABASE()))"
