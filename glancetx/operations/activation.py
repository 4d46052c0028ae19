"""Taking an image out of use for a while (api.md, A-175, A-176)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from glancetx.access.policy import Policy
from glancetx.db.images import Images
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import Forbidden
from glancetx.domain.status import ACTIVE, DEACTIVATED
from glancetx.notifications.events import Events
from glancetx.operations.concurrency import until_unchanged


class Activation:
    """Deactivates and reactivates: the data stays, and only administrators can read it meanwhile.

    *forget* is called with the id of each image that is deactivated, and does not raise.
    """

    def __init__(
        self,
        images: Images,
        policy: Policy,
        events: Events,
        forget: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._forget = forget
        self._images = images
        self._policy = policy
        self._events = events

    async def deactivate(self, context: RequestContext, image_id: str) -> None:
        """Nothing changes if it is deactivated. :raises Forbidden: if the image is not active either."""
        await until_unchanged(self._change, "deactivate", context, image_id, DEACTIVATED)

    async def reactivate(self, context: RequestContext, image_id: str) -> None:
        """Nothing changes if it is active. :raises Forbidden: if the image is not deactivated either."""
        await until_unchanged(self._change, "reactivate", context, image_id, ACTIVE)

    async def _change(self, verb: str, context: RequestContext, image_id: str, status: str) -> None:
        image = await self._images.get(context, image_id)
        self._policy.check_image(verb, context, image)
        if image.status not in (ACTIVE, DEACTIVATED):
            raise Forbidden(f"Not allowed to {verb} image in status '{image.status}'")
        if image.status != status:
            tell = self._events.image_updated
            await self._images.save(image.to(status), was=image.status, base=image, tell=tell)
            if status == DEACTIVATED and self._forget is not None:
                await self._forget(image_id)
