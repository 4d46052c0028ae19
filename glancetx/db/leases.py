"""What one process does for all of them: who holds which lease."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from zope.interface import implementer

from glancetx.db.claims import Process, is_dead
from glancetx.db.engine import Engine
from glancetx.db.own_schema import leases, processes
from glancetx.domain.image import utc_now
from glancetx.interfaces import Held, ILeases


@implementer(ILeases)
class Leases:
    """The leases of all processes on one database. A lease is as alive as the process that holds it (`Claims`)."""

    def __init__(self, engine: Engine, process: Process, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._process, self._now = engine, process, now

    async def hold(self, names: Collection[str]) -> Held:
        """One statement that only reads, as long as nothing changes hands."""
        if not names:
            return Held(frozenset(), 0.0)
        look = self.look(names)
        rows = await self._engine.read(look.rows)
        if len(rows) < len(look.names) or any(look.is_free(row) for row in rows):
            return await self._engine.interact(look.take)
        return look.held({row["name"] for row in rows if row["holder"] == self._process.id}, rows[0]["ours_until"])

    def look(self, names: Collection[str]) -> Look:
        """What `hold` does in the database, at this moment of our clock."""
        return Look(self._process, tuple(sorted(names)), self._now())

    async def release(self, names: Collection[str]) -> None:
        await self._engine.ensure(_release, tuple(names), self._process.id)

    async def stop(self) -> None:
        """Nothing is kept here."""


class Look:
    """One look of a process at the leases it wants, at a time of its clock."""

    def __init__(self, process: Process, names: tuple[str, ...], now: datetime) -> None:
        self.names = names
        self._process, self._now = process, now

    def rows(self, connection: Connection) -> list[RowMapping]:
        """Each lease that somebody has, with what is known of its holder, and how long we are taken to live."""
        ours = select(processes.c.expires_at).where(processes.c.id == self._process.id).scalar_subquery()
        columns = (leases.c.name, leases.c.process.label("holder"), *processes.c, ours.label("ours_until"))
        holders = leases.outerjoin(processes, processes.c.id == leases.c.process)
        wanted = select(*columns).select_from(holders).where(leases.c.name.in_(self.names))
        return list(connection.execute(wanted).mappings())

    def is_free(self, row: Any) -> bool:
        """Whether another process has it that is dead, or forgotten."""
        if row["holder"] == self._process.id:
            return False
        return row["id"] is None or is_dead(_process_of(row), self._now, self._process)

    def take(self, connection: Connection) -> Held:
        """Within a transaction: take what is free."""
        until = connection.execute(select(processes.c.expires_at).where(processes.c.id == self._process.id)).scalar()
        if until is None or until <= self._now:  # for others we are dead, and they would take it again at once
            return Held(frozenset(), 0.0)
        rows = {row["name"]: row for row in self.rows(connection)}
        # Always in the order of their names, so that no two wait for each other.
        return self.held({name for name in self.names if self.inherit(connection, name, rows.get(name))}, until)

    def held(self, names: Collection[str], until: datetime | None) -> Held:
        seconds = 0.0 if until is None else (until - self._now).total_seconds()
        return Held(frozenset(names), seconds) if seconds > 0 else Held(frozenset(), 0.0)

    def inherit(self, connection: Connection, name: str, row: RowMapping | None) -> bool:
        """Within a transaction: take one of which *row* was seen, if that still is so; whether it is ours."""
        ours = self._process.id
        if row is None:
            try:
                with connection.begin_nested():
                    connection.execute(insert(leases).values(name=name, process=ours))
            except IntegrityError:  # somebody was faster
                return False
            return True
        if row["holder"] == ours:
            return True
        if not self.is_free(row) or not self._stays_dead(connection, row):
            return False
        inherited = update(leases).where(leases.c.name == name, leases.c.process == row["holder"]).values(process=ours)
        return connection.execute(inherited).rowcount == 1

    def _stays_dead(self, connection: Connection, row: RowMapping) -> bool:
        """False if it has said meanwhile that it lives; if it has not, it cannot before we have committed."""
        if row["id"] is None or is_dead(_process_of(row), datetime.min, self._process):
            return True  # forgotten, with all it had; or gone from this host
        late = update(processes).where(processes.c.id == row["holder"], processes.c.expires_at < self._now)
        return connection.execute(late.values(expires_at=processes.c.expires_at)).rowcount == 1


def _process_of(row: RowMapping) -> dict[str, Any]:
    return {column.name: row[column.name] for column in processes.c}


def _release(connection: Connection, names: Collection[str], process_id: str) -> None:
    connection.execute(delete(leases).where(leases.c.name.in_(names), leases.c.process == process_id))
