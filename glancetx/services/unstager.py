"""The unstager: removes what nobody needs any more from the staging directory of this host (P-085)."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from glancetx.db.claims import Claims
from glancetx.db.images import Images
from glancetx.domain.status import IMPORTING, UPLOADING
from glancetx.services.periodic import PeriodicService
from glancetx.transfer.staging import StagedFile, StagingArea


class Unstager(PeriodicService):
    """Looks at the start, and then every *interval* seconds.

    A file is needed while its image is uploading or importing; one that is not whole, while the claim of its attempt
    exists. Others have been left by a process that died, perhaps while the image was looked after by another host.
    """

    def __init__(
        self, reactor: IReactorTime, area: StagingArea, images: Images, claims: Claims, interval: float = 60.0
    ) -> None:
        super().__init__(reactor, interval)
        self._area = area
        self._images = images
        self._claims = claims

    async def run_once(self) -> int:
        """One look; returns how many files were removed."""
        removed = 0
        for file in await self._area.listed():  # first the files, then what is known: what comes later is not listed
            if not await self._is_needed(file) and await self._area.remove_listed(file):
                self._log.info("removed {name}, which was left in the staging directory", name=file.name)
                removed += 1
        return removed

    async def _is_needed(self, file: StagedFile) -> bool:
        if file.attempt is not None:
            return bool(await self._claims.existing([file.attempt]))
        return await self._images.status(file.image_id) in (UPLOADING, IMPORTING)
