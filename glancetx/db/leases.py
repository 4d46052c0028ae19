"""What one process does for all of them: who holds which lease."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from glancetx.db.claims import Process, is_dead
from glancetx.db.engine import Engine
from glancetx.db.own_schema import leases, processes
from glancetx.domain.image import utc_now


class Leases:
    """The leases of all processes on one database. A lease is as alive as the process that holds it (`Claims`)."""

    def __init__(self, engine: Engine, process: Process, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._process, self._now = engine, process, now

    async def hold(self, name: str) -> bool:
        """Take the lease, or keep it; False if another process that lives has it."""
        return await self._engine.interact(_hold, name, self._process, self._now())

    async def release(self, name: str) -> None:
        """Leave it to others; nothing happens if it is not ours."""
        await self._engine.interact(_release, name, self._process.id)


def _hold(connection: Connection, name: str, process: Process, now: datetime) -> bool:
    holder = connection.execute(select(leases.c.process).where(leases.c.name == name)).scalar()
    if holder == process.id:
        return True
    if holder is None:
        try:
            with connection.begin_nested():
                connection.execute(insert(leases).values(name=name, process=process.id))
        except IntegrityError:  # somebody was faster
            return False
        return True
    row = connection.execute(select(processes).where(processes.c.id == holder)).mappings().first()
    if row is not None and not is_dead(row, now, process):
        return False
    inherited = update(leases).where(leases.c.name == name, leases.c.process == holder).values(process=process.id)
    return connection.execute(inherited).rowcount == 1


def _release(connection: Connection, name: str, process_id: str) -> None:
    connection.execute(delete(leases).where(leases.c.name == name, leases.c.process == process_id))


def holds(connection: Connection, name: str, process_id: str) -> bool:
    """Within a transaction: whether the process has the lease."""
    mine = select(leases.c.name).where(leases.c.name == name, leases.c.process == process_id)
    return connection.execute(mine).first() is not None
