"""The fixtures of the unit tests and the functional tests, on a private MariaDB or PostgreSQL.

So tests written for SQLite files are run on those as well: modules here import them by name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve

from glancetx.config.settings import DatabaseSettings, Settings
from glancetx.db.engine import Engine, transact
from tests.functional.conftest import api
from tests.functional.conftest import daemon as plain_daemon
from tests.functional.conftest import start as plain_start
from tests.running import Api, Daemon, Started
from tests.services.databases import SERVERS, DatabaseServer, prepared, wipe
from tests.services.postgresql import PostgreSql
from tests.unit.db.conftest import add_member, claims, count, images, new_image, process, rows

__all__ = [
    "add_member",
    "api",
    "claims",
    "count",
    "images",
    "new_image",
    "plain_daemon",
    "plain_start",
    "process",
    "rows",
]


@pytest.fixture(scope="session", params=["mariadb", "postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A running server."""
    server = SERVERS[request.param]()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def shared(server: DatabaseServer) -> DatabaseSettings:
    """A database that the tests use one after the other."""
    return prepared(server, "shared")


@pytest.fixture
def settings(shared: DatabaseSettings) -> DatabaseSettings:
    transact(shared, wipe)
    return shared


@pytest.fixture
def rank(server: DatabaseServer) -> Callable[[Any], Any]:
    """The key by which this database sorts."""
    if isinstance(server, PostgreSql):
        return lambda value: (value is None, value)
    # Letters are the same whatever their case and their accent.
    return lambda value: (value is not None, value.upper().replace("Ä", "A") if isinstance(value, str) else value)


@pytest_twisted.async_yield_fixture
async def engine(settings: DatabaseSettings) -> AsyncIterator[Engine]:
    from twisted.internet import reactor

    started = Engine(reactor, settings)
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
def start(plain_start: Started, settings: DatabaseSettings) -> Started:
    """Starts services, all on the same database."""

    async def start(configured: Settings, **parts: Any) -> Api:
        return await plain_start(evolve(configured, database=settings), **parts)

    return start


@pytest.fixture
def daemon(plain_daemon: Daemon, settings: DatabaseSettings) -> Daemon:
    """A daemon yet to be started."""
    plain_daemon.configure(f"""
        [database]
        connection = {settings.connection}
    """)
    return plain_daemon
