"""``/v2/images/{id}/tags/{tag}`` and ``/v2/images/{id}/actions``: changes that need no body."""

from __future__ import annotations

from typing import Final

from glancetx.operations.activation import Activation
from glancetx.operations.tags import Tags
from glancetx.web.routing import Answer, Call, route

MISSING: Final = "Image {} not found."


class TagsRoom:
    """Tags one by one."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags

    @route("PUT", "/v2/images/<image_id>/tags/<tag>", missing=MISSING)
    async def add(self, call: Call, image_id: str, tag: str) -> Answer:
        await self._tags.add(call.context, image_id, tag)
        return Answer(status=204)

    @route("DELETE", "/v2/images/<image_id>/tags/<tag>", missing=MISSING)
    async def remove(self, call: Call, image_id: str, tag: str) -> Answer:
        await self._tags.remove(call.context, image_id, tag)
        return Answer(status=204)


class ActionsRoom:
    """Deactivate and reactivate."""

    def __init__(self, activation: Activation) -> None:
        self._activation = activation

    @route("POST", "/v2/images/<image_id>/actions/deactivate")
    async def deactivate(self, call: Call, image_id: str) -> Answer:
        await self._activation.deactivate(call.context, image_id)
        return Answer(status=204)

    @route("POST", "/v2/images/<image_id>/actions/reactivate")
    async def reactivate(self, call: Call, image_id: str) -> Answer:
        await self._activation.reactivate(call.context, image_id)
        return Answer(status=204)
