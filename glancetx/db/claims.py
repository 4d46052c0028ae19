"""Who works on which image's data, and whether it still lives: leases of processes, and their claims."""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections import Counter
from collections.abc import Callable, Container, Coroutine, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import asdict, evolve, field, frozen
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from glancetx.db.engine import Engine
from glancetx.db.own_schema import claims, leases, processes
from glancetx.db.reading import hold
from glancetx.db.schema import image_locations
from glancetx.db.usage import reserve
from glancetx.domain.claim import DISCARD, IMPORT, REPAIR, UPLOAD, Claim
from glancetx.domain.errors import Conflict
from glancetx.domain.image import utc_now
from glancetx.domain.limits import Limits
from glancetx.domain.status import DELETED
from glancetx.runtime.failpoints import reach
from glancetx.runtime.permission import guarded

T = TypeVar("T")

LEASE = 18.0
"""Seconds a process is taken to live after it last said so: with the reaper's interval, others go on within 30."""
CERTAIN: Final = 5 / 6
"""Of a lease: clocks of hosts may differ by the rest."""
FILLING: Final = (UPLOAD, IMPORT, REPAIR)
"""Claims to put data where others may have left some."""


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
        self.under_way = Counter[str]()  # the ids of claims, with how many blocks of `working_on` they have
        self._renewed = self._trusting_until = datetime.min
        self._lapses = 0  # how often others may have taken us for dead

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
        if now - self._renewed > self._lease * CERTAIN:
            self._lapses += 1
        self._renewed = now

    def certainty(self) -> Callable[[], bool]:
        """What tells whether we have lived without a break since now: else our claims may be somebody else's."""
        lapses = self._lapses
        return lambda: self._lapses == lapses and self._now() - self._renewed <= self._lease * CERTAIN

    async def retire(self, process: Process) -> None:
        """Say that *process* ends now. Claims it leaves are orphans at once."""
        await self._engine.ensure(_forget, process.id)

    def working_on(self, claim: Claim) -> Working:
        """A block that works on *claim*, which is noted within it; blocks may be nested.

        A claim of ours that exists outside of such a block is an orphan: its work has failed, and could not even say
        so; or it was thought not to have been noted. The block is given the `certainty` of its beginning.
        """
        return Working(self, claim.id)

    async def take(self, claim: Claim) -> None:
        """Note a claim; its process must be registered and be `working_on` it, or it is an orphan."""
        await self._engine.interact(add_claim, claim)

    async def release(self, claim: Claim) -> None:
        """Remove a claim, if it still is as it is here; to find none is success."""
        await self._engine.ensure(drop_claim, claim)

    async def adopt(self, claim: Claim, beside: str = "") -> Claim | None:
        """Make a claim ours, if it still is as it is here: nobody's, if it is an orphan. None: it is not.

        So each has one owner at any time, who must be `working_on` it before; if that dies, it is an orphan again. Not
        to discard data, while there is a claim to fill the image, other than that *beside*; as long as it is ours none
        can be noted.
        """
        ours = evolve(claim, process=self._here.id)
        return ours if await self._engine.ensure(_adopt, claim, ours, beside) else None

    async def take_over(
        self, claim: Claim, work: Callable[[Claim], Coroutine[Any, Any, T]], beside: str = ""
    ) -> T | None:
        """`adopt` *claim* and do *work* with it; None: it is somebody else's, or is gone.

        Cancelled at its next step if others may have taken us for dead meanwhile: then the claim may be theirs, and
        what lies in the store the data of another attempt.
        """
        with self.working_on(claim) as certain:
            adopted = await self.adopt(claim, beside)
            if adopted is None:
                return None
            reach("recovery.adopted")
            return await guarded(work(adopted), certain)

    async def leave(self, leftovers: Sequence[Claim]) -> None:
        """Note claims for whoever comes; those that are noted stay as they are."""
        await self._engine.ensure(add_leftovers, leftovers)

    async def leave_late(self, claim: Claim) -> bool:
        """Note that data of *claim*, an upload that is not ours any more, is to be discarded, unless it was published.

        False: somebody is just putting it right, and may have looked before the data came; ask again.
        """
        return await self._engine.ensure(_leave_late, claim)

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

        Also those of the registered process that it is not `working_on`. None to discard data, while somebody fills
        that image.

        In the same transaction they are given to nobody: a process that was taken for dead and is not cannot save an
        image with its claim any more. They stay orphans until somebody has adopted them. Dead processes are forgotten.
        The registered process itself never is dead. After we could not renew our own lease in time, nobody is taken for
        dead for the lack of one, for the length of a lease.
        """
        now = self._now()
        trusting = now < self._trusting_until or now - self._renewed > self._lease
        return await self._engine.ensure(_orphans, datetime.min if trusting else now, self._here, self.under_way)


class Working:
    """What `Claims.working_on` returns."""

    __slots__ = ("_claim_id", "_claims")

    def __init__(self, claims: Claims, claim_id: str) -> None:
        self._claims, self._claim_id = claims, claim_id

    def __enter__(self) -> Callable[[], bool]:
        self._claims.under_way[self._claim_id] += 1
        return self._claims.certainty()

    def __exit__(self, *outcome: object) -> None:
        under_way = self._claims.under_way
        under_way[self._claim_id] -= 1
        if not under_way[self._claim_id]:
            del under_way[self._claim_id]


def add_claim(connection: Connection, claim: Claim) -> None:
    """Within a transaction: note a claim."""
    connection.execute(insert(claims).values(asdict(claim)))


def add_leftovers(connection: Connection, leftovers: Sequence[Claim]) -> None:
    """Within a transaction: note claims that may be there already."""
    known = _existing(connection, [each.id for each in leftovers])
    for each in leftovers:
        if each.id not in known:
            add_claim(connection, each)


def _leave_late(connection: Connection, claim: Claim) -> bool:
    row = connection.execute(select(claims.c.process).where(claims.c.id == claim.id)).first()
    if row is not None:
        return bool(row.process == NOBODY)  # who adopts it looks for data after that
    places = image_locations
    kept = select(places.c.meta_data).where(places.c.image_id == claim.image_id, places.c.status != DELETED)
    metadata = [json.loads(text or "{}") for text in connection.execute(kept).scalars()]
    if not any(each.get("store", claim.store) == claim.store for each in metadata):
        add_leftovers(connection, [evolve(claim, kind=DISCARD, process=NOBODY, reserved=0, turn=None)])
    return True


def drop_claim(connection: Connection, claim: Claim) -> bool:
    """Within a transaction: remove a claim, if it still is that process's; tells whether that was so."""
    return connection.execute(delete(claims).where(*_as_is(claim))).rowcount == 1


def leave_claim(connection: Connection, claim: Claim) -> bool:
    """Within a transaction: nothing more is to be done than to discard what there is, by anybody, when the store lets.

    Tells whether the claim still was that process's.
    """
    left = update(claims).where(*_as_is(claim))
    return connection.execute(left.values(kind=DISCARD, process=NOBODY, reserved=0, turn=None)).rowcount == 1


def check_not_discarding(connection: Connection, image_id: str) -> None:
    """Within a transaction that holds the image, and is to note that it is filled.

    :raises Conflict: if somebody is about to remove what an earlier attempt left: that might remove what comes now.
    """
    mine = (claims.c.image_id == image_id, claims.c.kind == DISCARD, claims.c.process != NOBODY)
    if connection.execute(select(claims.c.id).where(*mine)).first() is not None:
        raise Conflict("Data of an earlier attempt is just being removed, try again in a moment")


def _as_is(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return claims.c.id == claim.id, claims.c.process == claim.process


def _adopt(connection: Connection, claim: Claim, ours: Claim, beside: str) -> bool:
    if claim.kind == DISCARD:
        hold(connection, claim.image_id)  # whoever begins to fill it does so as well
        filling = (claims.c.image_id == claim.image_id, claims.c.kind.in_(FILLING), claims.c.id != beside)
        if connection.execute(select(claims.c.id).where(*filling)).first() is not None:
            return False
    return connection.execute(update(claims).where(*_as_is(claim)).values(process=ours.process)).rowcount == 1


def _abandon(connection: Connection, orphans: Sequence[Row[*tuple[Any, ...]]]) -> None:
    """Not those that somebody has adopted since they were read."""
    for process in sorted({row.process for row in orphans} - {NOBODY}):
        mine = [row.id for row in orphans if row.process == process]
        given_up = update(claims).where(claims.c.id.in_(mine), claims.c.process == process)
        connection.execute(given_up.values(process=NOBODY))


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
    # First the claims, then who lives, then what is under way here: whoever notes a claim is registered and at work on
    # it before.
    rows = connection.execute(select(claims.c.id, claims.c.process, claims.c.kind, claims.c.image_id)).all()
    known = connection.execute(select(processes)).mappings().all()
    alive = {row["id"] for row in known if not is_dead(row, now, here)} | {here.id}
    orphans = [row for row in rows if row.process not in alive or (row.process == here.id and row.id not in under_way)]
    _abandon(connection, orphans)
    for row in known:
        if row["id"] not in alive:  # its claims are nobody's from here on, so nothing refers to it any more
            _forget(connection, row["id"])
    # An import discards itself what was left, before it stores anything: somebody slow might remove what it stores.
    filled = {row.image_id for row in rows if row.kind in FILLING}
    free = [row.id for row in orphans if not (row.kind == DISCARD and row.image_id in filled)]
    # One that was taken for dead, and is not, may have ended its claim just now.
    given = select(claims).where(claims.c.id.in_(free), claims.c.process == NOBODY).order_by(claims.c.id)
    return [Claim(**row) for row in connection.execute(given.with_for_update()).mappings()]


def is_dead(row: Any, now: datetime, here: Process) -> bool:
    """Whether the process of a *row* of our processes is gone, as far as *here* can tell."""
    facts = dict(row)
    expires_at = facts.pop("expires_at")
    process = Process(**facts)
    if here.sees(process) and start_time_of(process.pid) != process.start_time:
        return True
    return bool(expires_at < now)
