"""Imports in the database: the image, its lock, its task, our claim and our row change together or not at all.

The lock is Glance's: the property ``os_glance_import_task`` (D-045), taken and given back here alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import asdict, evolve
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from glancetx.db.children import LOCK_PROPERTY
from glancetx.db.claims import NOBODY, add_claim, add_leftovers, check_not_discarding, drop_claim
from glancetx.db.dialects import alive, as_kept, exactly
from glancetx.db.engine import Engine
from glancetx.db.own_schema import claims, imports
from glancetx.db.reading import find_image
from glancetx.db.schema import image_properties, images
from glancetx.db.strays import is_going
from glancetx.db.tasks import add_task, change_task, find_task
from glancetx.db.telling import Tell, nobody
from glancetx.db.usage import check_begun, check_more, take_turn
from glancetx.db.writing import save_image
from glancetx.domain.claim import DELETE, DISCARD, LOCATION, Claim
from glancetx.domain.errors import Conflict, DataNotFound, ImportLost, StatusConflict
from glancetx.domain.image import Image, utc_now
from glancetx.domain.importing import ImportPlan, ImportRun
from glancetx.domain.limits import UNLIMITED, Limits
from glancetx.domain.status import UPLOADING
from glancetx.domain.task import FAILURE, PENDING, PROCESSING, Task

STALE: Final = timedelta(minutes=60)
STALE_PENDING: Final = timedelta(minutes=120)
"""How long a lock holds whose task says nothing; only Glance's own tasks can come to that (A-139)."""

Change = Callable[[Image], Image]
"""Run within the transaction, on the image as it is then."""


class ImportRuns:
    """All imports of one database. *tell* is called at the end of the transaction with what it returns."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._now = engine, now

    async def begin(
        self,
        was: str,
        task: Task,
        run: ImportRun,
        claim: Claim,
        change: Change,
        limits: Limits = UNLIMITED,
        tell: Tell[Image] = nobody,
    ) -> Image:
        """Lock the image, change it, and note task, claim and run.

        :raises StatusConflict: if the image's status is not *was* any more.
        :raises Conflict: if another import holds the lock, or what an earlier attempt left is just being removed.
        :raises LimitExceeded: if that would be more than *limits* allow. In all cases nothing is written.
        """
        return await self._engine.interact(_begin, was, task, run, claim, change, limits, self._now(), tell)

    async def staged(self, claim: Claim, change: Change, tell: Tell[Image] = nobody) -> Image:
        """The data of *claim* is staged: change the image, and drop the claim.

        :raises StatusConflict: if the claim is not ours any more, or the image gone; nothing is written then.
        """
        return await self._engine.interact(_staged, claim, change, tell)

    async def of_claim(self, claim: Claim) -> ImportRun | None:
        """The import that goes on, or went on, under *claim*."""
        return await self._engine.read(_of_claim, claim.id)

    async def take_over(self, orphan: Claim, claim: Claim, leftovers: Sequence[Claim]) -> ImportRun | None:
        """Go on under *claim* with what nobody works on any more. None: somebody else was faster, or it has ended.

        *leftovers* are noted too: claims to what the process that died may have stored.
        """
        return await self._engine.interact(_take_over, orphan, claim, leftovers)

    async def leftovers(self, image_id: str) -> list[Claim]:
        """What attempts for that image may have left in stores."""
        return await self._engine.read(_leftovers, image_id)

    async def note(self, run: ImportRun, claim: Claim, change: Change | None = None) -> Image:
        """Keep how far *run* is, and *change* the image with it, which is returned.

        :raises ImportLost: if it is not ours any more; nothing is written then.
        """
        return await self._engine.ensure(_note, run, claim, change)

    async def start(self, run: ImportRun, claim: Claim, tell: Tell[Task] = nobody) -> None:
        """Say in the task that the work begins; *tell* is called with the task, if it is still there.

        :raises ImportLost: if it is not ours any more.
        """
        await self._engine.ensure(_report, run, claim, "", None, tell)

    async def report(self, run: ImportRun, claim: Claim, message: str, result: Any) -> None:
        """Say in the task how far it is. :raises ImportLost: if it is not ours any more."""
        await self._engine.ensure(_report, run, claim, message, result, nobody)

    async def task_of(self, run: ImportRun) -> Task | None:
        return await self._engine.read(find_task, run.task_id)

    async def end(
        self,
        run: ImportRun,
        claim: Claim,
        task: Task,
        change: Change,
        leftovers: Sequence[Claim] = (),
        tell: Tell[Image | None] = nobody,
    ) -> Image | None:
        """Change the image, give back its lock, end the task, forget the run; *leftovers* are claims to be noted.

        None, and nothing is done to the image, if it was deleted.

        :raises ImportLost: if the import is not ours any more, or the image's data is being removed; nothing is written
            then.
        """
        return await self._engine.interact(_end, run, claim, task, change, leftovers, tell)

    async def give_back(self, run: ImportRun, claim: Claim) -> None:
        """Leave it to any other process; this attempt does not count."""
        await self._engine.ensure(_give_back, run, claim)

    async def attach(
        self,
        run: ImportRun,
        claim: Claim,
        was: str,
        change: Change,
        limits: Limits,
        more: int,
        tell: Tell[Image] = nobody,
    ) -> Image:
        """Keep how far *run* is, and change the image, whose owner has *more* bytes by that.

        :raises StatusConflict: if the image's status is not *was* any more.
        :raises LimitExceeded: if that is more than *limits* allow.
        :raises DataNotFound: if no image had the data, and it is being removed.
        :raises ImportLost: if it is not ours any more. In all cases nothing is written.
        """
        return await self._engine.interact(_attach, run, claim, was, change, limits, more, tell)

    async def dismiss(self, image_id: str, process: str) -> bool:
        """Give to nobody what is done to add a location to that image; tells whether another process was at it."""
        return await self._engine.ensure(_dismiss, image_id, process)

    async def held(self, claim_ids: Collection[str], process: str) -> set[str]:
        """Which of these claims still are that process's."""
        return await self._engine.read(_held, claim_ids, process)


def _begin(
    connection: Connection,
    was: str,
    task: Task,
    run: ImportRun,
    claim: Claim,
    change: Change,
    limits: Limits,
    now: datetime,
    tell: Tell[Image],
) -> Image:
    if limits != UNLIMITED:
        take_turn(connection, claim.owner)
    image = _lock_row(connection, run.image_id)
    if image is None or image.status != was:
        raise StatusConflict(run.image_id, was, None if image is None else image.status)
    check_not_discarding(connection, run.image_id)
    _take_lock(connection, run.image_id, task.id, now)
    saved = save_image(connection, change(image), was, claim, None)
    add_task(connection, task)
    connection.execute(insert(imports).values(_row(run)))
    check_begun(connection, claim, limits, claim.reserved)
    tell(connection, saved)
    return saved


def _lock_row(connection: Connection, image_id: str) -> Image | None:
    """The image as it is now; nobody changes it before we are done. None if it is deleted."""
    mine = (exactly(images.c.id, image_id), alive(images))
    now = as_kept(connection, utc_now())
    if connection.execute(update(images).where(*mine).values(updated_at=now)).rowcount != 1:
        return None
    return find_image(connection, image_id)


def _take_lock(connection: Connection, image_id: str, task_id: str, now: datetime) -> None:
    """:raises Conflict: if a task that goes on holds it."""
    table = image_properties
    mine = (table.c.image_id == image_id, table.c.name == LOCK_PROPERTY)
    row = connection.execute(select(table.c.value, table.c.deleted).where(*mine)).first()
    if row is not None and not row.deleted:
        _break_lock(connection, row.value, now)
    values = {"value": task_id, "deleted": False, "deleted_at": None, "updated_at": now}
    if row is not None:
        seen = (table.c.value == row.value, table.c.deleted == row.deleted)
        if connection.execute(update(table).where(*mine, *seen).values(values)).rowcount != 1:
            raise _busy(image_id)
        return
    fresh = {"image_id": image_id, "name": LOCK_PROPERTY, "created_at": now, **values}
    try:
        connection.execute(insert(table).values(fresh))
    except IntegrityError as error:
        raise _busy(image_id) from error


def _busy(image_id: str) -> Conflict:
    return Conflict(f"New operation on image '{image_id}' is not permitted as prior operation is still in progress")


def _break_lock(connection: Connection, task_id: str, now: datetime) -> None:
    """Return if the task that holds a lock is gone, has ended, or has been silent for too long; then it has failed.

    One of ours is none of that as long as its row is there: whoever dies, it is gone on with.

    :raises Conflict: if it goes on.
    """
    if connection.execute(select(imports.c.task_id).where(imports.c.task_id == task_id)).first() is not None:
        raise Conflict("Image has active task")
    task = find_task(connection, task_id)
    if task is None or task.ended:
        return
    if now - task.updated_at < (STALE_PENDING if task.status == PENDING else STALE):
        raise Conflict("Image has active task")
    change_task(connection, evolve(task, status=FAILURE, message="Expired: another import took the image over."))


def _staged(connection: Connection, claim: Claim, change: Change, tell: Tell[Image]) -> Image:
    image = _lock_row(connection, claim.image_id)
    if image is None or not drop_claim(connection, claim):
        raise StatusConflict(claim.image_id, UPLOADING, None if image is None else image.status)
    return save_image(connection, change(image), image.status, None, None, tell=tell)


def _of_claim(connection: Connection, claim_id: str) -> ImportRun | None:
    row = connection.execute(select(imports).where(imports.c.claim == claim_id)).mappings().first()
    if row is None:
        return None
    values = dict(row)
    return ImportRun(**values | {"plan": ImportPlan.from_json(values["plan"])})


def _take_over(connection: Connection, orphan: Claim, claim: Claim, leftovers: Sequence[Claim]) -> ImportRun | None:
    if _is_being_deleted(connection, orphan.image_id):  # when the image is gone, or stays after all, it is ended
        return None
    ours = delete(claims).where(claims.c.id == orphan.id, claims.c.process == NOBODY)
    if connection.execute(ours).rowcount != 1:
        return None
    run = _of_claim(connection, orphan.id)
    if run is None:
        return None
    add_claim(connection, claim)
    add_leftovers(connection, leftovers)
    run = evolve(run, claim=claim.id, attempts=run.attempts + 1)
    _write(connection, run)
    return run


def _is_being_deleted(connection: Connection, image_id: str) -> bool:
    going = select(claims.c.id).where(claims.c.image_id == image_id, claims.c.kind == DELETE)
    return connection.execute(going).first() is not None


def _leftovers(connection: Connection, image_id: str) -> list[Claim]:
    mine = select(claims).where(claims.c.image_id == image_id, claims.c.kind == DISCARD)
    return [Claim(**row) for row in connection.execute(mine).mappings()]


def _hold(connection: Connection, run: ImportRun, claim: Claim) -> None:
    """Make sure that the import is ours until the transaction ends. :raises ImportLost: if it is not."""
    mine = (claims.c.id == claim.id, claims.c.process == claim.process)
    if connection.execute(update(claims).where(*mine).values(process=claim.process)).rowcount != 1:
        raise ImportLost(run.image_id)


def _note(connection: Connection, run: ImportRun, claim: Claim, change: Change | None) -> Image:
    _hold(connection, run, claim)
    image = _lock_row(connection, run.image_id)
    if image is None:
        raise ImportLost(run.image_id)
    _write(connection, run)
    return image if change is None else save_image(connection, change(image), image.status, None, None)


def _attach(
    connection: Connection,
    run: ImportRun,
    claim: Claim,
    was: str,
    change: Change,
    limits: Limits,
    more: int,
    tell: Tell[Image],
) -> Image:
    check_more(connection, claim.owner, limits, more)
    _hold(connection, run, claim)
    if is_going(connection, run.plan.uri or ""):
        raise DataNotFound("The data at the location is being removed")
    image = _lock_row(connection, run.image_id)
    if image is None or image.status != was:
        raise StatusConflict(run.image_id, was, None if image is None else image.status)
    _write(connection, run)
    return save_image(connection, change(image), image.status, None, None, tell=tell)


def _dismiss(connection: Connection, image_id: str, process: str) -> bool:
    mine = (claims.c.image_id == image_id, claims.c.kind == LOCATION, claims.c.process != NOBODY)
    others = connection.execute(select(claims.c.id).where(*mine, claims.c.process != process)).first()
    connection.execute(update(claims).where(*mine).values(process=NOBODY))
    return others is not None


def _report(connection: Connection, run: ImportRun, claim: Claim, message: str, result: Any, tell: Tell[Task]) -> None:
    _hold(connection, run, claim)
    task = find_task(connection, run.task_id)
    if task is not None:
        task = evolve(task, status=PROCESSING, message=message, result=result)
        change_task(connection, task)
        tell(connection, task)


def _end(
    connection: Connection,
    run: ImportRun,
    claim: Claim,
    task: Task,
    change: Change,
    leftovers: Sequence[Claim],
    tell: Tell[Image | None],
) -> Image | None:
    if not drop_claim(connection, claim):
        raise ImportLost(run.image_id)
    image = _lock_row(connection, run.image_id)
    if image is not None and _is_being_deleted(connection, run.image_id):
        raise ImportLost(run.image_id)  # what it adds now would not be removed
    if image is not None:
        image = save_image(connection, change(image), image.status, None, None)
    table = image_properties
    lock = (table.c.image_id == run.image_id, table.c.name == LOCK_PROPERTY, table.c.value == run.task_id)
    connection.execute(delete(table).where(*lock))
    connection.execute(delete(imports).where(imports.c.task_id == run.task_id))
    change_task(connection, task)
    add_leftovers(connection, leftovers)
    tell(connection, image)
    return image


def _give_back(connection: Connection, run: ImportRun, claim: Claim) -> None:
    mine = update(claims).where(claims.c.id == claim.id, claims.c.process == claim.process)
    if connection.execute(mine.values(process=NOBODY)).rowcount == 1:
        _write(connection, evolve(run, attempts=max(0, run.attempts - 1)))


def _held(connection: Connection, claim_ids: Collection[str], process: str) -> set[str]:
    mine = select(claims.c.id).where(claims.c.id.in_(list(claim_ids)), claims.c.process == process)
    return set(connection.execute(mine).scalars())


def _write(connection: Connection, run: ImportRun) -> None:
    connection.execute(update(imports).where(imports.c.task_id == run.task_id).values(_row(run)))


def _row(run: ImportRun) -> dict[str, Any]:
    return asdict(run, recurse=False) | {"plan": run.plan.to_json()}


def leftover(image_id: str, store: str, attempt: str, owner: str | None) -> Claim:
    """What *attempt* may have left in *store*, for the project *owner*, is to be discarded, by anybody."""
    return Claim(id=attempt, kind=DISCARD, image_id=image_id, store=store, process=NOBODY, owner=owner)
