"""web-download: the data comes from a URL that the client names (P-011)."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from zope.interface import implementer

from glancetx.imports.steps.receive import Receiver
from glancetx.interfaces import IImportStep, ImportJob, StepDone
from glancetx.outgoing.fetch import Fetcher

FETCH: Final = "fetch"


@implementer(IImportStep)
@frozen
class WebDownload:
    """Fetches the URL of the plan."""

    fetcher: Fetcher
    receiver: Receiver
    name: str = FETCH
    verb: str = "Downloaded"

    async def run(self, job: ImportJob) -> StepDone:
        """:raises UrlRefused: if the URL, or where it leads, may not be fetched; and what `Receiver.receive` raises."""
        url = job.plan.uri or ""
        return await self.receiver.receive(job, lambda: self.fetcher.open(url))
