"""``/v2/images/{id}/locations`` and ``/v2/stores``: copies of an image's data (api.md, sections 7 and 8)."""

from __future__ import annotations

from glancetx.operations.locations import Locations
from glancetx.web.routing import Answer, Call, route
from glancetx.web.views import location_view


class LocationsRoom:
    """Reads requests about locations, calls `Locations`, shows what it says."""

    def __init__(self, locations: Locations) -> None:
        self._locations = locations

    @route("GET", "/v2/images/<image_id>/locations", body=True)
    async def list(self, call: Call, image_id: str) -> Answer:
        locations = await self._locations.list(call.context, image_id)
        return Answer(document=[location_view(each) for each in locations])

    @route("DELETE", "/v2/stores/<store>/<image_id>", missing="Failed to find image {}")
    async def remove_from_store(self, call: Call, store: str, image_id: str) -> Answer:
        await self._locations.remove_from_store(call.context, store, image_id)
        return Answer(status=204)
