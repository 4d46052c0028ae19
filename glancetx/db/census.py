"""What is going on at one database, for people: its processes, who leads, what is claimed, how copies are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from attrs import frozen
from sqlalchemy import Connection, delete, func, insert, select, update

from glancetx.db.claims import NOBODY
from glancetx.db.copies import count_states
from glancetx.db.engine import Engine
from glancetx.db.events import count_events
from glancetx.db.own_schema import claims, copies, leases, processes, reports
from glancetx.db.strays import StrayCount, count_strays
from glancetx.domain.image import utc_now


@frozen(kw_only=True)
class ProcessFacts:
    """One process as it has told of itself. *report* is empty until its first one; *reported_at* is naive UTC."""

    id: str
    host: str
    pid: int
    expires_at: datetime
    reported_at: datetime | None
    report: Mapping[str, Any]


@frozen(kw_only=True)
class Facts:
    """All of it, at one time. *leases*: name -> process id. *claims* and *copies*: how many of each kind or state.

    *strays*: what no image has, by store. *events*: how many are kept for a broker that does not have them.
    """

    at: datetime
    processes: tuple[ProcessFacts, ...]
    leases: Mapping[str, str]
    claims: Mapping[str, int]
    orphans: int
    copies: Mapping[str, int]
    oldest_audit: datetime | None
    strays: Mapping[str, StrayCount]
    events: int


class Census:
    """Reads the facts, and writes what this process has to tell."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._now = engine, now

    async def facts(self) -> Facts:
        """:raises DatabaseUnavailable: if the database does not answer."""
        return await self._engine.read(load_facts, self._now())

    async def report(self, process_id: str, report: Mapping[str, Any]) -> None:
        """Say how this process is; *report* has JSON types only. Reports of processes that are gone are removed."""
        await self._engine.ensure(_report, process_id, json.dumps(report), self._now())


def load_facts(connection: Connection, now: datetime) -> Facts:
    """Within a transaction: as `Census.facts`."""
    told = processes.outerjoin(reports, reports.c.process == processes.c.id)
    rows = connection.execute(
        select(
            processes.c.id,
            processes.c.host,
            processes.c.pid,
            processes.c.expires_at,
            reports.c.reported_at,
            reports.c.report,
        )
        .select_from(told)
        .order_by(processes.c.host, processes.c.pid)
    ).all()
    claimed = connection.execute(select(claims.c.kind, func.count()).group_by(claims.c.kind)).all()
    return Facts(
        at=now,
        processes=tuple(
            ProcessFacts(
                id=id,
                host=host,
                pid=pid,
                expires_at=expires_at,
                reported_at=reported_at,
                report=json.loads(report) if report else {},
            )
            for id, host, pid, expires_at, reported_at, report in rows
        ),
        leases={name: process for name, process in connection.execute(select(leases.c.name, leases.c.process))},
        claims={kind: count for kind, count in claimed},
        orphans=connection.execute(select(func.count()).where(claims.c.process == NOBODY)).scalar_one(),
        copies=count_states(connection),
        oldest_audit=connection.execute(select(func.min(copies.c.audited_at))).scalar(),
        strays=count_strays(connection),
        events=count_events(connection),
    )


def _report(connection: Connection, process_id: str, report: str, now: datetime) -> None:
    values = {"reported_at": now, "report": report}
    mine = update(reports).where(reports.c.process == process_id).values(values)
    if connection.execute(mine).rowcount == 0:
        connection.execute(insert(reports).values(process=process_id, **values))
    known = select(processes.c.id).where(processes.c.id == reports.c.process)
    connection.execute(delete(reports).where(~known.exists()))
