"""GET of image data: who may, which copy, and an open source of exactly the wanted bytes (api.md, A-110..A-112).

A copy that is known to be corrupt is read by nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from attrs import frozen
from twisted.logger import Logger
from twisted.web.iweb import IBodyProducer

from glancetx.access.policy import Policy
from glancetx.db.copies import Copies
from glancetx.db.images import Images
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import (
    DataNotFound,
    Forbidden,
    ImageServiceError,
    Invalid,
    NoData,
    StoreError,
    StoreUnavailable,
)
from glancetx.domain.image import Image, Location
from glancetx.domain.status import DEACTIVATED
from glancetx.notifications.events import Events
from glancetx.stores.registry import Stores
from glancetx.streams import IFileSource
from glancetx.transfer.relay import Relay

_log = Logger()


@frozen
class Download:
    """An image whose data may be read: *size* bytes, from one of several copies."""

    image: Image
    size: int
    _locations: tuple[Location, ...]
    _stores: Stores
    _events: Events

    def told(self, context: RequestContext, sent: int, expected: int) -> None:
        """Say that *sent* of the *expected* bytes went to the caller."""
        self._events.image_sent(context, self.image, sent, expected)

    async def open(self, offset: int, length: int) -> IBodyProducer:
        """A source of these bytes from the first copy that can be opened, best weight first.

        The caller must start or stop it. A copy that is shorter than the image is not used. If the store breaks off in
        the middle, the next copy goes on where it ended.

        :raises StoreError: what the last copy failed with.
        """
        copies = deque(self._locations)
        source = await self._open_next(copies, offset, length)
        if not copies or IFileSource.providedBy(source):  # an open file does not go away, and sendfile wants it bare
            return source

        async def reopen(delivered: int) -> IBodyProducer:
            return await self._open_next(copies, offset + delivered, length - delivered)

        return Relay(source, reopen)

    async def _open_next(self, copies: deque[Location], offset: int, length: int) -> IBodyProducer:
        """Take copies from the left until one can be opened."""
        failure: ImageServiceError = StoreUnavailable("There is no other copy of the data")
        while copies:
            try:
                return await self._open(copies.popleft(), offset, length)
            except StoreError as error:
                _log.warn("image {image}: a copy cannot be read: {error!r}", image=self.image.id, error=error)
                failure = error
        raise failure

    async def _open(self, location: Location, offset: int, length: int) -> IBodyProducer:
        source = await self._stores.for_location(location).get(location.url, offset, length)
        if source.length != length:
            source.stopProducing()
            raise StoreUnavailable("The stored data is not as long as it should be")
        return source


class Downloads:
    """Opens images for reading."""

    def __init__(
        self, images: Images, copies: Copies, policy: Policy, stores: Stores, events: Events, *, multiple: bool
    ) -> None:
        self._multiple = multiple
        self._images = images
        self._copies = copies
        self._policy = policy
        self._stores = stores
        self._events = events

    async def download(self, context: RequestContext, image_id: str, prefer: Sequence[str] = ()) -> Download:
        """What can be read of an image; copies in the stores of *prefer* first, then the heaviest first (A-111, A-112).

        :raises NoData: while there is none.
        :raises ImageNotFound, Forbidden: as A-110 says.
        :raises Invalid: if *prefer* names a store that is not there.
        :raises StoreUnavailable: if the auditor found every copy corrupt.
        """
        image = await self._images.get(context, image_id)
        if image.status == DEACTIVATED and not context.is_admin:
            raise Forbidden("The requested image has been deactivated. Image data download is forbidden.")
        self._policy.check_image("download_image", context, image)
        if prefer:
            self._policy.check_image("download_from_store", context, image)
            self._check_preferred(prefer)
        if not image.locations:
            raise NoData(f"Image {image_id} has no data")
        corrupt = await self._copies.corrupt(image.locations)
        usable = [each for each in image.locations if each.id not in corrupt]
        locations = tuple(self._stores.by_weight(usable, prefer))
        if not locations:
            raise StoreUnavailable(f"The stored data of image {image_id} is damaged")
        size = image.size if image.size is not None else await self._size(locations)
        return Download(image, size, locations, self._stores, self._events)

    def _check_preferred(self, prefer: Sequence[str]) -> None:
        if not self._multiple:
            raise Invalid("Store selection for download is not available when multiple backends are not enabled.")
        for name in prefer:
            if name not in self._stores.identifiers:
                raise Invalid(f"Store '{name}' is not configured.")

    async def _size(self, locations: tuple[Location, ...]) -> int:
        """What the best store says; only old databases leave it open."""
        try:
            return await self._stores.for_location(locations[0]).size(locations[0].url)
        except DataNotFound as error:
            raise NoData("The data is not there") from error
