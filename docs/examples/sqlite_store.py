"""A store of image data that is complete and small: pieces in an SQLite database. docs/writing-a-store.md explains it.

Nobody should keep images like this; but whoever has a blocking client of some storage can begin here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.domain.errors import (
    ConfigurationError,
    Conflict,
    DataNotFound,
    SizeMismatch,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from glancetx.interfaces import IStore, Stored
from glancetx.runtime.threads import Threads
from glancetx.runtime.undo import undone_by
from glancetx.streams import Intake
from glancetx.streams.pulled import PulledSource

P = ParamSpec("P")
T = TypeVar("T")

TABLES: Final = """
create table if not exists images (id text primary key, attempt text not null, size integer not null);
create table if not exists pieces (
    image text, attempt text, offset integer, data blob not null, primary key (image, attempt, offset)
);
"""


@implementer(IStore)
class SqliteStore:
    """Keeps images in one database file. What is in ``pieces`` counts when ``images`` names its attempt."""

    scheme = "sqlite"
    random_access = True
    read_only = False

    def __init__(self, reactor: Any, path: Path, identifier: str = "sqlite") -> None:
        self.identifier = identifier
        self.url_prefix = f"sqlite://{identifier}/"
        self._path = path
        self._threads = Threads(reactor, identifier, 1)  # the connection is for one thread at a time
        self._connection: sqlite3.Connection | None = None

    async def start(self) -> None:
        self._threads.start()
        try:
            self._connection = await self._threads.run(connect, self._path)
        except sqlite3.Error as error:
            await self._threads.stop()
            raise ConfigurationError(f"{self._path} cannot be opened: {error}") from error

    async def stop(self) -> None:
        if self._connection is not None:
            await self._threads.run(self._connection.close)
        await self._threads.stop()

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        async with Intake(body) as intake, undone_by(self.discard, image_id, attempt):
            await self.run(check_free, image_id)
            size = 0
            while chunks := await intake.take():
                data = b"".join(chunks)
                check_size(body.length, size + len(data), ended=False)
                await self.run(write, image_id, attempt, size, data)
                size += len(data)
            check_size(body.length, size, ended=True)
            await self.run(publish, image_id, attempt, size)
        return Stored(url=self.url_prefix + image_id, size=size)

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        image_id = self._image(url)
        attempt, size = await self.run(find, image_id)
        rest = max(0, size - offset)
        return Pieces(self, image_id, attempt, offset, rest if length is None else min(length, rest))

    async def size(self, url: str) -> int:
        _, size = await self.run(find, self._image(url))
        return size

    async def delete(self, url: str) -> None:
        image_id = self._image(url)
        attempt, _ = await self.run(find, image_id)
        await self.run(remove, image_id, attempt)

    async def discard(self, image_id: str, attempt: str) -> None:
        await self.run(remove, image_id, attempt)

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call it in the thread, in a transaction. SQLite's errors become those that IStore names."""
        try:
            return await self._threads.run(lambda: self._call(function, *args, **kwargs))
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise StoreFull("The store has no room left") from error
            raise StoreUnavailable("The database does not work") from error

    def _call(self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        assert self._connection is not None
        with self._connection as connection:
            return function(connection, *args, **kwargs)

    def _image(self, url: str) -> str:
        if not url.startswith(self.url_prefix):
            raise DataNotFound("There is nothing at the location")
        return url.removeprefix(self.url_prefix)


class Pieces(PulledSource):
    """Delivers *length* bytes of an attempt's data from *offset* on."""

    def __init__(self, store: SqliteStore, image_id: str, attempt: str, offset: int, length: int) -> None:
        super().__init__(length)
        self._store, self._image_id, self._attempt, self._offset = store, image_id, attempt, offset

    async def send(self, consumer: IConsumer) -> None:
        at, end = self._offset, self._offset + self.length
        while at < end:
            data = await self._store.run(read, self._image_id, self._attempt, at)
            data = data[: end - at]
            at += len(data)
            await self.gate.passing()
            consumer.write(data)

    async def release(self) -> None:
        """Nothing is held between two reads."""


def check_size(announced: object, size: int, *, ended: bool) -> None:
    """:raises SizeMismatch: if so many bytes are more than were announced, or fewer in the end."""
    if isinstance(announced, int) and (size > announced or (ended and size < announced)):
        raise SizeMismatch(announced, size)


# What the store does in its thread


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("pragma synchronous = full")  # what is committed is on the disk
    connection.executescript(TABLES)
    return connection


def check_free(connection: sqlite3.Connection, image_id: str) -> None:
    if connection.execute("select 1 from images where id = ?", [image_id]).fetchone():
        raise Conflict("The image has data already")


def write(connection: sqlite3.Connection, image_id: str, attempt: str, offset: int, data: bytes) -> None:
    connection.execute("insert into pieces values (?, ?, ?, ?)", [image_id, attempt, offset, data])


def publish(connection: sqlite3.Connection, image_id: str, attempt: str, size: int) -> None:
    """One row makes the data visible. :raises Conflict: if another attempt was faster."""
    try:
        connection.execute("insert into images values (?, ?, ?)", [image_id, attempt, size])
    except sqlite3.IntegrityError as error:
        raise Conflict("The image has data already") from error


def find(connection: sqlite3.Connection, image_id: str) -> tuple[str, int]:
    """The attempt that counts, and how much it wrote."""
    row = connection.execute("select attempt, size from images where id = ?", [image_id]).fetchone()
    if row is None:
        raise DataNotFound("There is nothing at the location")
    return row[0], row[1]


def read(connection: sqlite3.Connection, image_id: str, attempt: str, at: int) -> bytes:
    """The bytes from *at* to the end of their piece. :raises StoreError: if there are none."""
    row = connection.execute(
        "select offset, data from pieces where image = ? and attempt = ? and offset <= ? order by offset desc limit 1",
        [image_id, attempt, at],
    ).fetchone()
    data = row[1][at - row[0] :] if row else b""
    if not data:
        raise StoreError(f"The stored data ends after {at} bytes")
    return bytes(data)


def remove(connection: sqlite3.Connection, image_id: str, attempt: str) -> None:
    connection.execute("delete from images where id = ? and attempt = ?", [image_id, attempt])
    connection.execute("delete from pieces where image = ? and attempt = ?", [image_id, attempt])
