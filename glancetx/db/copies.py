"""How the copies of images are: what the auditor has found, and what it is to look at next."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import frozen
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    update,
)

from glancetx.db.claims import add_claim, drop_claim
from glancetx.db.dialects import alive
from glancetx.db.engine import Engine
from glancetx.db.gathered import Gathered
from glancetx.db.own_schema import claims, copies
from glancetx.db.reading import hold, load_images
from glancetx.db.schema import image_locations, images
from glancetx.db.shares import ALL, Sight
from glancetx.domain.claim import Claim
from glancetx.domain.context import RequestContext
from glancetx.domain.copy import CORRUPT, MISSING, SOUND, UNKNOWN, Copy, expected_digest
from glancetx.domain.errors import ImageNotFound
from glancetx.domain.image import Image, Location, utc_now
from glancetx.domain.status import ACTIVE, DEACTIVATED
from glancetx.domain.text import is_wide

DETAIL: Final = 255  # characters
LONG_AGO: Final = datetime(1970, 1, 1)


@frozen
class Known:
    """What the auditor last found at a location; *since* is when it looked, or when the copy was made."""

    state: str
    since: datetime


WithKnown = tuple[Image, dict[int, Known]]


class Copies:
    """The copies of all images of one database."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._now = engine, now
        self._with_image: Gathered[Sight, str, WithKnown] = Gathered(engine, _with_images)

    async def enrol(self, after: int = 0, count: int = 10_000) -> int:
        """Take note of new locations, as looked at when they were made, and forget those that are gone.

        Of *count* ids behind *after*, in their order. Returns the last one, for the next call; 0 if there are no more.
        """
        return await self._engine.interact(_enrol_next, after, count)

    async def due(self, before: datetime, limit: int) -> list[Copy]:
        """Copies nobody looked at since *before* (naive UTC), the longest ago first; *limit* of them at most.

        None of images that somebody works on: what is found of them means nothing.
        """
        work = select(claims.c.id).where(claims.c.image_id == copies.c.image_id)
        these = _select_copies().where(copies.c.audited_at < before, ~work.exists())
        return await self._engine.read(_load, these.order_by(copies.c.audited_at, copies.c.location_id).limit(limit))

    async def in_state(self, *states: str, limit: int = 1000, after: Copy | None = None) -> list[Copy]:
        """Copies found so when last looked at, the longest ago first; only those that come *after* that one."""
        return await self._engine.read(load_in_state, states, limit, after)

    async def record(self, copy: Copy, state: str, detail: str | None = None) -> bool:
        """Write what was found of *copy* as it was when it was read from here.

        False if it means nothing: the copy is gone, or is being worked on, or was remade or looked at meanwhile.
        """
        return await self._engine.interact(_record, copy, state, detail, self._now())

    async def others(self, copy: Copy) -> list[Copy]:
        """The other copies of the same image, those last found sound first."""
        these = _select_copies().where(images.c.id == copy.image_id).order_by(copies.c.audited_at)
        found = await self._engine.read(_load, these)
        return sorted((each for each in found if each.location.id != copy.location.id), key=lambda c: c.state != SOUND)

    async def are_damaged(self, image_id: str) -> bool:
        """Whether a copy of that image was found corrupt or missing, and has not been remade."""
        return await self._engine.read(_are_damaged, image_id)

    async def known(self, locations: Iterable[Location]) -> dict[int, Known]:
        """What is known of these locations, by their ids; of new ones, nothing is."""
        return await self._engine.read(_known, locations)

    async def with_image(self, context: RequestContext, image_id: str) -> WithKnown:
        """What `Images.get` gives, and what is known of its locations, and perhaps of others.

        :raises ImageNotFound: as it does.
        """
        sight = ALL if context.is_admin else Sight.of(context)
        found = None if is_wide(image_id) else await self._with_image.ask(sight, image_id)
        if found is None:
            raise ImageNotFound(image_id)
        return found

    async def doubt(self, image_id: str, location_ids: Sequence[int], detail: str) -> None:
        """A reader got wrong bytes from these copies: one is corrupt; of several it is for the auditor to say which."""
        await self._engine.interact(_doubt, image_id, location_ids, detail[:DETAIL], self._now())

    async def begin_repair(self, copy: Copy, claim: Claim) -> bool:
        """Note the claim; False if the copy is not damaged any more, is gone, or somebody works on the image."""
        return await self._engine.interact(_begin_repair, copy, claim)

    async def end_repair(self, copy: Copy, claim: Claim, url: str) -> bool:
        """The copy is at *url*, sound, and the claim is over; False if the image or the claim is gone."""
        return await self._engine.interact(_end_repair, copy, claim, url, self._now())

    async def counts(self) -> dict[str, int]:
        """How many copies are in each state."""
        return await self._engine.read(count_states)


def _enrol_next(connection: Connection, after: int, count: int) -> int:
    ids = select(image_locations.c.id).where(image_locations.c.id > after).order_by(image_locations.c.id)
    last = connection.execute(ids.offset(count - 1).limit(1)).scalar()
    upper = (lambda column: column <= last) if last is not None else (lambda column: true())
    _enrol(connection, lambda column: and_(column > after, upper(column)))
    return last or 0


def _enrol(connection: Connection, among: Callable[[ColumnElement[int]], ColumnElement[bool]]) -> None:
    """Of the locations with such ids."""
    known = image_locations.outerjoin(copies, copies.c.location_id == image_locations.c.id)
    made = select(
        image_locations.c.id, image_locations.c.image_id, literal(UNKNOWN), image_locations.c.created_at
    ).select_from(known)
    new = made.where(copies.c.location_id.is_(None), alive(image_locations), image_locations.c.status == "active")
    new = new.where(among(image_locations.c.id))
    connection.execute(insert(copies).from_select(["location_id", "image_id", "state", "audited_at"], new))
    present = select(image_locations.c.id).where(image_locations.c.id == copies.c.location_id, alive(image_locations))
    connection.execute(delete(copies).where(among(copies.c.location_id), ~present.exists()))


def _select_copies() -> Select[Any]:
    """What `_copy` reads, of images whose data should be there."""
    there = copies.join(image_locations, image_locations.c.id == copies.c.location_id)
    there = there.join(images, images.c.id == image_locations.c.image_id)
    return (
        select(
            images.c.id,
            images.c.owner,
            image_locations.c.id,
            image_locations.c.value,
            image_locations.c.meta_data,
            images.c.size,
            images.c.checksum,
            images.c.os_hash_algo,
            images.c.os_hash_value,
            copies.c.state,
            copies.c.audited_at,
            copies.c.detail,
        )
        .select_from(there)
        .where(alive(image_locations), image_locations.c.status == "active")
        .where(alive(images), images.c.status.in_((ACTIVE, DEACTIVATED)))
    )


def load_in_state(connection: Connection, states: Sequence[str], limit: int, after: Copy | None = None) -> list[Copy]:
    """Within a transaction: as `Copies.in_state`."""
    query = _select_copies().where(copies.c.state.in_(states)).limit(limit)
    query = query.order_by(copies.c.audited_at, copies.c.location_id)
    if after is not None:
        same = and_(copies.c.audited_at == after.audited_at, copies.c.location_id > (after.location.id or 0))
        query = query.where(or_(copies.c.audited_at > after.audited_at, same))
    return _load(connection, query)


def _load(connection: Connection, query: Select[Any]) -> list[Copy]:
    return [_copy(*row) for row in connection.execute(query)]


def _copy(
    image_id: str,
    owner: str | None,
    location_id: int,
    url: str,
    metadata: str | None,
    size: int | None,
    checksum: str | None,
    algorithm: str | None,
    digest: str | None,
    *found: Any,
) -> Copy:
    algorithm, digest = expected_digest(algorithm, digest, checksum)
    state, audited_at, detail = found
    return Copy(
        image_id=image_id,
        owner=owner,
        location=Location(id=location_id, url=url, metadata=json.loads(metadata) if metadata else {}),
        size=size,
        algorithm=algorithm,
        digest=digest,
        state=state,
        audited_at=audited_at,
        detail=detail,
    )


def _undisturbed(copy: Copy) -> tuple[ColumnElement[bool], ...]:
    """The conditions that a row of copies is this one, that it is still there, and that nobody works on its image."""
    location = select(image_locations.c.id).where(image_locations.c.id == copies.c.location_id, alive(image_locations))
    work = select(claims.c.id).where(claims.c.image_id == copies.c.image_id)
    return copies.c.location_id == copy.location.id, location.exists(), ~work.exists()


def _are_damaged(connection: Connection, image_id: str) -> bool:
    damaged = _select_copies().where(images.c.id == image_id, copies.c.state.in_((CORRUPT, MISSING)))
    return connection.execute(damaged.limit(1)).first() is not None


def _with_images(connection: Connection, sight: Sight, image_ids: Sequence[str]) -> Mapping[str, WithKnown]:
    found = load_images(connection, sight, image_ids)
    locations = [each for image in found.values() for each in image.locations]
    known = _known(connection, locations) if locations else {}
    return {image_id: (image, known) for image_id, image in found.items()}


def _known(connection: Connection, locations: Iterable[Location]) -> dict[int, Known]:
    location_ids = [each.id for each in locations if each.id is not None]
    these = select(copies.c.location_id, copies.c.state, copies.c.audited_at)
    rows = connection.execute(these.where(copies.c.location_id.in_(location_ids)))
    return {location_id: Known(state, audited_at) for location_id, state, audited_at in rows}


def _doubt(connection: Connection, image_id: str, location_ids: Sequence[int], detail: str, now: datetime) -> None:
    _enrol(connection, lambda column: column.in_(location_ids))
    one = len(location_ids) == 1
    values = {"state": CORRUPT, "audited_at": now, "detail": detail} if one else {"audited_at": LONG_AGO}
    work = select(claims.c.id).where(claims.c.image_id == image_id)
    these = update(copies).where(copies.c.location_id.in_(location_ids), ~work.exists())
    connection.execute(these.values(values))


def _begin_repair(connection: Connection, copy: Copy, claim: Claim) -> bool:
    hold(connection, copy.image_id)  # of several processes that want to remake it, one comes first
    there = (image_locations.c.id == copies.c.location_id, image_locations.c.status == "active")
    read = select(image_locations.c.id).where(*there)  # nobody is removing it
    damaged = select(copies.c.state).where(*_undisturbed(copy), read.exists())
    if connection.execute(damaged).scalar() not in (CORRUPT, MISSING):
        return False
    add_claim(connection, claim)
    return True


def _end_repair(connection: Connection, copy: Copy, claim: Claim, url: str, now: datetime) -> bool:
    if not drop_claim(connection, claim):
        return False
    found = update(copies).where(*_undisturbed(copy)).values(state=SOUND, audited_at=now, detail=None)
    if connection.execute(found).rowcount != 1:
        add_claim(connection, claim)  # what was written is to be undone
        return False
    if url != copy.location.url:
        moved = update(image_locations).where(image_locations.c.id == copy.location.id)
        connection.execute(moved.values(value=url, updated_at=now))
    return True


def _record(connection: Connection, copy: Copy, state: str, detail: str | None, now: datetime) -> bool:
    since = (copies.c.state == copy.state, copies.c.audited_at == copy.audited_at)
    this = update(copies).where(*_undisturbed(copy), *since)
    values = {"state": state, "audited_at": now, "detail": detail[:DETAIL] if detail else None}
    return connection.execute(this.values(values)).rowcount == 1


def count_states(connection: Connection) -> dict[str, int]:
    """Within a transaction: as `Copies.counts`."""
    rows: Sequence[Any] = connection.execute(select(copies.c.state, func.count()).group_by(copies.c.state)).all()
    return {state: count for state, count in rows}
