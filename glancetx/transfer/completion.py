"""Finding out what an image lacks: the store is asked for the size, the data is read for the hashes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.logger import Logger

from glancetx.db.gaps import Facts, Gap, Gaps
from glancetx.db.images import Images
from glancetx.domain.context import service_context
from glancetx.domain.errors import ImageNotFound, ImageServiceError
from glancetx.domain.image import Image, Location
from glancetx.notifications.events import Events
from glancetx.runtime.threads import Threads
from glancetx.stores.registry import Stores
from glancetx.streams import Digest, Discard, SizeLimit, Tap, Throttle


class Completions:
    """Completes images, one at each call; data is read no faster than *throttle* lets it."""

    def __init__(
        self,
        images: Images,
        gaps: Gaps,
        stores: Stores,
        hashing: Threads,
        throttle: Throttle,
        events: Events,
        algorithm: str,
        size_cap: int,
    ) -> None:
        self._images, self._gaps, self._stores = images, gaps, stores
        self._hashing, self._throttle, self._events = hashing, throttle, events
        self._algorithm, self._size_cap = algorithm, size_cap
        self._log = Logger()

    async def complete(self, gap: Gap) -> bool:
        """Write what the image lacks; False if no store can tell, or the image is not what it was.

        What is found out is of one copy. If the image says something else of its data, nothing is written. Cancelling
        leaves the image as it was.
        """
        try:
            image = await self._images.get(service_context(), gap.image_id)
        except ImageNotFound:
            return False
        look = self._read if gap.hashes else self._ask
        for location in image.locations:
            facts = await self._facts(image, location, look)
            if facts is None:
                continue
            if not facts.fits(image):
                self._log.error("image {image}: its data is not what it is said to be", image=image.id)
                return False
            return await self._gaps.complete(image, location, facts, self._events.image_updated)
        return False

    async def _facts(
        self, image: Image, location: Location, look: Callable[[Image, Location], Awaitable[Facts | None]]
    ) -> Facts | None:
        try:
            return await look(image, location)
        except ImageServiceError as error:
            why = type(error).__name__
            self._log.info("image {image}: location {id}: {why}", image=image.id, id=location.id, why=why)
            return None

    async def _ask(self, image: Image, location: Location) -> Facts | None:
        """What says that nothing is there does not know."""
        size = await self._stores.for_location(location).size(location.url)
        return Facts(size=size) if size > 0 else None

    async def _read(self, image: Image, location: Location) -> Facts:
        source = await self._stores.for_location(location).get(location.url)
        size = SizeLimit(image.size or self._size_cap)
        md5, digest = Digest("md5", self._hashing), Digest(self._algorithm, self._hashing)
        await Tap(source, size, md5, digest, self._throttle).startProducing(Discard())
        return Facts(
            size=size.received, checksum=md5.hexdigest, os_hash_algo=self._algorithm, os_hash_value=digest.hexdigest
        )
