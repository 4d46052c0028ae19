"""Removing the data of images that were deleted with a delay, and their records for good (P-062)."""

from __future__ import annotations

import uuid

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from glancetx.db.claims import Claims
from glancetx.db.scrub import Doomed, PendingDeletes
from glancetx.domain.claim import SCRUB, Claim
from glancetx.domain.errors import DataNotFound, Forbidden, RemovalUnknown, StoreError
from glancetx.domain.image import Location
from glancetx.runtime.failpoints import reach
from glancetx.runtime.permission import guarded
from glancetx.stores.registry import Stores


class Scrubs:
    """Scrubs images, one at each call."""

    def __init__(self, pending: PendingDeletes, claims: Claims, stores: Stores, process: str) -> None:
        self._pending, self._claims, self._stores, self._process = pending, claims, stores, process
        self._log = Logger()

    async def scrub(self, doomed: Doomed) -> bool:
        """Remove the data and then the record; False if some of it has to wait for the next time.

        :raises RemovalUnknown: if a store does not say whether it did; the reaper goes on with it then.

        Killed or cancelled anywhere, the reaper goes on with what is left: as long as data is there, its location
        says so. An image whose scrubbing has begun cannot be restored, until that has ended.
        """
        claim = Claim(id=uuid.uuid4().hex, kind=SCRUB, image_id=doomed.image_id, store="", process=self._process)
        with self._claims.working_on(claim) as certain:
            doomed = await self._pending.begin(claim, doomed)
            return bool(doomed.locations) and await guarded(self._scrub(doomed, claim), certain)

    async def go_on(self) -> list[bool]:
        """Finish what others have begun who live no more; of each whether the image is gone."""
        done = []
        for orphan in [each for each in await self._claims.orphans() if each.kind == SCRUB]:
            try:
                gone = await self._claims.take_over(orphan, self._finish)
            except CancelledError:
                raise
            except Exception:  # one must not keep the others
                self._log.failure("image {image}: scrubbing failed, to be tried again", image=orphan.image_id)
                gone = False
            if gone is not None:
                done.append(gone)
        return done

    async def finish(self, claim: Claim) -> None:
        """Go on with what somebody has begun under *claim*, which is ours now: he may have removed data already."""
        await self._finish(claim)

    async def _finish(self, claim: Claim) -> bool:
        return await self._scrub(await self._pending.waiting(claim.image_id), claim)

    async def _scrub(self, doomed: Doomed, claim: Claim) -> bool:
        reach("scrub.begun")
        removed = [await self._remove(doomed.image_id, location) for location in doomed.locations]
        if await self._pending.end(claim):
            self._log.info("image {image} has been scrubbed", image=doomed.image_id)
        return all(removed)

    async def _remove(self, image_id: str, location: Location) -> bool:
        try:
            store = self._stores.for_location(location)
            if not store.read_only:
                await store.delete(location.url)
        except DataNotFound:
            self._log.info("image {image}: its data was gone already", image=image_id)
        except RemovalUnknown:  # what is perhaps gone must not be restored: the claim stays, and the reaper goes on
            raise
        except (StoreError, Forbidden) as error:
            self._log.error("image {image}: its data stays for now: {error!r}", image=image_id, error=error)
            return False
        reach("scrub.removed")
        await self._pending.scrubbed(location)
        return True
