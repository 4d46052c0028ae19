"""GET of image data: who may, which copy, and an open source of exactly the wanted bytes (api.md, A-110..A-112).

A copy that is known to be corrupt is read by nobody, and one that turns out to be is known from then on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.web.iweb import IBodyProducer

from glancetx.access.policy import Policy
from glancetx.db.copies import Copies as AuditedCopies
from glancetx.db.copies import Known
from glancetx.domain.context import RequestContext
from glancetx.domain.copy import CORRUPT
from glancetx.domain.errors import (
    DataNotFound,
    Forbidden,
    Invalid,
    NoData,
    StoreError,
    StoreUnavailable,
)
from glancetx.domain.image import Image, Location
from glancetx.domain.status import DEACTIVATED, IMPORTING
from glancetx.notifications.events import Events
from glancetx.stores.registry import Stores
from glancetx.streams import IFileSource
from glancetx.transfer.failover import Candidate, Failover
from glancetx.transfer.proof import Proofs
from glancetx.transfer.relay import Relay, Watch

if TYPE_CHECKING:  # loaded where there is a cache
    from glancetx.cache.cache import ImageCache

_log = Logger()


@frozen
class Copies:
    """The copies of one image's data, best first; those that are known to be corrupt are not among them."""

    image: Image
    _locations: tuple[Location, ...]
    _stores: Stores
    _proofs: Proofs
    _sound: Mapping[int, datetime]
    _failover: Failover

    async def open(self, offset: int, length: int, used: list[Location] | None = None) -> IBodyProducer:
        """A source of these bytes from the best copy that can be opened, or the next if it does not answer at once.

        The caller must start or stop it. A copy that is shorter than the image is not used. If the store breaks off in
        the middle, or delivers nothing for some seconds, the next copy goes on where it ended. A source of the whole
        image fails before its end if the bytes are not those that were stored. *used* gets the copies that are read.

        :raises StoreError: what the last copy failed with.
        """
        copies, used = self._candidates(), [] if used is None else used
        source = await self._open_next(copies, used, offset, length)

        async def reopen(delivered: int) -> IBodyProducer:
            return await self._open_next(copies, used, offset + delivered, length - delivered)

        if copies and not IFileSource.providedBy(source):  # an open file does not go away, and sendfile wants it bare
            source = Relay(source, reopen, self._watch(copies, used))
        if (offset, length) == (0, self.image.size):
            return self._proofs.proven(self.image, source, used, self._sound)
        return source

    async def doubt(self, used: Sequence[Location], detail: str) -> None:
        """Wrong bytes came from the copies *used*."""
        await self._proofs.doubt(self.image, used, detail)

    def _watch(self, copies: Sequence[Candidate], used: Sequence[Location]) -> Watch:
        def left() -> None:
            store = self._stores.name_of(used[-2]) or ""
            _log.warn("image {image}: store {store} fell silent", image=self.image.id, store=store)
            self._failover.note(store)

        return Watch(self._failover.clock, lambda: bool(copies), left)

    def _candidates(self) -> deque[Candidate]:
        named = (Candidate(location, self._stores.name_of(location) or "") for location in self._locations)
        return deque(self._failover.order(named))

    async def _open_next(
        self, copies: deque[Candidate], used: list[Location], offset: int, length: int
    ) -> IBodyProducer:
        """Open the first copy that can be opened, which is taken from *copies* and added to those *used*.

        Cancelled, it has taken none.
        """
        if not copies:
            raise _no_more() if used else self._damaged()

        async def opening(candidate: Candidate) -> IBodyProducer:
            try:
                return await self._open(candidate.location, offset, length)
            except StoreError as error:
                _log.warn("image {image}: a copy cannot be read: {error!r}", image=self.image.id, error=error)
                raise

        before = list(copies)
        try:
            found, source = await self._failover.open(copies, opening)
        except CancelledError:
            copies.clear()
            copies.extend(before)
            raise
        used.append(found.location)
        return source

    async def find_size(self) -> int:
        """What the best store says; only old databases leave it open.

        :raises NoData: if nothing is there. :raises StoreUnavailable: if all copies are corrupt.
        """
        if not self._locations:
            raise self._damaged()
        best = self._locations[0]
        try:
            return await self._stores.for_location(best).size(best.url)
        except DataNotFound as error:
            raise NoData("The data is not there") from error

    def _damaged(self) -> StoreUnavailable:
        return StoreUnavailable(f"The stored data of image {self.image.id} is damaged")

    async def _open(self, location: Location, offset: int, length: int) -> IBodyProducer:
        source = await self._stores.for_location(location).get(location.url, offset, length)
        if source.length != length:
            source.stopProducing()
            raise StoreUnavailable("The stored data is not as long as it should be")
        return source


@define
class CacheOrigin:
    """*copies* of an image of *size* bytes, for the cache."""

    _copies: Copies
    _size: int
    _used: list[Location] = field(init=False, factory=list)

    async def open(self, begin: int) -> IBodyProducer:
        return await self._copies.open(begin, self._size - begin, None if begin else self._used)

    async def doubt(self) -> None:
        await self._copies.doubt(self._used, "the digest was another one when it was to be cached")


@define
class Download:
    """An image whose data may be read: *size* bytes. *cached* tells whether the last source came from the cache."""

    image: Image
    size: int
    _copies: Copies
    _cache: ImageCache | None
    _events: Events
    cached: bool = False

    def told(self, context: RequestContext, sent: int, expected: int, address: str | None = None) -> None:
        """Say that *sent* of the *expected* bytes went to the caller at *address*, which is told of cached images."""
        self._events.image_sent(context, self.image, sent, expected, address if self.cached else None)

    async def open(self, offset: int, length: int) -> IBodyProducer:
        """A source of these bytes: the cache's, or that of a copy. The caller must start or stop it.

        :raises StoreError: what the last copy failed with.
        """
        if self._cache is None:
            return await self._copies.open(offset, length)
        source = await self._cache.open(self.image, offset, length, CacheOrigin(self._copies, self.size))
        if source is None:
            return await self._copies.open(offset, length)
        self.cached = IFileSource.providedBy(source)
        return source


class Downloads:
    """Opens images for reading."""

    def __init__(
        self,
        audited: AuditedCopies,
        proofs: Proofs,
        policy: Policy,
        stores: Stores,
        events: Events,
        failover: Failover,
        cache: ImageCache | None = None,
        *,
        multiple: bool,
    ) -> None:
        self._multiple = multiple
        self._audited, self._proofs = audited, proofs
        self._cache = cache
        self._policy = policy
        self._stores = stores
        self._events = events
        self._failover = failover

    async def download(self, context: RequestContext, image_id: str, prefer: Sequence[str] = ()) -> Download:
        """What can be read of an image; copies in the stores of *prefer* first, then the heaviest first (A-111, A-112).

        :raises NoData: while there is none.
        :raises ImageNotFound, Forbidden: as A-110 says.
        :raises Invalid: if *prefer* names a store that is not there.
        """
        image, known = await self._audited.with_image(context, image_id)
        if image.status == DEACTIVATED and not context.is_admin:
            raise Forbidden("The requested image has been deactivated. Image data download is forbidden.")
        self._policy.check_image("download_image", context, image)
        if prefer:
            self._policy.check_image("download_from_store", context, image)
            self._check_preferred(prefer)
        if not image.locations or image.status == IMPORTING:  # what is yet to be verified is nobody's
            raise NoData(f"Image {image_id} has no data")
        copies = self._copies(image, known, prefer, context.token)
        size = image.size if image.size is not None else await copies.find_size()
        return Download(image, size, copies, self._cache, self._events)

    async def data(self, image: Image) -> IBodyProducer:
        """All of an image's data, for our own purposes, from its best copy.

        :raises NoData: if there is none. :raises StoreError: what the last copy failed with.
        """
        return await (await self.origin(image)).open(0)

    async def origin(self, image: Image) -> CacheOrigin:
        """All of an image's data, for the cache. :raises NoData: if there is none."""
        if not image.locations or image.size is None:
            raise NoData(f"Image {image.id} has no data")
        return CacheOrigin(self._copies(image, await self._audited.known(image.locations)), image.size)

    def _copies(
        self, image: Image, known: Mapping[Any, Known], prefer: Sequence[str] = (), token: str | None = None
    ) -> Copies:
        usable = [each for each in image.locations if each.id not in known or known[each.id].state != CORRUPT]
        locations = tuple(self._stores.by_weight(usable, prefer))
        sound = {location_id: what.since for location_id, what in known.items()}
        stores = self._stores.acting_for(image.owner, token)
        return Copies(image, locations, stores, self._proofs, sound, self._failover)

    def _check_preferred(self, prefer: Sequence[str]) -> None:
        if not self._multiple:
            raise Invalid("Store selection for download is not available when multiple backends are not enabled.")
        for name in prefer:
            if name not in self._stores.identifiers:
                raise Invalid(f"Store '{name}' is not configured.")


def _no_more() -> StoreUnavailable:
    return StoreUnavailable("There is no other copy of the data")
