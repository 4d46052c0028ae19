"""Who works on which image's data, and whether it still lives: leases of processes, and their claims."""

from __future__ import annotations

import os
import socket
import uuid
from collections import Counter
from collections.abc import Callable, Container, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen
from sqlalchemy import Connection, delete, insert, select, update

from glancetx.db.engine import Engine
from glancetx.db.own_schema import claims, leases, processes
from glancetx.db.usage import reserve
from glancetx.domain.claim import DISCARD, IMPORT, Claim
from glancetx.domain.image import utc_now
from glancetx.domain.limits import Limits

LEASE = 18.0
"""Seconds a process is taken to live after it last said so: with the reaper's interval, others go on within 30."""


@frozen(kw_only=True)
class Process:
    """What tells one process from all others, also from a later one with the same *pid*.

    *start_time* is in clock ticks since the boot *boot_id*. *pid_namespace* is where the pid means something: two
    containers may share a host name and a boot.
    """

    id: str = field(factory=lambda: uuid.uuid4().hex)
    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    start_time: int

    def sees(self, other: Process) -> bool:
        """Whether the pid of *other* can be looked up from here."""
        place = (self.host, self.boot_id, self.pid_namespace)
        return place == (other.host, other.boot_id, other.pid_namespace)


def this_process() -> Process:
    """The process we are, under a new id: every service in it has its own."""
    return Process(
        host=socket.gethostname(),
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        pid_namespace=os.readlink("/proc/self/ns/pid"),
        pid=os.getpid(),
        start_time=start_time_of(os.getpid()) or 0,
    )


def start_time_of(pid: int) -> int | None:
    """When the process *pid* of this host started, in clock ticks; None if there is none, or only its remains."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before may hold anything, even parentheses
    state, start_time = fields[0], fields[19]
    return None if state in ("Z", "X") else int(start_time)


NOBODY = ""
"""The process of a claim whose own process is dead, or has given it up."""


class Claims:
    """The claims of all processes on one database. *now* is the time all processes agree on, naive UTC."""

    def __init__(self, engine: Engine, lease: float = LEASE, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._lease, self._now = engine, timedelta(seconds=lease), now
        self._here = this_process()
        self._under_way = Counter[str]()  # the ids of claims, with how many blocks of `working_on` they have
        self._renewed = self._trusting_until = datetime.min

    async def register(self, process: Process) -> None:
        """Say that we are *process*, and that it lives, for the length of a lease from now."""
        self._here = process
        self._renewed = self._now()
        await self.renew(process)

    async def renew(self, process: Process) -> None:
        """Say again that *process* lives; also if it was forgotten meanwhile."""
        now = self._now()
        await self._engine.ensure(_renew, process, now + self._lease)
        if process.id != self._here.id:
            return
        if now - self._renewed > self._lease:  # the database was away, and others may not have renewed theirs yet
            self._trusting_until = now + self._lease
        self._renewed = now

    async def retire(self, process: Process) -> None:
        """Say that *process* ends now. Claims it leaves are orphans at once."""
        await self._engine.ensure(_forget, process.id)

    def working_on(self, claim: Claim) -> Working:
        """A block that works on *claim*, which is noted within it; blocks may be nested.

        A claim of ours that exists outside of such a block is an orphan: its work has failed, and could not even say
        so; or it was thought not to have been noted.
        """
        return Working(self._under_way, claim.id)

    async def take(self, claim: Claim) -> None:
        """Note a claim; its process must be registered and be `working_on` it, or it is an orphan."""
        await self._engine.interact(add_claim, claim)

    async def release(self, claim: Claim) -> None:
        """Remove a claim; to find none is success."""
        await self._engine.ensure(drop_claim, claim.id)

    async def abandon(self, claim: Claim) -> bool:
        """Give a claim to nobody, so that it is an orphan; tells whether it still exists."""
        return await self._engine.ensure(_abandon, (claim.id,)) == 1

    async def existing(self, claim_ids: Sequence[str]) -> set[str]:
        """Those of these claims that are there, whosesoever they are."""
        return await self._engine.read(_existing, claim_ids)

    async def hosts(self) -> set[str]:
        """The hosts of all processes that live."""
        return await self._engine.read(_hosts, self._now())

    async def reserve(self, claim: Claim, limits: Limits, needed: int, wanted: int, wait: bool = False) -> int:
        """Reserve *wanted* bytes more for *claim*, or as many as *limits* leave; returns how many.

        0, if it may *wait*: none are left, and others might leave theirs to it.

        :raises LimitExceeded: if fewer than *needed* are left.
        :raises StatusConflict: if the claim is not ours any more.
        """
        return await self._engine.interact(reserve, claim, limits, needed, wanted, wait)

    async def orphans(self) -> list[Claim]:
        """The claims of dead processes: unknown ones, gone from this host, or past their lease; and abandoned ones.

        Also those of the registered process that it is not `working_on`. None to discard what an import left, while
        there is one into that image.

        In the same transaction they are given to nobody: a process that was taken for dead and is not cannot save an
        image with its claim any more. They stay orphans until they are settled. Dead processes are forgotten. The
        registered process itself never is dead. After we could not renew our own lease in time, nobody is taken for
        dead for the lack of one, for the length of a lease.
        """
        now = self._now()
        trusting = now < self._trusting_until or now - self._renewed > self._lease
        return await self._engine.ensure(_orphans, datetime.min if trusting else now, self._here, self._under_way)


class Working:
    """What `Claims.working_on` returns."""

    __slots__ = ("_claim_id", "_under_way")

    def __init__(self, under_way: Counter[str], claim_id: str) -> None:
        self._under_way, self._claim_id = under_way, claim_id

    def __enter__(self) -> None:
        self._under_way[self._claim_id] += 1

    def __exit__(self, *outcome: object) -> None:
        self._under_way[self._claim_id] -= 1
        if not self._under_way[self._claim_id]:
            del self._under_way[self._claim_id]


def add_claim(connection: Connection, claim: Claim) -> None:
    """Within a transaction: note a claim."""
    connection.execute(insert(claims).values(asdict(claim)))


def drop_claim(connection: Connection, claim_id: str, process: str | None = None) -> bool:
    """Within a transaction: remove a claim, if it still is that *process*'s; tells whether that was so."""
    unwanted = delete(claims).where(claims.c.id == claim_id)
    if process is not None:
        unwanted = unwanted.where(claims.c.process == process)
    return connection.execute(unwanted).rowcount == 1


def leave_claim(connection: Connection, claim_id: str) -> bool:
    """Within a transaction: nothing more is to be done than to discard what there is, by anybody, when the store lets.

    Tells whether the claim still exists.
    """
    left = update(claims).where(claims.c.id == claim_id)
    return connection.execute(left.values(kind=DISCARD, process=NOBODY, reserved=0, turn=None)).rowcount == 1


def _abandon(connection: Connection, claim_ids: Sequence[str]) -> int:
    given_up = update(claims).where(claims.c.id.in_(claim_ids)).values(process=NOBODY)
    return connection.execute(given_up).rowcount


def _existing(connection: Connection, claim_ids: Sequence[str]) -> set[str]:
    return set(connection.execute(select(claims.c.id).where(claims.c.id.in_(claim_ids))).scalars())


def _hosts(connection: Connection, now: datetime) -> set[str]:
    return set(connection.execute(select(processes.c.host).where(processes.c.expires_at >= now)).scalars())


def _renew(connection: Connection, process: Process, expires_at: datetime) -> None:
    values = asdict(process) | {"expires_at": expires_at}
    mine = update(processes).where(processes.c.id == process.id)
    if connection.execute(mine.values(expires_at=expires_at)).rowcount == 0:
        connection.execute(insert(processes).values(values))


def _forget(connection: Connection, process_id: str) -> None:
    connection.execute(delete(processes).where(processes.c.id == process_id))
    connection.execute(delete(leases).where(leases.c.process == process_id))  # if it wakes up, it has to ask again


def _orphans(connection: Connection, now: datetime, here: Process, under_way: Container[str]) -> list[Claim]:
    known = connection.execute(select(processes)).mappings().all()
    alive = {row["id"] for row in known if not is_dead(row, now, here)} | {here.id}
    for row in known:
        if row["id"] not in alive:  # its claims are nobody's from here on, so nothing refers to it any more
            _forget(connection, row["id"])
    # Whoever notes a claim is at work on it before, and until it is gone: what is read here is looked up after that.
    rows = connection.execute(select(claims.c.id, claims.c.process, claims.c.kind, claims.c.image_id)).all()
    # An import discards itself what was left, before it stores anything: somebody slow might remove what it stores.
    importing = {image_id for _, _, kind, image_id in rows if kind == IMPORT}
    orphans = [
        claim_id
        for claim_id, process, kind, image_id in rows
        if (process not in alive or (process == here.id and claim_id not in under_way))
        and not (kind == DISCARD and image_id in importing)
    ]
    _abandon(connection, orphans)
    # One that was taken for dead, and is not, may have ended its claim just now.
    given = select(claims).where(claims.c.id.in_(orphans), claims.c.process == NOBODY)
    return [Claim(**row) for row in connection.execute(given.order_by(claims.c.id).with_for_update()).mappings()]


def is_dead(row: Any, now: datetime, here: Process) -> bool:
    """Whether the process of a *row* of our processes is gone, as far as *here* can tell."""
    facts = dict(row)
    expires_at = facts.pop("expires_at")
    process = Process(**facts)
    if here.sees(process) and start_time_of(process.pid) != process.start_time:
        return True
    return bool(expires_at < now)
