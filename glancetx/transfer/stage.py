"""PUT of data that waits to be imported (api.md, A-120)."""

from __future__ import annotations

import uuid
from functools import partial

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IBodyProducer

from glancetx.access.policy import Policy
from glancetx.config.settings import ImagesSettings
from glancetx.db.claims import Claims
from glancetx.db.images import Images
from glancetx.db.imports import ImportRuns
from glancetx.domain.claim import STAGE, Claim
from glancetx.domain.context import RequestContext
from glancetx.domain.digests import ANYTHING, Expectation
from glancetx.domain.errors import ImageGone, ImageTooLarge, InvalidTransition, StatusConflict
from glancetx.domain.image import Image
from glancetx.domain.importing import STAGE_HOST
from glancetx.domain.status import DELETED, QUEUED, UPLOADING
from glancetx.interfaces import ILimits
from glancetx.notifications.events import Events
from glancetx.runtime.failpoints import reach
from glancetx.runtime.threads import Threads
from glancetx.streams import SizeLimit, Tap
from glancetx.streams.allowance import Allowance
from glancetx.streams.announced import Announced
from glancetx.streams.digests import Digests
from glancetx.transfer.recovery import Recovery
from glancetx.transfer.staging import STAGING_STORE, StagingArea
from glancetx.transfer.upload import known_length


class Stages:
    """Puts bodies into the staging area. *node_url*: where other nodes reach this one, if there are any."""

    def __init__(
        self,
        reactor: IReactorTime,
        images: Images,
        runs: ImportRuns,
        claims: Claims,
        policy: Policy,
        limits: ILimits,
        area: StagingArea,
        recovery: Recovery,
        hashing: Threads,
        events: Events,
        settings: ImagesSettings,
        node_url: str | None,
        process: str,
    ) -> None:
        self._reactor = reactor
        self._images = images
        self._runs = runs
        self._claims = claims
        self._policy = policy
        self._limits = limits
        self._area = area
        self._recovery = recovery
        self._hashing = hashing
        self._events = events
        self._settings = settings
        self._node_url = node_url
        self._process = process

    async def stage(
        self,
        context: RequestContext,
        image_id: str,
        body: IBodyProducer,
        *,
        size: int | None = None,
        expected: Expectation = ANYTHING,
    ) -> Image:
        """Keep *body* until it is imported (A-120); on any failure the image is queued again and no data is left.

        *size* is the number of bytes the caller announces, if it does not follow from the body's own length.
        Cancelling undoes all.

        :raises ImageNotFound, Forbidden, InvalidTransition, StatusConflict: before the first byte.
        :raises LimitExceeded, SizeMismatch, DigestMismatch, StoreError, ClientVanished: before or after it.
        :raises ImageGone: if the image was deleted meanwhile.
        """
        image = await self._images.get(context, image_id)
        self._policy.check_image("modify_image", context, image)
        if image.status == UPLOADING:
            raise InvalidTransition(image.status, UPLOADING)
        source = body if size is None else Announced(body, size)
        claim = Claim(
            id=uuid.uuid4().hex,
            kind=STAGE,
            image_id=image_id,
            store=STAGING_STORE,
            process=self._process,
            owner=image.owner,
            reserved=known_length(source) or 0,
        )
        async with self._recovery.undoing(claim):
            source = await self._begin(image.to(UPLOADING), claim, source)
            reach("stage.uploading")
            limit = SizeLimit(self._settings.image_size_cap)
            digests = Digests(self._hashing, (), expected)
            staged = await self._area.add(image_id, Tap(source, limit, *digests.observers), claim.id)
            reach("stage.stored")
            return await self._publish(staged, claim)

    async def _begin(self, uploading: Image, claim: Claim, source: IBodyProducer) -> IBodyProducer:
        size = known_length(source)
        if size is not None and size > self._settings.image_size_cap:
            raise ImageTooLarge
        limits = await self._limits.limits_of(claim.owner)
        await self._images.begin(uploading, QUEUED, claim, limits, size, self._events.image_updated)
        if size is not None or limits.stage_total is None:
            return source
        return Tap(source, Allowance(self._reactor, partial(self._claims.reserve, claim, limits)))

    async def _publish(self, size: int, claim: Claim) -> Image:
        here = {} if self._node_url is None else {STAGE_HOST: self._node_url}
        try:
            return await self._runs.staged(
                claim,
                lambda image: evolve(image, size=size, properties={**image.properties, **here}),
                self._events.image_updated,
            )
        except StatusConflict as conflict:
            if conflict.found in (None, DELETED):
                raise ImageGone(claim.image_id) from conflict
            raise
