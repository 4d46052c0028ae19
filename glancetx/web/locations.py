"""``/v2/images/{id}/locations`` and ``/v2/stores``: copies of an image's data (api.md, sections 7 and 8)."""

from __future__ import annotations

from typing import Any

from glancetx.imports.adding import Additions, NewLocation
from glancetx.operations.locations import Locations
from glancetx.operations.schemas import LocationSchema
from glancetx.web.routing import Answer, Call, route
from glancetx.web.views import location_view


class LocationsRoom:
    """Reads requests about locations, calls `Locations` and `Additions`, shows what they say."""

    def __init__(self, locations: Locations, additions: Additions) -> None:
        self._locations = locations
        self._additions = additions
        self._schema = LocationSchema()

    @route("GET", "/v2/images/<image_id>/locations", body=True)
    async def list(self, call: Call, image_id: str) -> Answer:
        locations = await self._locations.list(call.context, image_id)
        return Answer(document=[location_view(each) for each in locations])

    @route("POST", "/v2/images/<image_id>/locations", body=True)
    async def add(self, call: Call, image_id: str) -> Answer:
        await self._additions.accept(call.context, image_id, self._parse(await call.document()))
        return Answer(status=202)

    @route("DELETE", "/v2/stores/<store>/<image_id>", missing="Failed to find image {}")
    async def remove_from_store(self, call: Call, store: str, image_id: str) -> Answer:
        await self._locations.remove_from_store(call.context, store, image_id)
        return Answer(status=204)

    def _parse(self, document: Any) -> NewLocation:
        """:raises Invalid: if it is no location."""
        self._schema.check(document)
        assert isinstance(document, dict)
        hashes = document.get("validation_data", {})
        digests = {hashes["os_hash_algo"]: hashes["os_hash_value"]} if hashes else {}
        return NewLocation(url=document["url"], digests=digests)
