"""How much a project has, and taking more of it within its limits: mostly functions that run within a transaction.

Limits are hard: whoever takes more first waits for the project's turn (`take_turn`), then counts, and what it takes
is counted from its commit on. Bytes on their way are reserved by claims, and the reservation dies with the claim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, and_, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from glancetx.db.dialects import alive
from glancetx.db.engine import Engine
from glancetx.db.own_schema import claims, projects
from glancetx.db.schema import image_locations, image_properties, images
from glancetx.domain.claim import STAGE, Claim
from glancetx.domain.errors import StatusConflict
from glancetx.domain.limits import Limits, Usage
from glancetx.domain.status import DELETED, IMPORTING, KILLED, PENDING_DELETE, SAVING, UPLOADING

GONE = (KILLED, DELETED, PENDING_DELETE)


class Usages:
    """What each project has, in one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def of(self, owner: str | None) -> Usage:
        """What *owner* has; None: what belongs to no project."""
        return await self._engine.read(usage_of, owner)


def take_turn(connection: Connection, owner: str | None) -> int:
    """Wait until no other transaction takes more of what *owner* has; to be called before anything is read.

    Turns are numbered.
    """
    mine = projects.c.id == (owner or "")
    advance = update(projects).where(mine).values(turn=projects.c.turn + 1)
    if connection.execute(advance).rowcount == 0:
        try:
            with connection.begin_nested():
                connection.execute(insert(projects).values(id=owner or "", turn=1))
        except IntegrityError:  # somebody else was faster, and has committed
            connection.execute(advance)
    return int(connection.execute(select(projects.c.turn).where(mine)).scalar_one())


def usage_of(connection: Connection, owner: str | None) -> Usage:
    """All that *owner* has."""
    return Usage(
        size_total=_count(connection, _stored(owner) + _reserved(owner, staging=False)),
        stage_total=_count(connection, _staged(owner) + _reserved(owner, staging=True)),
        count_total=_count(connection, _images(owner)),
        count_uploading=_count(connection, _uploading(owner)),
    )


def check_begun(connection: Connection, claim: Claim, limits: Limits, size: int | None) -> None:
    """May *claim*, which was just noted, store *size* bytes (None: not known yet), its image counting as uploading?

    What is staged counts for itself.

    :raises LimitExceeded: if not.
    """
    most, check = _most(claim, limits)
    if most is not None:
        check(claim.owner, _used(connection, claim) - claim.reserved, size)
    if limits.count_uploading is not None:
        limits.check_uploading(claim.owner, _count(connection, _uploading(claim.owner)))


def check_create(connection: Connection, owner: str | None, limits: Limits) -> None:
    """May *owner* have one image more? :raises LimitExceeded: if not."""
    if limits.count_total is not None:
        take_turn(connection, owner)
        limits.check_count(owner, _count(connection, _images(owner)))


def check_more(connection: Connection, owner: str | None, limits: Limits, more: int) -> None:
    """May *owner* have *more* bytes that are stored already? :raises LimitExceeded: if not."""
    if limits.size_total is not None:
        take_turn(connection, owner)
        limits.check_size(owner, _count(connection, _stored(owner) + _reserved(owner, staging=False)), more)


def reserve(connection: Connection, claim: Claim, limits: Limits, needed: int, wanted: int, wait: bool) -> int:
    """Let *claim* reserve *wanted* bytes more, or, if fewer are left, these; returns how many.

    Many that grow at a time could take so much that none of them can end. So the one that began first is told 0,
    which means that it should *wait* (if it can): the others will end or fail, and leave what they have to it.

    :raises LimitExceeded: if not even *needed* are left.
    :raises StatusConflict: if the claim is not ours any more.
    """
    granted = wanted
    most, check = _most(claim, limits)
    if most is not None:
        take_turn(connection, claim.owner)
        used = _used(connection, claim)
        if wait and used + needed > most and _is_first_of_many(connection, claim):
            return 0
        check(claim.owner, used, needed)
        granted = min(wanted, most - used)
    mine = update(claims).where(claims.c.id == claim.id, claims.c.process == claim.process)
    if connection.execute(mine.values(reserved=claims.c.reserved + granted)).rowcount != 1:
        raise StatusConflict(claim.image_id, SAVING, None)
    return granted


def _most(claim: Claim, limits: Limits) -> tuple[int | None, Callable[[str | None, int, int | None], None]]:
    """The limit for what *claim* reserves, and how it is checked."""
    if claim.kind == STAGE:
        return limits.stage_total, limits.check_staging
    return limits.size_total, limits.check_size


def _used(connection: Connection, claim: Claim) -> int:
    """How much there is of what *claim* reserves."""
    if claim.kind == STAGE:
        return _count(connection, _staged(claim.owner) + _reserved(claim.owner, staging=True))
    return _count(connection, _stored(claim.owner) + _reserved(claim.owner, staging=False))


def _is_first_of_many(connection: Connection, claim: Claim) -> bool:
    """Whether *claim* is the oldest of those of its owner that grow, and not the only one that has anything."""
    growing = select(claims.c.id).where(
        _reserving(claim.owner, staging=claim.kind == STAGE), claims.c.turn.is_not(None)
    )
    rows = connection.execute(
        growing.where(or_(claims.c.reserved > 0, claims.c.id == claim.id)).order_by(claims.c.turn)
    )
    ids = [row.id for row in rows]
    return len(ids) > 1 and ids[0] == claim.id


def _count(connection: Connection, expression: ColumnElement[Any]) -> int:
    """One statement, so that data which arrives meanwhile is counted once: as reserved, or as stored."""
    return int(connection.execute(select(expression)).scalar() or 0)


def _stored(owner: str | None) -> ScalarSelect[Any]:
    """The bytes of every copy of every image; a copy counts until its data is gone (C-130)."""
    copies = images.join(image_locations, image_locations.c.image_id == images.c.id)
    counted = _owned(owner) & (images.c.size > 0) & (image_locations.c.status != "deleted")
    return select(func.coalesce(func.sum(images.c.size), 0)).select_from(copies).where(counted).scalar_subquery()


def _reserved(owner: str | None, *, staging: bool) -> ScalarSelect[Any]:
    mine = _reserving(owner, staging=staging)
    return select(func.coalesce(func.sum(claims.c.reserved), 0)).where(mine).scalar_subquery()


def _reserving(owner: str | None, *, staging: bool) -> ColumnElement[bool]:
    return and_(claims.c.owner == owner, claims.c.kind == STAGE if staging else claims.c.kind != STAGE)


def _staged(owner: str | None) -> ScalarSelect[Any]:
    """The bytes of images that are being imported, or copied to more stores."""
    staged = _owned(owner) & (images.c.size > 0) & or_(images.c.status.in_((UPLOADING, IMPORTING)), _copying())
    return select(func.coalesce(func.sum(images.c.size), 0)).where(staged).scalar_subquery()


def _images(owner: str | None) -> ScalarSelect[Any]:
    return select(func.count()).select_from(images).where(_owned(owner)).scalar_subquery()


def _uploading(owner: str | None) -> ScalarSelect[Any]:
    busy = or_(images.c.status.in_((SAVING, UPLOADING, IMPORTING)), _copying())
    return select(func.count()).select_from(images).where(_owned(owner) & busy).scalar_subquery()


def _owned(owner: str | None) -> ColumnElement[bool]:
    return and_(images.c.owner == owner, images.c.status.not_in(GONE))


def _copying() -> ColumnElement[bool]:
    """Whether an image is on its way to more stores."""
    table = image_properties
    named = and_(table.c.name == "os_glance_importing_to_stores", table.c.value != "", alive(table))
    return exists().where(table.c.image_id == images.c.id, named)
