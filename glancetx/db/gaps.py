"""Images in use that lack their size, or the hashes that they should have by now: found, and completed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from attrs import evolve, field, frozen
from sqlalchemy import Connection, select

from glancetx.db.engine import Engine
from glancetx.db.own_schema import claims
from glancetx.db.reading import hold_image
from glancetx.db.schema import images, tasks
from glancetx.db.telling import Tell, nobody
from glancetx.db.writing import save_image
from glancetx.domain.image import Image, Location
from glancetx.domain.status import ACTIVE
from glancetx.domain.task import FAILURE, LOCATION_IMPORT

MD5_OF_NOTHING: Final = "d41d8cd98f00b204e9800998ecf8427e"


@frozen
class Gap:
    """What an image lacks: its size, or its hashes, or both."""

    image_id: str
    size: bool
    hashes: bool


@frozen(kw_only=True)
class Facts:
    """What was found out about data; None: that was not looked for."""

    size: int
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None

    def fits(self, image: Image) -> bool:
        """Whether nothing that *image* says of its data is different."""
        checksum = image.checksum in (None, self.checksum) or self.checksum is None
        return checksum and (not image.size or image.size == self.size)

    def completed(self, image: Image) -> Image:
        """*image* with what it lacked; what it said stays."""
        image = evolve(image, size=image.size or self.size, checksum=image.checksum or self.checksum)
        if image.os_hash_value is not None or self.os_hash_value is None:
            return image
        return evolve(image, os_hash_algo=self.os_hash_algo, os_hash_value=self.os_hash_value)


@frozen
class Page:
    """The gaps among some images, and the id of the last of these; "" if there are no more."""

    gaps: Sequence[Gap] = field(factory=tuple)
    marker: str = ""


class Gaps:
    """The images of one database that lack something."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def after(self, marker: str, limit: int) -> Page:
        """Those among the next *limit* images, by id, behind *marker*.

        Hashes are lacking only where the addition of a location has failed to find them: other locations without
        hashes are so because somebody wanted it.
        """
        return await self._engine.read(_after, marker, limit)

    async def complete(self, image: Image, location: Location, facts: Facts, tell: Tell[Image] = nobody) -> bool:
        """Write what was found out about the data at *location*; nothing that is there is overwritten.

        False, and nothing is written, if the image is gone, or not in use, or has that location no more, or says
        something different of its data, or everything already. *tell* is called with the image as it is written.
        """
        return await self._engine.ensure(_complete, image.id, location, facts, tell)


def _after(connection: Connection, marker: str, limit: int) -> Page:
    columns = [images.c[name] for name in ("id", "status", "deleted", "size", "checksum", "os_hash_value")]
    rows = connection.execute(select(*columns).where(images.c.id > marker).order_by(images.c.id).limit(limit)).all()
    used = [row for row in rows if row.status == ACTIVE and not row.deleted]
    sizeless = {row.id for row in used if not row.size and row.checksum != MD5_OF_NOTHING}
    hashless = _left_without(connection, [row.id for row in used if row.os_hash_value is None])
    busy = _busy(connection, sizeless | hashless)
    gaps = [Gap(row.id, row.id in sizeless, row.id in hashless) for row in used]
    found = tuple(gap for gap in gaps if (gap.size or gap.hashes) and gap.image_id not in busy)
    return Page(found, rows[-1].id if len(rows) == limit else "")


def _left_without(connection: Connection, image_ids: Sequence[str]) -> set[str]:
    """Those of these images whose location was added, and its hashes not found."""
    if not image_ids:
        return set()
    failed = select(tasks.c.image_id).where(
        tasks.c.image_id.in_(image_ids), tasks.c.type == LOCATION_IMPORT, tasks.c.status == FAILURE
    )
    return set(connection.execute(failed).scalars())


def _busy(connection: Connection, image_ids: Collection[str]) -> set[str]:
    """Those with whose data somebody is doing something."""
    if not image_ids:
        return set()
    return set(connection.execute(select(claims.c.image_id).where(claims.c.image_id.in_(image_ids))).scalars())


def _complete(connection: Connection, image_id: str, location: Location, facts: Facts, tell: Tell[Image]) -> bool:
    image = hold_image(connection, image_id)
    if image is None or image.status != ACTIVE:
        return False
    if location.id not in {each.id for each in image.locations} or not facts.fits(image):
        return False
    completed = facts.completed(image)
    if completed == image:
        return False
    save_image(connection, completed, ACTIVE, None, None, base=image, tell=tell)
    return True
