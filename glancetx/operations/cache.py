"""The image cache as its administrators see it: what is in it, what is on its queue, and taking both away (A-220..).

The answers are those of Glance, whose policy rules are about administrators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from glancetx.access.policy import Policy, image_target
from glancetx.db.images import Images
from glancetx.domain.cached import CLEAR_CACHE, CLEAR_QUEUE, CacheEntry, Pruned, is_image_id
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import Conflict, ImageNotFound, Invalid, NotFound
from glancetx.domain.image import Image
from glancetx.domain.status import ACTIVE

if TYPE_CHECKING:  # loaded where there is a cache
    from glancetx.cache.cache import ImageCache

OLD: Final = "manage_image_cache"


@frozen
class CacheState:
    """What is cached, and what is queued."""

    cached: Sequence[CacheEntry]
    queued: Sequence[str]


class CacheAccess:
    """What may be done with *cache*, by whom. None: there is none here, which is told to who might use it.

    *queued* is called when something was put on the queue. Every method raises NotFound if there is no cache, and
    Forbidden if policy says so.
    """

    def __init__(
        self, cache: ImageCache | None, images: Images, policy: Policy, queued: Callable[[], None] = lambda: None
    ) -> None:
        self._cache, self._images, self._policy, self._queued = cache, images, policy, queued

    async def state(self, context: RequestContext, rule: str = "cache_list") -> CacheState:
        cache = self._usable(rule, context)
        return CacheState(await cache.entries(), await cache.queued())

    async def queue(self, context: RequestContext, image_id: str) -> None:
        """Have the image cached. :raises ImageNotFound: if there is none. :raises Invalid: if it is not active."""
        image = await self._image(context, image_id)
        cache = self._usable("cache_image", context, image)
        if image.status != ACTIVE:
            raise Invalid("Only images with status active can be targeted for queueing")
        await cache.enqueue(image_id)
        self._queued()

    async def remove(self, context: RequestContext, image_id: str) -> None:
        """Take it out of the cache and off the queue. :raises ImageNotFound: if it is in neither and no image."""
        image: Image | None = None
        try:
            image = await self._image(context, image_id)
        except ImageNotFound:
            if self._cache is None or not await self._cache.holds(image_id):
                raise
        await self._usable("cache_delete", context, image).remove(image_id)

    async def clear(self, context: RequestContext, target: str) -> None:
        """Empty what *target* names, or both. :raises Invalid: if it names something else."""
        cache = self._usable("cache_delete", context)
        if target not in ("", CLEAR_CACHE, CLEAR_QUEUE):
            raise Invalid("If provided 'x-image-cache-clear-target' must be 'cache', 'queue' or empty string.")
        if target != CLEAR_QUEUE:
            await cache.clear()
        if target != CLEAR_CACHE:
            await cache.clear_queue()

    async def nodes(self, context: RequestContext, image_id: str) -> Sequence[str]:
        """Which nodes have it. :raises Conflict: if they do not know of each other."""
        cache = self._usable("list_cached_nodes", context)
        if cache.settings.driver != "centralized_db":
            raise Conflict("Centralized caching is not enabled")
        await self._image(context, image_id)
        return await cache.index.nodes(image_id)

    async def clean(self, context: RequestContext) -> None:
        await self._usable("cache_clean", context).clean()

    async def prune(self, context: RequestContext) -> Pruned:
        return await self._usable("cache_prune", context).prune()

    async def queue_any(self, context: RequestContext, image_id: str) -> None:
        """The old way: whether there is such an image is found out when it is fetched."""
        await self._usable(OLD, context).enqueue(_checked(image_id))
        self._queued()

    async def remove_cached(self, context: RequestContext, image_id: str) -> None:
        await self._usable(OLD, context).remove_file(image_id)

    async def remove_queued(self, context: RequestContext, image_id: str) -> None:
        await self._usable(OLD, context).unqueue(image_id)

    async def clear_cached(self, context: RequestContext) -> int:
        """How many were cached."""
        return await self._usable(OLD, context).clear()

    async def clear_queued(self, context: RequestContext) -> int:
        """How many were queued."""
        return await self._usable(OLD, context).clear_queue()

    async def _image(self, context: RequestContext, image_id: str) -> Image:
        try:
            return await self._images.get(context, image_id)
        except ImageNotFound as error:
            raise ImageNotFound(image_id, "Image {} not found.") from error

    def _usable(self, rule: str, context: RequestContext, image: Image | None = None) -> ImageCache:
        self._policy.check(rule, context, {} if image is None else image_target(context, image))
        if self._cache is None:
            raise NotFound("Caching via API is not supported at this site.")
        return self._cache


def _checked(image_id: str) -> str:
    """:raises Invalid: if this cannot be the id of an image."""
    if not is_image_id(image_id):
        raise Invalid(f"{image_id} is not the id of an image")
    return image_id
