"""Telling stores which keep each project's data in its own storage who else may read it there (S-074)."""

from __future__ import annotations

from contextlib import suppress

from attrs import frozen
from twisted.logger import Logger

from glancetx.db.images import Images
from glancetx.db.members import Members
from glancetx.domain.context import service_context
from glancetx.domain.errors import DataNotFound, Forbidden, ImageNotFound, ImageServiceError
from glancetx.domain.image import Image, Location
from glancetx.stores.registry import Stores

EVERYBODY = ("public", "community")
_log = Logger()


@frozen
class _Wanted:
    """Who is to read what. *readers* None: everybody."""

    locations: tuple[Location, ...]
    readers: frozenset[str] | None


class Readers:
    """What the stores are told follows from the database alone, so it does not matter who tells them, or how often."""

    def __init__(self, images: Images, members: Members, stores: Stores) -> None:
        self._images, self._members, self._stores = images, members, stores

    async def tell(self, image: Image, token: str | None = None) -> None:
        """Tell the stores of the image's data who may read it now; *token* is that of who has changed that.

        Of several at the same time the last one to end has told the last truth: each looks again after it has told.

        :raises StoreError, Forbidden: if a store cannot be told.
        """
        told: _Wanted | None = None
        while self._stores.in_tenant_stores(image.locations):
            try:
                image = await self._images.get(service_context(), image.id)
            except ImageNotFound:
                return
            wanted = await self._wanted(image)
            if wanted == told:
                return
            for store, location in self._stores.acting_for(image.owner, token).in_tenant_stores(wanted.locations):
                try:
                    await store.share(location.url, wanted.readers)
                except DataNotFound:
                    _log.warn("image {image}: there is no data to share", image=image.id)
            told = wanted

    async def try_to_tell(self, image: Image, token: str | None = None) -> None:
        """As `tell`, where something else was asked for and is done: that it fails is only logged."""
        try:
            await self.tell(image, token)
        except (ImageServiceError, Forbidden) as error:
            _log.error("image {image}: its store was not told who may read it: {why!r}", image=image.id, why=error)

    async def try_to_tell_of(self, image_id: str) -> None:
        """As `try_to_tell`, where only the image's id is known."""
        with suppress(ImageNotFound):
            await self.try_to_tell(await self._images.get(service_context(), image_id))

    async def _wanted(self, image: Image) -> _Wanted:
        if image.visibility in EVERYBODY:
            return _Wanted(image.locations, None)
        members = await self._members.list(image.id) if image.visibility == "shared" else []
        return _Wanted(image.locations, frozenset(member.member_id for member in members))
