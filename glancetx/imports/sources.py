"""What an import reads into the stores: staged data, or a copy that the image has already."""

from __future__ import annotations

from twisted.web.iweb import IBodyProducer

from glancetx.domain.digests import Announced
from glancetx.domain.errors import DataNotFound
from glancetx.domain.image import Image
from glancetx.domain.importing import COPY_IMAGE, STAGED_BY_CLIENT
from glancetx.imports.work import Work
from glancetx.transfer.download import Downloads
from glancetx.transfer.staging import StagingArea


class Sources:
    """Opens staged data, and copies."""

    def __init__(self, staging: StagingArea, downloads: Downloads) -> None:
        self._staging, self._downloads = staging, downloads

    async def open(self, image: Image, work: Work) -> IBodyProducer:
        """All of the image's data, as many bytes as its size says; must be started or stopped.

        :raises DataNotFound: if it is not there, or not all of it. :raises StoreError: if it cannot be read.
        """
        if work.run.plan.method == COPY_IMAGE:
            return await self._downloads.data(image)
        try:
            source = await self._staging.open(work.run.staged or image.id)
        except DataNotFound as error:
            raise DataNotFound(STAGED_BY_CLIENT) from error
        if source.length != image.size:
            source.stopProducing()
            raise DataNotFound(f"Of {image.size} bytes that were staged, {source.length} are there.")
        return source


def known_digests(image: Image) -> Announced:
    """What a copy of an active image must have."""
    if image.os_hash_algo and image.os_hash_value:
        return ((image.os_hash_algo, image.os_hash_value),)
    return (("md5", image.checksum),) if image.checksum else ()
