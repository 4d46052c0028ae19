"""The replicator: remakes copies that the auditor found damaged. The mender: those of which a node has the data."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime

from glancetx.db.copies import Copies
from glancetx.domain.copy import CORRUPT, MISSING, Copy
from glancetx.services.periodic import SlicedService
from glancetx.transfer.repair import Repairs

INTERVAL: Final = 60.0
BATCH: Final = 1000


class Replicator(SlicedService):
    """Looks for copies that are corrupt or missing, and has each remade that has a sound sister.

    One that cannot be remade is tried again when all others had their turn. Copies that
    could not be read are left alone: their store may come back.
    """

    def __init__(self, reactor: IReactorTime, copies: Copies, repairs: Repairs) -> None:
        super().__init__(reactor, INTERVAL)
        self._copies, self._repairs = copies, repairs
        self._last: Copy | None = None  # that was tried, if there are more behind it
        self.repaired = 0

    async def run_once(self) -> int:
        """Try the next damaged copies, each once; returns how many were remade."""
        done = 0
        batch = await self._copies.in_state(CORRUPT, MISSING, limit=BATCH, after=self._last)
        for copy in batch:
            done += await self._try(copy)
        self.more = len(batch) == BATCH
        self._last = batch[-1] if self.more else None
        return done

    async def _repair(self, copy: Copy) -> bool:
        return await self._repairs.repair(copy)

    def status(self) -> dict[str, Any]:
        return super().status() | {"repaired": self.repaired}

    async def _try(self, copy: Copy) -> bool:
        try:
            remade = await self._repair(copy)
        except CancelledError:
            raise
        except Exception:
            self._log.failure("image {image}: a copy could not be remade, to be tried again", image=copy.image_id)
            return False
        if remade:
            self.repaired += 1
            self._log.info(
                "image {image}: its copy at location {location} was remade",
                image=copy.image_id,
                location=copy.location.id,
            )
        return remade


class Mender(Replicator):
    """Does the same from the image cache of its node, which nobody else can read; so every process of a node has one.

    It helps where no copy is left that is sound. Of several that want to remake the same copy one does.
    """

    async def _repair(self, copy: Copy) -> bool:
        return await self._repairs.repair_from_cache(copy)
