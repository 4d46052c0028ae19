"""How far the surveyor has gone through each store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve, frozen
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from glancetx.db.engine import Engine
from glancetx.db.own_schema import walks
from glancetx.domain.image import utc_now


@frozen(kw_only=True)
class Walk:
    """One walk through *store*: the next page begins at *marker*. *before* is how many items the last walk has seen.

    It goes by its number: times have whole seconds in some databases, and walks may begin in the same one.
    """

    store: str
    number: int
    step: int
    marker: str
    seen: int
    began_at: datetime
    ended_at: datetime | None
    before: int

    def onward(self, marker: str, seen: int) -> Walk:
        """The same after a page of *seen* items."""
        return evolve(self, step=self.step + 1, marker=marker, seen=self.seen + seen)


class Walks:
    """The walks of all stores."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._now = engine, now

    async def due(self, store: str, period: float) -> Walk | None:
        """The walk that is to be gone on with, a new one if the last began *period* seconds ago; None: not yet."""
        return await self._engine.interact(_due, store, timedelta(seconds=period), self._now())

    async def last_seen(self, store: str) -> int:
        """How many items the last whole walk has seen."""
        return await self._engine.read(_last_seen, store)


def _due(connection: Connection, store: str, period: timedelta, now: datetime) -> Walk | None:
    walk = _load(connection, store)
    if walk is None:
        values = {"store": store, "number": 0, "step": 0, "marker": "", "seen": 0, "began_at": now, "before": 0}
        try:
            with connection.begin_nested():
                connection.execute(insert(walks).values(values))
        except IntegrityError:  # somebody else has just begun
            pass
        return _load(connection, store)
    if walk.ended_at is None:
        return walk
    if walk.began_at + period > now:
        return None
    begun: dict[str, Any] = {"number": walk.number + 1, "step": walk.step + 1, "marker": "", "seen": 0}
    begun |= {"began_at": now, "ended_at": None}
    connection.execute(update(walks).where(walks.c.store == store, walks.c.step == walk.step).values(begun))
    return _load(connection, store)


def _load(connection: Connection, store: str) -> Walk | None:
    row = connection.execute(select(walks).where(walks.c.store == store)).mappings().first()
    if row is None:
        return None
    return Walk(**row)


def _last_seen(connection: Connection, store: str) -> int:
    return connection.execute(select(walks.c.before).where(walks.c.store == store)).scalar() or 0


def advance(connection: Connection, walk: Walk, marker: str | None, seen: int, now: datetime) -> bool:
    """Within a transaction: a page of *seen* items was looked at. False if somebody else has done so already."""
    seen += walk.seen
    values: dict[str, object] = {"step": walk.step + 1, "seen": seen}
    values |= {"marker": marker} if marker is not None else {"marker": "", "ended_at": now, "before": seen}
    mine = update(walks).where(walks.c.store == walk.store, walks.c.step == walk.step, walks.c.ended_at.is_(None))
    return connection.execute(mine.values(values)).rowcount == 1
