"""Downloads that are compared with the image's digest on their way, so that wrong bytes never look like the image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from twisted.logger import Logger
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.db.copies import Copies
from glancetx.domain.copy import expected_digest
from glancetx.domain.errors import StoreUnavailable
from glancetx.domain.image import Image, Location
from glancetx.runtime.threads import Threads
from glancetx.streams import Digest, HeldBack, IFileSource, IObserver, Tap

SLACK: Final = 2.0  # seconds by which the clock of a file system may be ahead of ours


class Proofs:
    """Wraps sources of whole images. What is found wrong is noted, so that the next reader gets another copy.

    Digests cost what sending a file by itself does not. So a file is believed as long as nobody has touched it since
    the copy was made, or was found sound; other sources are compared each time. Parts of images have no digest.
    """

    def __init__(self, audited: Copies, hashing: Threads, *, enabled: bool) -> None:
        self._audited, self._hashing, self._enabled = audited, hashing, enabled

    def proven(
        self, image: Image, source: IBodyProducer, used: Sequence[Location], sound: Mapping[int, datetime]
    ) -> IBodyProducer:
        """*source* of all of *image*, from the copies *used* (more may come to be used), compared if it has to be.

        *sound* tells since when the copies are known to be sound, by the ids of their locations.
        """
        algorithm, digest = expected_digest(image.os_hash_algo, image.os_hash_value, image.checksum)
        if not self._enabled or algorithm is None or digest is None:
            return source
        if IFileSource.providedBy(source) and not touched(source, sound.get(used[0].id or 0, image.updated_at)):
            return source
        computed = Digest(algorithm, self._hashing)
        return HeldBack(Tap(source, computed, _Comparison(self._audited, image, used, computed, digest)))

    async def doubt(self, image: Image, used: Sequence[Location], detail: str) -> None:
        """Wrong bytes came from the copies *used*."""
        await self._audited.doubt(image.id, [each.id for each in used if each.id is not None], detail)


def touched(source: IFileSource, since: datetime) -> bool:
    """Whether the file was written to, or changed in any other way, after *since* (naive UTC)."""
    changed = os.fstat(source.descriptor).st_ctime
    return changed > (since - datetime(1970, 1, 1)).total_seconds() + SLACK


@implementer(IObserver)
class _Comparison:
    """Fails a stream at its end if *computed* is not the image's *digest*."""

    def __init__(self, audited: Copies, image: Image, used: Sequence[Location], computed: Digest, digest: str) -> None:
        self._audited, self._image, self._used = audited, image, used
        self._computed, self._digest = computed, digest
        self._log = Logger()

    def observe(self, chunk: bytes) -> None:
        """Nothing: the digest has seen it."""

    async def finish(self) -> None:
        if self._computed.hexdigest == self._digest:
            return
        self._log.error("image {image}: what was read of it is not what was stored", image=self._image.id)
        detail = f"the {self._computed.algorithm} was another one when it was read"
        await self._audited.doubt(self._image.id, [each.id for each in self._used if each.id is not None], detail)
        raise StoreUnavailable(f"The stored data of image {self._image.id} is damaged")
