"""DELETE of an image: its data first, then its record, in a way a crash cannot leave half done (api.md, A-035)."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

from twisted.logger import Logger

from glancetx.access.policy import Policy
from glancetx.db.claims import Claims
from glancetx.db.images import Images
from glancetx.domain.claim import DELETE, Claim
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import (
    Forbidden,
    ImageLocked,
    ImageNotFound,
    Invalid,
    InvalidTransition,
    RemovalUnknown,
    StatusConflict,
    StoreError,
)
from glancetx.domain.image import Image
from glancetx.domain.importing import LOCK
from glancetx.domain.status import DELETED, IMPORTING, UPLOADING, check_transition
from glancetx.notifications.events import Events
from glancetx.runtime.failpoints import reach
from glancetx.transfer.recovery import Recovery
from glancetx.transfer.staging import StagingArea


class Deletes:
    """Removes images. *stop_readers* ends what reads the data of an image for the service's own purposes.

    *forget* is called with the id of each that is gone, and does not raise.
    """

    def __init__(
        self,
        images: Images,
        claims: Claims,
        policy: Policy,
        recovery: Recovery,
        staging: StagingArea,
        events: Events,
        process: str,
        stop_readers: Callable[[str], Awaitable[None]],
        forget: Callable[[str], Awaitable[None]] | None = None,
        *,
        delayed: bool = False,
    ) -> None:
        self._forget = forget
        self._images = images
        self._claims = claims
        self._policy = policy
        self._recovery = recovery
        self._staging = staging
        self._log = Logger()
        self._events = events
        self._process = process
        self._delayed = delayed
        self._stop_readers = stop_readers

    async def delete(self, context: RequestContext, image_id: str) -> None:
        """Remove the image and its data. If the process dies on the way, the reaper ends what was begun.

        :raises ImageNotFound: if there is none, for this caller.
        :raises Forbidden, ImageLocked: by policy, or because it is protected.
        :raises Invalid: if its status has no way to deleted.
        :raises DataInUse, StoreUnavailable: if a store refuses; the image stays.
        :raises RemovalUnknown: if it does not say what it did; the image goes as soon as it answers.
        """
        image = await self._images.get(context, image_id)
        self._policy.check_image("delete_image", context, image)
        if image.protected:
            raise ImageLocked(f"Image {image_id} is protected and cannot be deleted.")
        try:
            check_transition(image.status, DELETED)
        except InvalidTransition as error:
            raise Invalid(str(error)) from error
        try:
            await self._delete(image, context.token)
        except StatusConflict as conflict:
            if conflict.found in (None, DELETED):
                raise ImageNotFound(image_id) from conflict
            raise
        if image.status in (UPLOADING, IMPORTING):
            await self._unstage(image)
        if self._forget is not None:
            await self._forget(image.id)

    def _waits(self, image: Image) -> bool:
        """Whether the data is left to the scrubber (P-061)."""
        return self._delayed and bool(image.locations) and image.status != IMPORTING

    async def _unstage(self, image: Image) -> None:
        """The image is gone; what cannot be removed now is left to the sweep of the staging area."""
        try:
            await self._staging.remove(image.id)
        except StoreError:
            self._log.failure("image {image}: what was staged of it stays for now", image=image.id)

    async def _delete(self, image: Image, token: str | None) -> None:
        if not image.locations:
            await self._images.delete(image, was=image.status, tell=self._events.image_deleted)
            return
        if self._waits(image):
            await self._images.delete(image, was=image.status, later=True, tell=self._events.image_deleted)
            return
        claim = Claim(
            id=uuid.uuid4().hex,
            kind=DELETE,
            image_id=image.id,
            store=image.locations[0].store or "",
            process=self._process,
        )
        # Data once removed cannot be put back: whatever ends us from here on, somebody has to finish the delete.
        with self._claims.working_on(claim):
            image = await self._images.doom(image, claim)
            reach("delete.claimed")
            if LOCK in image.properties:
                await self._stop_readers(image.id)
            await self._remove_data(image, claim, token)
            reach("delete.removed")
            await self._images.delete(image, was=image.status, release=claim, tell=self._events.image_deleted)
        reach("delete.done")

    async def _remove_data(self, image: Image, claim: Claim, token: str | None) -> None:
        try:
            await self._recovery.remove_data(image, token)
        except RemovalUnknown:  # the data may be gone: nobody is at it any more, so the reaper ends it
            raise
        except (StoreError, Forbidden):  # the store refused, so the image stays, with what is left of it
            await self._claims.release(claim)
            raise
