"""One tag of an image at a time (api.md, A-170..A-172)."""

from __future__ import annotations

from glancetx.domain.context import RequestContext
from glancetx.domain.errors import LimitExceeded, NotFound
from glancetx.operations.images import Catalog
from glancetx.operations.schemas import ImageSchema


class Tags:
    """Adds and removes tags; what an image may have is decided by the *catalog*, as for a patch."""

    def __init__(self, catalog: Catalog, schema: ImageSchema) -> None:
        self._catalog = catalog
        self._schema = schema

    async def add(self, context: RequestContext, image_id: str, tag: str) -> None:
        """Nothing changes if the image has it already. :raises Invalid, Forbidden, LimitExceeded: as for a patch."""
        self._schema.check_change({"tags": [tag]})
        try:
            await self._catalog.retag(context, image_id, lambda tags: (*tags, tag))
        except LimitExceeded as error:
            raise LimitExceeded(f"Image tag limit exceeded for image {image_id}: {error}:") from error

    async def remove(self, context: RequestContext, image_id: str, tag: str) -> None:
        """:raises NotFound: if the image has no such tag."""
        await self._catalog.retag(context, image_id, lambda tags: without(tags, tag))


def without(tags: tuple[str, ...], tag: str) -> tuple[str, ...]:
    """:raises NotFound: if *tag* is not among *tags*."""
    if tag not in tags:
        raise NotFound("The resource could not be found.")
    return tuple(other for other in tags if other != tag)
