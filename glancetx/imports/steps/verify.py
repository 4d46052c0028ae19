"""Before plugins change the data: is it what the request says it is?"""

from __future__ import annotations

from zope.interface import implementer

from glancetx.domain.digests import Expectation
from glancetx.domain.errors import DataNotFound
from glancetx.interfaces import IImportStep, ImportJob, StepDone
from glancetx.runtime.threads import Threads
from glancetx.streams import Discard, IObserver, Tap
from glancetx.streams.digests import Digests
from glancetx.transfer.staging import StagingArea


@implementer(IImportStep)
class Verify:
    """Compares the staged data with ``expected_digests``; what the stores get later has others."""

    name = "verify"
    verb = "Verified"

    def __init__(self, staging: StagingArea, hashing: Threads) -> None:
        self._staging, self._hashing = staging, hashing

    async def run(self, job: ImportJob) -> StepDone:
        """:raises DigestMismatch: if it is not."""
        if not job.plan.digests:
            return StepDone()
        if job.path is None:
            raise DataNotFound("There is no staged data.")
        digests = Digests(self._hashing, (), Expectation(job.plan.digests.items()))
        source = await self._staging.open(job.path.name)
        await Tap(source, _Told(job), *digests.observers).startProducing(Discard())
        return StepDone()


@implementer(IObserver)
class _Told:
    """Says how far it is."""

    def __init__(self, job: ImportJob) -> None:
        self._job, self._seen = job, 0

    def observe(self, chunk: bytes) -> None:
        self._seen += len(chunk)
        self._job.tell(self._seen, self._job.image.size)

    async def finish(self) -> None:
        """Nothing is left to be done."""
