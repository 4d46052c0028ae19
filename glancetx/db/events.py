"""Events on their way to a broker: a row for each, written with the change that it tells of, removed when it is sent.

A row holds what Glance tells of images, which the database holds anyhow: no URL of a location, and no input of a task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from attrs import frozen
from sqlalchemy import Connection, delete, func, insert, select, update

from glancetx.db.claims import Process, is_dead
from glancetx.db.engine import Engine
from glancetx.db.own_schema import events, processes
from glancetx.db.telling import Transaction
from glancetx.domain.image import utc_now

AT_ONCE: Final = 500
"""Rows that one statement removes."""

_BEGINNING: Final = datetime(1970, 1, 1)
_INSERT: Final = insert(events)


@frozen
class KeptEvent:
    """A row: *key* sorts by time, *body* is the message."""

    key: str
    body: str


class Stamps:
    """Keys of events, for any thread: of those that one object gives the later is the greater; of several, about."""

    def __init__(self, process_id: str, now: Callable[[], datetime] = utc_now) -> None:
        self._suffix, self._now = process_id[:16], now
        self._last = 0
        self._lock = Lock()

    def next(self) -> str:
        with self._lock:
            self._last = max(self._last + 1, _microseconds(self._now()))
            return f"{self._last:016x}{self._suffix}"


def _microseconds(time: datetime) -> int:
    return (time - _BEGINNING) // timedelta(microseconds=1)


class EventRows:
    """The events of all processes on one database. *process* is the one that we are."""

    def __init__(self, engine: Engine, process: Process, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._process, self._now = engine, process, now

    def add(self, transaction: Transaction, kept: Sequence[KeptEvent]) -> None:
        """Within a transaction: keep these, to be sent by this process."""
        mine = self._process.id
        transaction.execute(_INSERT, [{"id": each.key, "process": mine, "body": each.body} for each in kept])

    async def oldest(self, limit: int) -> list[KeptEvent]:
        """The oldest that this process is to send."""
        return await self._engine.read(_oldest, self._process.id, limit)

    async def remove(self, keys: Sequence[str]) -> None:
        """These have been sent."""
        for start in range(0, len(keys), AT_ONCE):
            await self._engine.ensure(_remove, keys[start : start + AT_ONCE])

    async def adopt(self, limit: int) -> int:
        """Take over what dead processes were to send, the oldest first; returns how many, *limit* at most."""
        if not await self._engine.read(_orphaned, self._process, self._now()):
            return 0
        return await self._engine.ensure(_adopt, self._process, self._now(), limit)

    async def trim(self, most: int) -> int:
        """Drop the oldest if there are more than *most*; returns how many were dropped."""
        dropped = 0
        while (cut := await self._engine.read(_cut, most)) is not None:
            dropped += await self._engine.ensure(_drop, cut)
        return dropped


def count_events(connection: Connection) -> int:
    """Within a transaction: how many there are, of all processes."""
    return int(connection.execute(select(func.count()).select_from(events)).scalar_one())


def _oldest(connection: Connection, process: str, limit: int) -> list[KeptEvent]:
    mine = select(events.c.id, events.c.body).where(events.c.process == process)
    return [KeptEvent(row.id, row.body) for row in connection.execute(mine.order_by(events.c.id).limit(limit))]


def _remove(connection: Connection, keys: Sequence[str]) -> None:
    connection.execute(delete(events).where(events.c.id.in_(keys)))


def _orphaned(connection: Connection, here: Process, now: datetime) -> list[str]:
    """The dead processes that have events."""
    having = set(connection.execute(select(events.c.process).distinct()).scalars()) - {here.id}
    if not having:
        return []
    rows = connection.execute(select(processes).where(processes.c.id.in_(having))).mappings()
    return sorted(having - {row["id"] for row in rows if not is_dead(row, now, here)})


def _adopt(connection: Connection, here: Process, now: datetime, limit: int) -> int:
    theirs = events.c.process.in_(_orphaned(connection, here, now))
    oldest = select(events.c.id).where(theirs).order_by(events.c.id).limit(limit)
    keys = list(connection.execute(oldest).scalars())
    adopted = 0
    for start in range(0, len(keys), AT_ONCE):
        these = events.c.id.in_(keys[start : start + AT_ONCE])
        adopted += connection.execute(update(events).where(these, theirs).values(process=here.id)).rowcount
    return adopted


def _cut(connection: Connection, most: int) -> str | None:
    """The newest event that is one too many."""
    found: str | None = connection.execute(
        select(events.c.id).order_by(events.c.id.desc()).offset(most).limit(1)
    ).scalar()
    return found


def _drop(connection: Connection, cut: str) -> int:
    oldest = select(events.c.id).where(events.c.id <= cut).order_by(events.c.id).limit(AT_ONCE)
    keys = list(connection.execute(oldest).scalars())
    return connection.execute(delete(events).where(events.c.id.in_(keys))).rowcount
