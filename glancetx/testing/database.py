"""A fresh database for a test: a real SQLite file behind a real engine."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from twisted.internet.interfaces import IReactorFromThreads

from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import Engine, transact
from glancetx.db.migrations import prepare


@cache
def empty_database() -> bytes:
    """The content of an SQLite file with all tables and no image; made once, since making it takes a while."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "empty.sqlite")
        transact(DatabaseSettings(connection=f"sqlite:///{path}"), prepare)
        return path.read_bytes()


def write_database(folder: Path) -> DatabaseSettings:
    """Write an empty database into *folder*; returns the settings to open it with."""
    path = folder / "glancetx.sqlite"
    path.write_bytes(empty_database())
    return DatabaseSettings(connection=f"sqlite:///{path}")


@asynccontextmanager
async def fresh_database(reactor: IReactorFromThreads, folder: Path) -> AsyncIterator[Engine]:
    """An engine on an empty database in *folder*, started; it is stopped at the end."""
    engine = Engine(reactor, write_database(folder))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()
