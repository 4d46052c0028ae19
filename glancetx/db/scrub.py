"""Images and locations that wait for the scrubber (D-050, P-061..P-064): their data is there, and may come back."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

from attrs import evolve, frozen
from sqlalchemy import Connection, and_, or_, select, update

from glancetx.db.claims import add_claim, drop_claim
from glancetx.db.dialects import alive
from glancetx.db.engine import Engine
from glancetx.db.own_schema import claims
from glancetx.db.schema import image_locations, image_members, image_properties, image_tags, images
from glancetx.domain.claim import Claim
from glancetx.domain.errors import Conflict, ImageNotFound
from glancetx.domain.image import Location, utc_now
from glancetx.domain.status import ACTIVE, DELETED, PENDING_DELETE

LEFT_BEHIND = timedelta(hours=1)
"""After this, a location that is on its way out of a living image was left by a process that died."""


@frozen
class Doomed:
    """What is to be removed of one image."""

    image_id: str
    locations: tuple[Location, ...]


class PendingDeletes:
    """The queue of the scrubber, which is the tables themselves."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._now = engine, now

    async def due(self, age: float, limit: int, after: str = "") -> list[Doomed]:
        """What was deleted *age* seconds ago or earlier, of images behind *after* in the order of their ids.

        At most *limit* locations, those of an image together; none if there are no more.
        """
        return await self._engine.read(_due, self._now(), timedelta(seconds=age), limit, after)

    async def begin(self, claim: Claim, doomed: Doomed) -> Doomed:
        """Note that data of the claim's image are being removed: what still waits of *doomed*, which is returned.

        Nothing, and no claim, if all of it was restored meanwhile, or somebody else is at it.
        """
        return await self._engine.interact(_begin, claim, doomed)

    async def waiting(self, image_id: str) -> Doomed:
        """All that waits of a deleted image."""
        return await self._engine.read(_waiting, image_id)

    async def scrubbed(self, location: Location) -> None:
        """The data of this location is gone."""
        await self._engine.ensure(_scrubbed, location, self._now())

    async def end(self, claim: Claim) -> bool:
        """Let go of the image, which is deleted if none of its data waits any more; tells whether it is."""
        return await self._engine.ensure(_end, claim, self._now())


def _due(connection: Connection, now: datetime, age: timedelta, limit: int, after: str) -> list[Doomed]:
    table = image_locations
    before = now - age
    waiting = or_(
        and_(~alive(table), table.c.deleted_at <= before),
        and_(alive(table), table.c.updated_at <= min(before, now - LEFT_BEHIND)),
    )
    rows = connection.execute(
        select(table.c.image_id, table.c.id, table.c.value, table.c.meta_data)
        .where(table.c.status == PENDING_DELETE, waiting, table.c.image_id > after)
        .order_by(table.c.image_id, table.c.id)
        .limit(limit)
    ).all()
    found: dict[str, list[Location]] = {}
    for image_id, *of_location in rows:
        found.setdefault(image_id, []).append(_location(*of_location))
    doomed = [Doomed(image_id, tuple(locations)) for image_id, locations in found.items()]
    whole = len(rows) < limit or len(doomed) == 1
    return doomed if whole else doomed[:-1]  # the last one may have more locations, and comes again


def _location(row_id: int, url: str, metadata: str | None) -> Location:
    return Location(id=row_id, url=url, metadata=json.loads(metadata) if metadata else {})


def _waiting(connection: Connection, image_id: str) -> Doomed:
    table = image_locations
    deleted = select(images.c.id).where(images.c.id == image_id, images.c.status == PENDING_DELETE)
    rows = connection.execute(
        select(table.c.id, table.c.value, table.c.meta_data)
        .where(table.c.image_id == image_id, table.c.status == PENDING_DELETE, deleted.exists())
        .order_by(table.c.id)
    )
    return Doomed(image_id, tuple(_location(*row) for row in rows))


def _begin(connection: Connection, claim: Claim, doomed: Doomed) -> Doomed:
    # The image's row is ours until the commit, so nobody restores it meanwhile.
    connection.execute(update(images).where(images.c.id == claim.image_id).values(updated_at=images.c.updated_at))
    if connection.execute(select(claims.c.id).where(claims.c.image_id == claim.image_id)).first() is not None:
        return evolve(doomed, locations=())
    table = image_locations
    mine = select(table.c.id).where(table.c.image_id == claim.image_id, table.c.status == PENDING_DELETE)
    waiting = set(connection.execute(mine).scalars())
    left = evolve(doomed, locations=tuple(each for each in doomed.locations if each.id in waiting))
    if left.locations:
        add_claim(connection, claim)
    return left


def _scrubbed(connection: Connection, location: Location, now: datetime) -> None:
    gone = {"status": DELETED, "deleted": True, "deleted_at": now, "updated_at": now}
    connection.execute(update(image_locations).where(image_locations.c.id == location.id).values(gone))


def _end(connection: Connection, claim: Claim, now: datetime) -> bool:
    drop_claim(connection, claim)
    table = image_locations
    waits = select(table.c.id).where(table.c.image_id == claim.image_id, table.c.status == PENDING_DELETE)
    done = update(images).where(images.c.id == claim.image_id, images.c.status == PENDING_DELETE, ~waits.exists())
    return connection.execute(done.values(status=DELETED, updated_at=now)).rowcount == 1


def restore(connection: Connection, image_id: str) -> None:
    """Within a transaction: make a deleted image active again, with all that was deleted with it.

    :raises ImageNotFound: if there is none.
    :raises Conflict: if it does not wait for the scrubber, or the scrubber is at it or was there already.
    """
    now = utc_now()
    row = connection.execute(select(images.c.status, images.c.deleted_at).where(images.c.id == image_id)).first()
    if row is None:
        raise ImageNotFound(image_id)
    here = update(images).where(images.c.id == image_id, images.c.status == PENDING_DELETE)
    alive_again = {"status": ACTIVE, "deleted": False, "deleted_at": None, "updated_at": now}
    if connection.execute(here.values(alive_again)).rowcount != 1:
        raise Conflict(f"Image {image_id} cannot be restored: it is {row.status}, not {PENDING_DELETE}")
    if connection.execute(select(claims.c.id).where(claims.c.image_id == image_id)).first() is not None:
        raise Conflict(f"Image {image_id} cannot be restored: the scrubber is removing its data")
    table = image_locations
    mine = (table.c.image_id == image_id, table.c.status == PENDING_DELETE)
    back = update(table).where(*mine).values(status=ACTIVE, deleted=False, deleted_at=None, updated_at=now)
    if connection.execute(back).rowcount == 0:
        raise Conflict(f"Image {image_id} cannot be restored: its data is gone")
    for children in (image_properties, image_tags, image_members):
        with_it = (children.c.image_id == image_id, children.c.deleted_at == row.deleted_at)
        connection.execute(update(children).where(*with_it).values(deleted=False, deleted_at=None))
