"""Putting right what work on an image's data left when it failed, was cancelled, or died with its process.

A `Claim` in the database is the truth: as long as an upload's claim exists the image was not published, so its
data may be thrown away; as long as a delete's claim exists the delete may not have ended, so it is done again. Imports
are gone on with, which is told in `glancetx.imports.runner`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType

from twisted.logger import Logger

from glancetx.db.claims import Claims, Working
from glancetx.db.images import Images
from glancetx.domain.claim import DELETE, DISCARD, IMPORT, LOCATION, REPAIR, SCRUB, STAGE, STRAY, UPLOAD, Claim
from glancetx.domain.context import service_context
from glancetx.domain.errors import DataNotFound, Forbidden, ImageNotFound, StatusConflict, StoreError, UnknownStore
from glancetx.domain.image import Image, Location
from glancetx.notifications.events import Events
from glancetx.runtime.failpoints import reach
from glancetx.runtime.undo import UndoneBlock
from glancetx.stores.registry import Stores
from glancetx.transfer.staging import StagingArea


class Recovery:
    """Finishes deletes, undoes uploads and stagings; each claim is adopted first, so that nobody else does the same.

    Imports that nobody works on are given to *resume*, the addition of a location to *resume_location*, and what is
    being scrubbed to *finish_scrub*.
    """

    def __init__(
        self,
        images: Images,
        claims: Claims,
        stores: Stores,
        staging: StagingArea,
        events: Events,
        resume: Callable[[Claim], Awaitable[None]],
        resume_location: Callable[[Claim], Awaitable[None]],
        finish_scrub: Callable[[Claim], Awaitable[None]],
    ) -> None:
        self._images = images
        self._claims = claims
        self._stores = stores
        self._staging = staging
        self._events = events
        self._resume, self._resume_location, self._finish_scrub = resume, resume_location, finish_scrub
        self._late: dict[str, Claim] = {}
        self._log = Logger()

    def undoing(self, claim: Claim) -> Undoing:
        """A block that works on *claim*, and notes it; if it raises or is cancelled, `give_up` it.

        It is given the `Claims.certainty` of its beginning.
        """
        return Undoing(self.give_up, claim, self._claims.working_on(claim))

    async def give_up(self, claim: Claim) -> bool:
        """Undo an upload, a staging or a repair that ended early; does nothing if it was published after all.

        What cannot be done now is the reaper's, once nobody is `Claims.working_on` the claim. If others have undone an
        upload while we slept, what has come to the store since is to be discarded as well. Tells whether the image
        is queued again.
        """
        queued = await self._take_on(claim)
        if queued is None and claim.kind == UPLOAD:
            self._late[claim.id] = claim
            await self._leave_late()
        return queued or False

    async def settle_all(self, claims: Iterable[Claim]) -> int:
        """Do what each of these orphans asks for, unless somebody else has begun with it; returns how many were done.

        One that fails is logged and stays for the next time; it is safe to end anywhere, since the claim goes last.
        """
        await self._leave_late()
        settled = 0
        for claim in claims:
            try:
                if await self._take_on(claim) is None:
                    continue
            except Exception:
                self._log.failure("image {image}: recovery failed, to be tried again", image=claim.image_id)
            else:
                self._log.info("image {image}: {kind} put right", image=claim.image_id, kind=claim.kind)
                settled += 1
        return settled

    async def _take_on(self, claim: Claim) -> bool | None:
        """Take *claim* over, and do what it asks for; tells whether an image is queued again. None: it is not ours."""
        if claim.kind in (IMPORT, LOCATION):  # which are adopted under a new claim
            await (self._resume if claim.kind == IMPORT else self._resume_location)(claim)
            return False
        return await self._claims.take_over(claim, self._settle)

    async def _leave_late(self) -> None:
        for claim in list(self._late.values()):
            if await self._claims.leave_late(claim):
                self._late.pop(claim.id, None)

    async def _settle(self, claim: Claim) -> bool:
        settle: Mapping[str, Callable[[Claim], Awaitable[bool | None]]] = {
            UPLOAD: self._undo_upload,
            REPAIR: self._discard,
            DISCARD: self._discard,
            STAGE: self._undo_stage,
            DELETE: self._finish_delete,
            SCRUB: self._finish_scrub,
            STRAY: self._claims.release,
        }
        return await settle[claim.kind](claim) or False

    async def _undo_stage(self, claim: Claim) -> bool:
        """What another host has staged is not here; that host's sweep finds it."""
        await self._staging.discard(claim.image_id, claim.id)
        reach("recovery.unstaged")
        return await self._images.requeue(claim, self._events.image_updated)

    async def _discard(self, claim: Claim) -> None:
        await self._discard_data(claim)
        await self._claims.release(claim)

    async def _undo_upload(self, claim: Claim) -> bool:
        """A store that is away, perhaps for long, does not keep the image: what it may have is discarded later."""
        leaving = False
        try:
            await self._discard_data(claim)
        except StoreError as error:
            leaving = True
            self._log.warn("image {image}: data is discarded later: {why!r}", image=claim.image_id, why=error)
        return await self._images.requeue(claim, self._events.image_updated, leaving=leaving)

    async def _discard_data(self, claim: Claim) -> None:
        try:
            store = self._stores.acting_for(claim.owner).get(claim.store)
        except UnknownStore:
            self._log.warn(
                "image {image}: store {store} is gone, its data stays", image=claim.image_id, store=claim.store
            )
        else:
            await store.discard(claim.image_id, claim.id)
        reach("recovery.discarded")

    async def _finish_delete(self, claim: Claim) -> None:
        try:
            image = await self._images.get(service_context(), claim.image_id)
        except ImageNotFound:
            await self._claims.release(claim)
            return
        await self.remove_data(image)
        reach("recovery.removed")
        try:
            await self._images.delete(image, was=image.status, release=claim, tell=self._events.image_deleted)
        except StatusConflict:
            await self._claims.release(claim)

    async def remove_data(self, image: Image, token: str | None = None) -> None:
        """Delete every location's data (S-009): what is gone already is fine. *token* is that of who asks.

        :raises DataInUse, Forbidden, StoreUnavailable: and then the image stays, without the locations that are gone.
        """
        stores = self._stores.acting_for(image.owner, token)
        gone: list[Location] = []
        try:
            for location in image.locations:
                await self._remove(image.id, stores, location)
                gone.append(location)
        except (StoreError, Forbidden):
            if gone:
                await self._images.forget(gone)
            raise

    async def _remove(self, image_id: str, stores: Stores, location: Location) -> None:
        try:
            store = stores.for_location(location)
            if not store.read_only:  # of those the service only forgets what it knew (S-039)
                await store.delete(location.url)
        except (DataNotFound, UnknownStore) as gone:
            self._log.warn("image {image}: no data to delete ({why})", image=image_id, why=type(gone).__name__)


class Undoing(UndoneBlock):
    """What `Recovery.undoing` returns: the claim is worked on until what is to be undone has been."""

    __slots__ = ("_working",)

    def __init__(self, give_up: Callable[[Claim], Awaitable[bool]], claim: Claim, working: Working) -> None:
        super().__init__(give_up, (claim,))
        self._working = working

    async def __aenter__(self) -> Callable[[], bool]:
        return self._working.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            self._working.__exit__()
