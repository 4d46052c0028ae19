"""A fresh SQLite database behind a real engine for every test, and shorthands for what is kept in it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from sqlalchemy import Connection, insert, select, text

from glancetx.config.settings import DatabaseSettings
from glancetx.db.claims import Claims, Process, this_process
from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.schema import image_members
from glancetx.domain.image import Image, utc_now
from glancetx.testing.database import fresh_database, write_database


@pytest.fixture
def settings(tmp_path: Path) -> DatabaseSettings:
    """The settings of an empty database that no engine has opened."""
    return write_database(tmp_path)


@pytest_twisted.async_yield_fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """A started engine on an empty database."""
    from twisted.internet import reactor

    async with fresh_database(reactor, tmp_path) as started:  # type: ignore[arg-type]
        yield started


@pytest.fixture
def images(engine: Engine) -> Images:
    return Images(engine)


@pytest_twisted.async_yield_fixture
async def claims(engine: Engine, process: Process) -> AsyncIterator[Claims]:
    """Claims for which the process of the tests is registered."""
    made = Claims(engine)
    await made.register(process)
    yield made


@pytest.fixture
def process() -> Process:
    return this_process()


Rows = Callable[..., Awaitable[list[Any]]]


@pytest.fixture
def rows(engine: Engine) -> Rows:
    """Rows of a query in plain SQL."""

    def load(connection: Connection, statement: str, values: dict[str, Any]) -> list[Any]:
        return list(connection.execute(text(statement), values))

    async def query(statement: str, **values: Any) -> list[Any]:
        return await engine.interact(load, statement, values)

    return query


@pytest.fixture
def add_member(engine: Engine) -> Callable[..., Awaitable[None]]:
    """Share an image with a project."""

    def write(connection: Connection, image_id: str, member: str, status: str, deleted: bool) -> None:
        row = {"image_id": image_id, "member": member, "status": status, "deleted": deleted}
        connection.execute(insert(image_members).values(row | {"can_share": False, "created_at": utc_now()}))

    async def add(image: Image, member: str, status: str = "accepted", deleted: bool = False) -> None:
        await engine.interact(write, image.id, member, status, deleted)

    return add


@pytest.fixture
def rank() -> Callable[[Any], Any]:
    """The key by which this database sorts: without a value comes before any value."""
    return lambda value: (value is not None, value)


@pytest.fixture
def new_image() -> Callable[..., Image]:
    """An image record with an id of its own."""

    def make(**fields: Any) -> Image:
        return Image(**{"id": str(uuid.uuid4()), "owner": "ours", **fields})

    return make


@pytest.fixture
def count(engine: Engine) -> Callable[..., Awaitable[int]]:
    """How many rows a table has."""

    async def rows_of(table: Any) -> int:
        return len(await engine.read(lambda connection: connection.execute(select(table)).all()))

    return rows_of
