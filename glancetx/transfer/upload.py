"""PUT of image data: from a request's body into a store, and the image from queued to active (api.md, section 3)."""

from __future__ import annotations

import uuid
from functools import partial

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IBodyProducer

from glancetx.access.policy import Policy
from glancetx.config.settings import FormatSettings, ImagesSettings
from glancetx.db.claims import Claims
from glancetx.db.images import Images
from glancetx.domain.claim import UPLOAD, Claim
from glancetx.domain.context import RequestContext
from glancetx.domain.digests import ANYTHING, Expectation
from glancetx.domain.errors import ImageGone, ImageServiceError, ImageTooLarge, LimitExceeded, StatusConflict
from glancetx.domain.image import Image, Location
from glancetx.domain.status import ACTIVE, QUEUED, SAVING
from glancetx.interfaces import ILimits, IStore, Stored
from glancetx.notifications.events import Events
from glancetx.runtime.failpoints import reach
from glancetx.runtime.threads import Threads
from glancetx.stores.registry import Stores
from glancetx.streams import Inspection, IObserver, SizeLimit, Tap
from glancetx.streams.allowance import Allowance
from glancetx.streams.announced import Announced
from glancetx.streams.digests import Digests
from glancetx.transfer.readers import Readers
from glancetx.transfer.recovery import Recovery
from glancetx.transfer.signature import Signatures


@frozen
class _Checks:
    """What the data must be, beside its format."""

    expected: Expectation
    signature: tuple[IObserver, ...]


class Uploads:
    """Puts bodies into stores."""

    def __init__(
        self,
        reactor: IReactorTime,
        images: Images,
        claims: Claims,
        policy: Policy,
        limits: ILimits,
        stores: Stores,
        recovery: Recovery,
        hashing: Threads,
        events: Events,
        settings: ImagesSettings,
        formats: FormatSettings,
        signatures: Signatures,
        readers: Readers,
        process: str,
    ) -> None:
        self._reactor = reactor
        self._images = images
        self._claims = claims
        self._limits = limits
        self._policy = policy
        self._stores = stores
        self._recovery = recovery
        self._hashing = hashing
        self._events = events
        self._settings = settings
        self._formats = formats
        self._signatures = signatures
        self._readers = readers
        self._process = process

    async def upload(
        self,
        context: RequestContext,
        image_id: str,
        body: IBodyProducer,
        *,
        store_name: str | None = None,
        size: int | None = None,
        expected: Expectation = ANYTHING,
    ) -> Image:
        """Put *body* into a store and activate the image; on any failure it is queued again and no data is left.

        *size* is the number of bytes the caller announces, if it does not follow from the body's own length. No
        byte of the body is read before everything that can be checked was checked. Cancelling undoes all.

        :raises ImageNotFound, Forbidden, InvalidTransition, StatusConflict, Invalid: before the first byte.
        :raises CertificatesUnavailable: also before it.
        :raises LimitExceeded, FormatMismatch, SizeMismatch, DigestMismatch, SignatureInvalid: after it.
        :raises StoreError, ClientVanished: also after it.
        :raises ImageGone: if the image was deleted meanwhile.
        """
        if store_name is not None:
            self._stores.get(store_name)
        image = await self._images.get(context, image_id)
        self._policy.check_image("upload_image", context, image)
        if image.status == SAVING:
            raise StatusConflict(image_id, QUEUED, image.status)
        image = image.to(SAVING)
        stores = self._stores.acting_for(image.owner, context.token)
        store = stores.default if store_name is None else stores.get(store_name)
        source = body if size is None else Announced(body, size)
        claim = Claim(
            id=uuid.uuid4().hex,
            kind=UPLOAD,
            image_id=image_id,
            store=store.identifier,
            process=self._process,
            owner=image.owner,
            reserved=known_length(source) or 0,
        )
        checks = await self._checks(context, image, expected)
        async with self._recovery.undoing(claim):
            image, source = await self._begin(image, claim, source)
            reach("upload.saving")
            active = await self._move(image, source, store, claim, checks)
        reach("upload.active")
        await self._readers.try_to_tell(active, context.token)
        return active

    async def _checks(self, context: RequestContext, saving: Image, expected: Expectation) -> _Checks:
        try:
            return _Checks(expected, await self._signatures.observers(context, saving))
        except ImageServiceError as error:
            self._events.upload_failed(None, saving, error)
            raise

    async def _begin(self, saving: Image, claim: Claim, source: IBodyProducer) -> tuple[Image, IBodyProducer]:
        """Note that it begins, if limits allow. If nobody knows how much will come, it is allowed as it comes."""
        size = known_length(source)
        limits = await self._limits.limits_of(claim.owner)
        try:
            if size is not None and size > self._settings.image_size_cap:
                raise ImageTooLarge
            tell = partial(self._events.upload_begun, claim.store)
            begun = await self._images.begin(saving, QUEUED, claim, limits, size, tell)
        except LimitExceeded as error:
            self._events.upload_failed(None, saving, error)
            raise
        if size is not None or limits.size_total is None:
            return begun, source
        return begun, Tap(source, Allowance(self._reactor, partial(self._claims.reserve, claim, limits)))

    async def _move(self, image: Image, body: IBodyProducer, store: IStore, claim: Claim, checks: _Checks) -> Image:
        """From saving to active. If that fails, whoever listens to events is told why, like the client."""
        try:
            stored = await self._receive(image, body, store, claim, checks)
            reach("upload.stored")
            return await self._publish(stored, claim)
        except Exception as error:
            self._events.upload_failed(None, image, error)
            raise

    async def _receive(self, image: Image, body: IBodyProducer, store: IStore, claim: Claim, checks: _Checks) -> Image:
        """The image as it is to be, its data being in *store*."""
        algorithm = self._settings.hashing_algorithm
        digests = Digests(self._hashing, ("md5", algorithm), checks.expected)
        limit = SizeLimit(self._settings.image_size_cap)
        found = Inspection(image.disk_format, image.container_format, self._formats, self._hashing)
        stored: Stored = await store.add(
            image.id, Tap(body, limit, found, *digests.observers, *checks.signature), claim.id
        )
        return evolve(
            image,
            size=stored.size,
            virtual_size=found.virtual_size,
            checksum=digests["md5"],
            os_hash_algo=algorithm,
            os_hash_value=digests[algorithm],
            locations=(Location(url=stored.url, metadata=stored.metadata),),
        )

    async def _publish(self, image: Image, claim: Claim) -> Image:
        """One conditional update makes the image active and ends the claim."""
        try:
            return await self._images.publish(image.to(ACTIVE), SAVING, claim, self._events.upload_ended)
        except StatusConflict as conflict:
            if conflict.found in (None, "deleted"):
                raise ImageGone(image.id) from conflict
            raise


def known_length(source: IBodyProducer) -> int | None:
    return source.length if isinstance(source.length, int) else None
