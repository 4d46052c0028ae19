"""The heart of every import: one pass over the data, which is looked at, hashed, and put into all stores at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen
from twisted.web.iweb import IBodyProducer

from glancetx.config.settings import FormatSettings
from glancetx.domain.digests import ANYTHING, Expectation
from glancetx.domain.image import Image, Location
from glancetx.domain.importing import COPY_IMAGE, ImportPlan, ended
from glancetx.domain.status import ACTIVE
from glancetx.imports.sources import known_digests
from glancetx.imports.work import Counted, Work
from glancetx.interfaces import IStore, Stored
from glancetx.runtime.threads import Threads
from glancetx.streams import Inspection, IObserver, Tap
from glancetx.streams.digests import Digests
from glancetx.transfer.signature import Signatures
from glancetx.transfer.spread import spread


@frozen(kw_only=True)
class Filled:
    """What an image is to be when its data is in the stores; *failed* names the stores which do not have it.

    Of copies to more stores only that is known, unless nobody had hashed the image before.
    """

    stored: Mapping[str, Stored]
    failed: Mapping[str, BaseException]
    size: int = 0
    virtual_size: int | None = None
    checksum: str = ""
    os_hash_algo: str = ""
    os_hash_value: str = ""

    def applied(self, image: Image, plan: ImportPlan) -> Image:
        """*image* as it is when the import has succeeded."""
        copies = tuple(Location(url=each.url, metadata=each.metadata) for each in self.stored.values())
        image = ended(evolve(image, locations=image.locations + copies), plan, self.failed)
        if plan.method == COPY_IMAGE and (image.os_hash_value or not self.os_hash_value):
            return image
        image = evolve(
            image,
            size=self.size,
            virtual_size=self.virtual_size,
            checksum=self.checksum,
            os_hash_algo=self.os_hash_algo,
            os_hash_value=self.os_hash_value,
        )
        return image if plan.method == COPY_IMAGE else image.to(ACTIVE)


class Filler:
    """Fills stores. *algorithm* is that of the secure hash; hashes are computed in *hashing*.

    *verified*: the digests of a request were compared before, since plugins have changed the data.
    """

    def __init__(
        self,
        hashing: Threads,
        algorithm: str,
        formats: FormatSettings,
        signatures: Signatures,
        *,
        verified: bool = False,
    ) -> None:
        self._hashing, self._algorithm, self._formats = hashing, algorithm, formats
        self._signatures = signatures
        self._verified = verified

    async def fill(self, image: Image, source: IBodyProducer, stores: Sequence[IStore], work: Work) -> Filled:
        """Read *source* once, into every store.

        :raises SpreadFailed: if the content is not what the image or the request says it is, or it cannot be stored,
            or not in all stores that must have it.
        """
        if work.run.plan.method == COPY_IMAGE and image.os_hash_value:
            return await self._copy(image, source, stores, work)
        expected = ANYTHING if self._verified else Expectation(work.run.plan.digests.items())
        if work.run.plan.method == COPY_IMAGE:  # of data that lay somewhere, and was never read by us
            expected = Expectation([*known_digests(image), *work.run.plan.digests.items()])
        digests = Digests(self._hashing, ("md5", self._algorithm), expected)
        found = Inspection(image.disk_format, image.container_format, self._formats, self._hashing)
        tapped = Tap(source, Counted(work), found, *digests.observers, *self._signature(image, work.run.plan))
        outcome = await spread(image.id, tapped, stores, work.claim.id, must_succeed=work.run.plan.must_succeed)
        return Filled(
            size=work.received,
            virtual_size=found.virtual_size,
            checksum=digests["md5"],
            os_hash_algo=self._algorithm,
            os_hash_value=digests[self._algorithm],
            stored=outcome.stored,
            failed=outcome.failed,
        )

    async def _copy(self, image: Image, source: IBodyProducer, stores: Sequence[IStore], work: Work) -> Filled:
        """A copy is the same as the others, or none."""
        expected = Expectation([*known_digests(image), *work.run.plan.digests.items()])
        digests = Digests(self._hashing, (), expected)
        tapped = Tap(source, Counted(work), *digests.observers)
        outcome = await spread(image.id, tapped, stores, work.claim.id, must_succeed=work.run.plan.must_succeed)
        return Filled(stored=outcome.stored, failed=outcome.failed)

    def _signature(self, image: Image, plan: ImportPlan) -> tuple[IObserver, ...]:
        return self._signatures.observers_with(image, plan.certificate_id, plan.certificate.encode("latin-1"))
