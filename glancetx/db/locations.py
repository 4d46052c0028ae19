"""One location of an image on its way out: its row, from active over pending_delete to deleted (D-048, D-086)."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, select, update

from glancetx.db.dialects import alive
from glancetx.db.engine import Engine
from glancetx.db.own_schema import claims, copies
from glancetx.db.schema import image_locations, images
from glancetx.db.strays import is_going
from glancetx.domain.claim import REPAIR
from glancetx.domain.copy import CORRUPT, MISSING
from glancetx.domain.errors import AttributeForbidden, Conflict, StatusConflict
from glancetx.domain.image import Image, Location, utc_now

ACTIVE: Final = "active"
PENDING_DELETE: Final = "pending_delete"
DELETED: Final = "deleted"
DAMAGED: Final = frozenset((CORRUPT, MISSING))


class LocationRows:
    """The rows of single locations. Each method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def is_going(self, url: str) -> bool:
        """Whether what is there may be data of nobody that is just being removed.

        If not, and a claim to add a location was noted before, it stays as long as that claim is there.
        """
        return await self._engine.read(is_going, url)

    async def retire(self, image: Image, location: Location) -> None:
        """Let nobody read *location* any more, because its data is to be deleted.

        :raises AttributeForbidden: if it is the last one that the image has, whatever others remove at the same time.
        :raises Conflict: if a copy is being remade, perhaps from this one; or if the others have to be, and can only be
            remade from this one.
        :raises StatusConflict: if the image or the location is not what it was.
        """
        await self._engine.interact(_retire, image, location)

    async def restore(self, location: Location) -> None:
        """The data stays after all."""
        await self._engine.interact(_move, location, ACTIVE)

    async def postpone(self, location: Location) -> None:
        """The data is left to the scrubber."""
        await self._engine.interact(_move, location, PENDING_DELETE)

    async def forget(self, location: Location) -> None:
        """The data is gone."""
        await self._engine.interact(_move, location, DELETED)


def _retire(connection: Connection, image: Image, location: Location) -> None:
    here = (images.c.id == image.id, images.c.status == image.status, alive(images))
    if connection.execute(update(images).where(*here).values(updated_at=utc_now())).rowcount != 1:
        raise StatusConflict(image.id, image.status, None)
    # The image's row is ours until the commit: nobody else removes a location meanwhile.
    table = image_locations
    known = table.outerjoin(copies, copies.c.location_id == table.c.id)
    there = select(table.c.id, copies.c.state).select_from(known).where(table.c.image_id == image.id, *_active())
    states = {location_id: state for location_id, state in connection.execute(there)}
    others = [state for location_id, state in states.items() if location_id != location.id]
    if not others:
        raise AttributeForbidden("Cannot remove last location in the image.")
    if states.get(location.id) not in DAMAGED and DAMAGED.issuperset(others):
        raise Conflict("The other copies of the image are damaged, and can be remade from this one only")
    repair = select(claims.c.id).where(claims.c.image_id == image.id, claims.c.kind == REPAIR)
    if connection.execute(repair).first() is not None:  # begun while it held the image's row
        raise Conflict("A copy of the image is just being remade, try again when that has ended")
    mine = update(table).where(table.c.id == location.id, *_active())
    if connection.execute(mine.values(status=PENDING_DELETE, updated_at=utc_now())).rowcount != 1:
        raise StatusConflict(image.id, image.status, image.status)


def _active() -> tuple[ColumnElement[bool], ...]:
    return image_locations.c.status == ACTIVE, alive(image_locations)


def _move(connection: Connection, location: Location, status: str) -> None:
    now = utc_now()
    values: dict[str, Any] = {"status": status, "updated_at": now}
    if status != ACTIVE:
        values |= {"deleted": True, "deleted_at": now}
    table = image_locations
    retired = (table.c.id == location.id, table.c.status == PENDING_DELETE, alive(table))
    connection.execute(update(table).where(*retired).values(values))
