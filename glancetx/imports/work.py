"""One import in this process: what it works on, and what its task says of it."""

from __future__ import annotations

from typing import Any, Final

from attrs import define
from twisted.internet.defer import Deferred

from glancetx.domain.claim import Claim
from glancetx.domain.importing import ImportRun
from glancetx.streams import SizeLimit

MIB: Final = 1024 * 1024


@define(kw_only=True, eq=False)
class Work:
    """*limit* counts the bytes; *total* is how many there are, if that is known. *began* is the reactor's time.

    *done* fires when it has ended, however; cancelling it stops the work, and nothing of it is left. *published*: None
    while that has not been tried, else whether it succeeded, as far as one knows.
    """

    run: ImportRun
    claim: Claim
    limit: SizeLimit
    began: float
    total: int | None = None
    done: Deferred[None] | None = None
    published: bool | None = None

    def message(self, now: float) -> str:
        """Glance's sentence, and what it lacks."""
        received = self.limit.received
        of = "" if self.total is None else f" of {self.total // MIB} MiB"
        return f"Copied {received // MIB} MiB{of}, {self._rate(now) / MIB:.1f} MiB/s"

    def result(self, now: float) -> dict[str, Any]:
        """What comes of it, so far: Glance has the image's id alone."""
        return {
            "image_id": self.run.image_id,
            "bytes_done": self.limit.received,
            "bytes_total": self.total,
            "bytes_per_second": int(self._rate(now)),
        }

    def _rate(self, now: float) -> float:
        return self.limit.received / max(now - self.began, 0.001)
