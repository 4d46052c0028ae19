"""Bringing into the image cache what is on its queue."""

from __future__ import annotations

from glancetx.cache.cache import ImageCache
from glancetx.db.images import Images
from glancetx.domain.context import service_context
from glancetx.domain.errors import ImageNotFound
from glancetx.domain.status import ACTIVE
from glancetx.transfer.download import Downloads


class Prefetches:
    """Fetches images into *cache*."""

    def __init__(self, cache: ImageCache, images: Images, downloads: Downloads) -> None:
        self._cache, self._images, self._downloads = cache, images, downloads

    async def queued(self) -> list[str]:
        """What is to be fetched, in this order."""
        return await self._cache.queued()

    async def fetch(self, image_id: str) -> bool:
        """Whether the image is cached now, and off the queue. One that does not exist leaves the queue, too.

        False if it has no data now, or another process fetches it: it stays on the queue.

        :raises StoreError, DataCorrupt: why it cannot be cached.
        """
        try:
            image = await self._images.get(service_context(), image_id)
        except ImageNotFound:
            await self._cache.unqueue(image_id)
            return False
        if image.status != ACTIVE:
            return False
        return await self._cache.fetch(image, await self._downloads.origin(image))
