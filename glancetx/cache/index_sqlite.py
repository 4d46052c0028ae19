"""The driver ``sqlite``: a small database in the cache's directory, as Glance has it (processes.md, P-073)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from zope.interface import implementer

from glancetx.domain.cached import CacheEntry
from glancetx.domain.errors import ConfigurationError, Conflict
from glancetx.interfaces import ICacheIndex
from glancetx.runtime.threads import Threads

PATIENCE: Final = 10.0
"""Seconds to wait for another process that writes."""
NOT_CENTRAL: Final = "Centralized caching is not enabled"

_TABLE: Final = """CREATE TABLE IF NOT EXISTS cached_images (
    image_id TEXT PRIMARY KEY, last_accessed REAL DEFAULT 0.0, last_modified REAL DEFAULT 0.0,
    size INTEGER DEFAULT 0, hits INTEGER DEFAULT 0, checksum TEXT)"""
_ADD: Final = """INSERT OR REPLACE INTO cached_images
    (image_id, last_accessed, last_modified, size, hits, checksum) VALUES (?, ?, ?, ?, ?, ?)"""
_HIT: Final = "UPDATE cached_images SET hits = hits + ?, last_accessed = ? WHERE image_id = ?"
_ALL: Final = """SELECT image_id, last_accessed, last_modified, size, hits, checksum FROM cached_images
    ORDER BY image_id"""


@implementer(ICacheIndex)
class SqliteIndex:
    """Keeps entries in the file at *path*; several processes may use it."""

    def __init__(self, path: Path, threads: Threads) -> None:
        self._path, self._threads = path, threads

    async def start(self) -> None:
        try:
            await self._do(_TABLE)
        except sqlite3.Error as error:
            raise ConfigurationError(f"The cache's database {self._path.name} cannot be used: {error}") from error

    async def add(self, entry: CacheEntry) -> None:
        await self._do(
            _ADD,
            entry.image_id,
            entry.last_accessed,
            entry.last_modified,
            entry.size,
            entry.hits,
            entry.checksum,
        )

    async def hit(self, image_id: str, times: int = 1) -> None:
        await self._do(_HIT, times, time.time(), image_id)

    async def remove(self, image_id: str) -> None:
        await self._do("DELETE FROM cached_images WHERE image_id = ?", image_id)

    async def clear(self) -> None:
        await self._do("DELETE FROM cached_images")

    async def entries(self) -> Sequence[CacheEntry]:
        return await self._threads.run(read, self._path)

    async def nodes(self, image_id: str) -> Sequence[str]:
        raise Conflict(NOT_CENTRAL)

    async def _do(self, statement: str, *values: object) -> None:
        await self._threads.run(_execute, self._path, statement, values)


@contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=PATIENCE)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def _execute(path: Path, statement: str, values: Sequence[object]) -> None:
    with _database(path) as connection:
        connection.execute(statement, values)


def read(path: Path) -> list[CacheEntry]:
    """All entries."""
    with _database(path) as connection:
        return [
            CacheEntry(
                image_id=image_id,
                size=size or 0,
                hits=hits or 0,
                last_accessed=accessed or 0.0,
                last_modified=modified or 0.0,
                checksum=checksum,
            )
            for image_id, accessed, modified, size, hits, checksum in connection.execute(_ALL)
        ]


def read_if_there(path: Path) -> list[CacheEntry]:
    """All entries; none if there is no such database."""
    if not path.is_file():
        return []
    try:
        return read(path)
    except sqlite3.Error:
        return []


def forget(path: Path, image_ids: Iterable[str]) -> None:
    """Remove these entries."""
    with _database(path) as connection:
        connection.executemany("DELETE FROM cached_images WHERE image_id = ?", [(each,) for each in image_ids])
