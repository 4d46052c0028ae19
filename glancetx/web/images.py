"""``/v2/images``: the records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from glancetx.domain.errors import Invalid
from glancetx.operations.images import Catalog
from glancetx.transfer.delete import Deletes
from glancetx.web.jsonpatch import check_media_type, parse_changes
from glancetx.web.query import QueryParser, parse_query
from glancetx.web.routing import NO_DOCUMENT, Answer, Call, route
from glancetx.web.views import ImageViews

Choice = tuple[str, Sequence[str]]
"""A header's name, and what a client may choose from."""


def offers(*lists: Choice) -> Iterator[tuple[str, str]]:
    """Headers of a new image that tell where its data may come from and go to; empty lists are not told."""
    return ((name, ",".join(values)) for name, values in lists if values)


class ImagesRoom:
    """Reads requests about images, calls the catalog, shows what it says. *choices* are told of every new image."""

    def __init__(
        self, catalog: Catalog, deletes: Deletes, views: ImageViews, query: QueryParser, *choices: Choice
    ) -> None:
        self._catalog = catalog
        self._deletes = deletes
        self._views = views
        self._query = query
        self._offers = tuple(offers(*choices))

    @route("POST", "/v2/images", body=True)
    async def create(self, call: Call) -> Answer:
        document = await call.json()
        if not isinstance(document, dict):
            raise Invalid(NO_DOCUMENT)
        image = await self._catalog.create(call.context, **document)
        view = self._views.image(image)
        return Answer(status=201, document=view, headers=(("Location", call.absolute(view["self"])), *self._offers))

    @route("GET", "/v2/images", body=True)
    async def list(self, call: Call) -> Answer:
        pairs = parse_query(call.query)
        images, last = await self._catalog.list(call.context, self._query.parse(pairs))
        return Answer(text=self._views.images(images, pairs, last))

    @route("GET", "/v2/images/<image_id>")
    async def show(self, call: Call, image_id: str) -> Answer:
        return Answer(document=self._views.image(await self._catalog.get(call.context, image_id)))

    @route("PATCH", "/v2/images/<image_id>", body=True)
    async def update(self, call: Call, image_id: str) -> Answer:
        media_type = check_media_type(call.header("content-type"))
        changes = parse_changes(await call.document(), media_type)
        return Answer(document=self._views.image(await self._catalog.update(call.context, image_id, changes)))

    @route("DELETE", "/v2/images/<image_id>", missing="Failed to find image {} to delete")
    async def delete(self, call: Call, image_id: str) -> Answer:
        await self._deletes.delete(call.context, image_id)
        return Answer(status=204)
