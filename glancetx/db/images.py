"""The images in the database: each method is one transaction.

Writes are conditional on the status the caller knows; whoever comes second is told (A-090).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import evolve
from sqlalchemy import Connection, select, update

from glancetx.db.children import reconcile_locations
from glancetx.db.claims import add_claim, check_not_discarding, drop_claim, leave_claim
from glancetx.db.dialects import alive, as_kept
from glancetx.db.engine import Engine
from glancetx.db.gathered import Gathered
from glancetx.db.own_schema import claims
from glancetx.db.reading import find_image, hold_image, load_images, load_page
from glancetx.db.schema import image_locations, images
from glancetx.db.shares import ALL, Sight
from glancetx.db.telling import Tell, nobody
from glancetx.db.usage import check_begun, check_more, take_turn
from glancetx.db.writing import (
    Creation,
    Deletion,
    Save,
    create_images,
    delete_images,
    save_image,
    save_images,
    status_of,
    update_image,
)
from glancetx.domain.claim import STAGE, Claim
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import ImageNotFound, StatusConflict
from glancetx.domain.image import Image, Location, utc_now
from glancetx.domain.limits import UNLIMITED, Limits
from glancetx.domain.query import ImageQuery
from glancetx.domain.status import DELETED, IMPORTING, PENDING_DELETE, QUEUED, SAVING, UPLOADING
from glancetx.domain.text import is_wide

ImageList = list[Image]

_OF_DATA: Final = ("size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value")


class Images:
    """All images of one database. Cancelling any method waits until its transaction is committed or rolled back.

    *tell* is called at the end of the transaction with the image that was written.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._single: Gathered[Sight, str, Image] = Gathered(engine, load_images)
        self._pages: Gathered[tuple[Sight, ImageQuery], None, Sequence[Image]] = Gathered(engine, load_page)

    async def create(self, image: Image, limits: Limits = UNLIMITED, tell: Tell[Image] = nobody) -> Image:
        """Insert a new image with its properties, tags and locations; returns it as saved.

        :raises LimitExceeded: if its owner has as many as *limits* allow.
        :raises ImageExists: if the id is taken, if only by a deleted image.
        """
        return await self._engine.join(create_images, Creation(image, limits, tell))

    async def get(self, context: RequestContext, image_id: str) -> Image:
        """The image, if it is not deleted and the caller may see it (A-095).

        All active locations are in it, whatever the caller may know of them.

        :raises ImageNotFound: otherwise.
        """
        sight = ALL if context.is_admin else Sight.of(context)  # an admin may see what has an id, whatever his project
        image = None if is_wide(image_id) else await self._single.ask(sight, image_id)
        if image is None:
            raise ImageNotFound(image_id)
        return image

    async def list(self, context: RequestContext, query: ImageQuery) -> ImageList:
        """One page of the images the caller is shown.

        :raises Invalid: if the marker is not an image the caller may see, or a filter or sort key is unknown.
        """
        return [*(await self._pages.ask((Sight.of(context), query), None) or ())]

    async def status(self, image_id: str) -> str | None:
        """The status of an image, whoever may see it; None if there is none, or it is deleted."""
        return await self._engine.read(status_of, image_id)

    async def save(
        self,
        image: Image,
        was: str,
        take: Claim | None = None,
        release: Claim | None = None,
        base: Image | None = None,
        tell: Tell[Image] = nobody,
    ) -> Image:
        """Write the whole record, if its status still is *was*; returns it as saved, with its new updated_at.

        In the same transaction the claim *take* is noted and *release* removed. *base* is the record as it was read,
        from which *image* was made; without one, what others have changed since is overwritten.

        :raises StatusConflict: if the status is another, the image is gone, or *release* is not ours any more;
            nothing is written then.
        :raises ImageChanged: if the record is not *base* any more; nothing is written then either.
        """
        return await self._engine.join(save_images, Save(image, was, take, release, base, tell))

    async def extend(
        self,
        image: Image,
        was: str,
        limits: Limits,
        more: int,
        claim: Claim,
        base: Image | None = None,
        tell: Tell[Image] = nobody,
    ) -> Image:
        """As `save`, where *image* has got locations that hold *more* bytes; its owner may have *limits* at most.

        *claim* was noted for that, and ends with it.

        :raises LimitExceeded: if that would be too much; nothing is written then.
        :raises StatusConflict, ImageChanged: as `save`.
        """
        return await self._engine.interact(_extend, image, was, limits, more, claim, base, tell)

    async def begin(
        self,
        image: Image,
        was: str,
        claim: Claim,
        limits: Limits,
        size: int | None,
        tell: Tell[Image] = nobody,
    ) -> Image:
        """Write the new status, and note *claim*, for an upload of *size* bytes (None: it is not known yet).

        Returns the whole record, with what others have changed since. The claim's owner may have no more than *limits*,
        whatever else is begun at the same time.

        :raises LimitExceeded: if that would be too much; nothing is written then.
        :raises StatusConflict: as `save`.
        :raises Conflict: if what an earlier attempt left is just being removed; nothing is written then.
        """
        return await self._engine.interact(_begin, image, was, claim, limits, size, tell)

    async def publish(self, image: Image, was: str, claim: Claim, tell: Tell[Image] = nobody) -> Image:
        """Write what the data has made of the image, its status and its locations, and remove *claim*.

        What others have changed since stays. Returns the whole record. A database that is away for a while is waited
        for: so much has been sent.

        :raises StatusConflict: as `save`.
        """
        return await self._engine.insist(_publish, image, was, claim, tell)

    async def requeue(self, claim: Claim, tell: Tell[Image] = nobody, *, leaving: bool = False) -> bool:
        """Undo an upload, or a staging, that its process did not finish: the image is queued again, the claim dropped.

        *leaving*: data is left in the store, and the claim becomes one to discard it.

        Does nothing if the claim is not ours any more; leaves an image alone that is not saving, or uploading, any
        more. Tells whether it was.
        """
        return await self._engine.ensure(_requeue, claim, tell, leaving)

    async def release_stuck(self, seconds: float) -> Sequence[str]:
        """Queue the images again that nobody claims and nothing has happened to for so long, although they are being
        filled; returns their ids. What Glance has stored of them is not known to anybody.
        """
        return await self._engine.ensure(_release_stuck, utc_now() - timedelta(seconds=seconds))

    async def doom(self, image: Image, claim: Claim) -> Image:
        """Note *claim* to remove the data of *image*, which is returned as it is now: no import adds any more to it.

        :raises StatusConflict: as `save`.
        """
        return await self._engine.interact(_doom, image, claim)

    async def forget(self, gone: Sequence[Location]) -> None:
        """The data of these locations is gone, that of others of the image is not."""
        await self._engine.ensure(_forget, [each.id for each in gone])

    async def delete(
        self,
        image: Image,
        was: str,
        release: Claim | None = None,
        *,
        later: bool = False,
        tell: Tell[Image] = nobody,
    ) -> None:
        """Mark the image, and all that belongs to it, as deleted, if its status still is *was* (D-049).

        *later*: its data is left to the scrubber (D-050). Imports into it are cancelled: their claims are nobody's from
        then on.

        :raises StatusConflict: as `save`.
        """
        status = PENDING_DELETE if later else DELETED
        await self._engine.join(delete_images, Deletion(image, was, release, status, tell))


def _begin(
    connection: Connection,
    image: Image,
    was: str,
    claim: Claim,
    limits: Limits,
    size: int | None,
    tell: Tell[Image],
) -> Image:
    if limits != UNLIMITED:
        turn = take_turn(connection, claim.owner)
        claim = evolve(claim, turn=turn if size is None else None)
    update_image(connection, image.id, was, {"status": image.status, "updated_at": as_kept(connection, utc_now())})
    check_not_discarding(connection, image.id)
    add_claim(connection, claim)
    check_begun(connection, claim, limits, size)
    begun = _present(connection, image.id)
    tell(connection, begun)
    return begun


def _publish(connection: Connection, image: Image, was: str, claim: Claim, tell: Tell[Image]) -> Image:
    published = _write_published(connection, image, was, claim)
    tell(connection, published)
    return published


def _write_published(connection: Connection, image: Image, was: str, claim: Claim) -> Image:
    if not drop_claim(connection, claim):
        return _published(connection, image, was)
    now = as_kept(connection, utc_now())
    values = {name: getattr(image, name) for name in ("status", *_OF_DATA)}
    update_image(connection, image.id, was, values | {"updated_at": now})
    reconcile_locations(connection, image.id, image.locations, now)
    return _present(connection, image.id)


def _published(connection: Connection, image: Image, was: str) -> Image:
    """The image, if it has the data of *image*: we have been here before, and lost the database when it committed.

    :raises StatusConflict: if not: we were taken for dead, and others have cleaned up after us.
    """
    present = find_image(connection, image.id)
    places = {place.url for place in present.locations} if present else set()
    if present and present.checksum == image.checksum and places.issuperset(place.url for place in image.locations):
        return present
    raise StatusConflict(image.id, was, present.status if present else None)


def _present(connection: Connection, image_id: str) -> Image:
    image = find_image(connection, image_id)
    assert image is not None
    return image


def _extend(
    connection: Connection,
    image: Image,
    was: str,
    limits: Limits,
    more: int,
    claim: Claim,
    base: Image | None,
    tell: Tell[Image],
) -> Image:
    check_more(connection, image.owner, limits, more)
    return save_image(connection, image, was, None, claim, base, tell)


def _requeue(connection: Connection, claim: Claim, tell: Tell[Image], leaving: bool) -> bool:
    if not (leave_claim if leaving else drop_claim)(connection, claim):
        return False
    nothing = dict.fromkeys(_OF_DATA)
    values = {"status": QUEUED, "updated_at": as_kept(connection, utc_now()), **nothing}
    status = UPLOADING if claim.kind == STAGE else SAVING
    unfinished = (images.c.id == claim.image_id, images.c.status == status, alive(images))
    if connection.execute(update(images).where(*unfinished).values(values)).rowcount != 1:
        return False
    tell(connection, _present(connection, claim.image_id))
    return True


def _doom(connection: Connection, image: Image, claim: Claim) -> Image:
    current = hold_image(connection, image.id)
    if current is None or current.status != image.status:
        raise StatusConflict(image.id, image.status, current.status if current else None)
    add_claim(connection, claim)
    return current


def _forget(connection: Connection, location_ids: Sequence[int | None]) -> None:
    now = as_kept(connection, utc_now())
    gone = update(image_locations).where(image_locations.c.id.in_(location_ids), alive(image_locations))
    connection.execute(gone.values(status=DELETED, deleted=True, deleted_at=now, updated_at=now))


def _release_stuck(connection: Connection, before: datetime) -> list[str]:
    work = select(claims.c.id).where(claims.c.image_id == images.c.id)
    stuck = (
        images.c.status.in_((SAVING, IMPORTING)),  # what is uploading may wait for its import as long as it likes
        images.c.updated_at < before,
        alive(images),
        ~work.exists(),
    )
    found = list(connection.execute(select(images.c.id).where(*stuck)).scalars())
    values = {"status": QUEUED, "updated_at": as_kept(connection, utc_now()), **dict.fromkeys(_OF_DATA)}
    released = []
    for image_id in found:
        if connection.execute(update(images).where(images.c.id == image_id, *stuck).values(values)).rowcount == 1:
            released.append(image_id)
    return released
