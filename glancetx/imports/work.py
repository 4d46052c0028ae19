"""One import in this process: what it works on, and what its task says of it."""

from __future__ import annotations

from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from glancetx.domain.claim import Claim
from glancetx.domain.errors import ImageTooLarge
from glancetx.domain.importing import ImportRun
from glancetx.streams import IObserver

MIB: Final = 1024 * 1024


@define(kw_only=True, eq=False)
class Work:
    """What one import is at. *verb* tells what is done to its bytes, of which *received* are done and *total* are to be
    (None: nobody knows), since *began*, which is the reactor's time.

    *cap* is how many bytes an image may have. *token* is what the caller showed; it is nowhere else. *done* fires when
    it has ended, however; cancelling it stops the work, and nothing of it is left. *published*: None while that has not
    been tried, else whether it succeeded, as far as one knows.
    """

    run: ImportRun
    claim: Claim
    cap: int
    began: float
    token: str | None = field(default=None, repr=False)
    verb: str = "Copied"
    received: int = 0
    total: int | None = None
    done: Deferred[None] | None = None
    published: bool | None = None

    def begin(self, verb: str, now: float, total: int | None = None) -> None:
        """Begin with something else."""
        self.verb, self.began, self.total, self.received = verb, now, total, 0

    def tell(self, done: int, total: int | None) -> None:
        """Say how far it is."""
        self.received, self.total = done, total

    def message(self, now: float) -> str:
        """Glance's sentence, and what it lacks."""
        of = "" if self.total is None else f" of {self.total // MIB} MiB"
        return f"{self.verb} {self.received // MIB} MiB{of}, {self._rate(now) / MIB:.1f} MiB/s"

    def result(self, now: float) -> dict[str, Any]:
        """What comes of it, so far: Glance has the image's id alone."""
        return {
            "image_id": self.run.image_id,
            "bytes_done": self.received,
            "bytes_total": self.total,
            "bytes_per_second": int(self._rate(now)),
        }

    def _rate(self, now: float) -> float:
        return self.received / max(now - self.began, 0.001)


@implementer(IObserver)
class Counted:
    """Tells *work* of the bytes that pass; more than it may have raise ImageTooLarge."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def observe(self, chunk: bytes) -> None:
        work = self._work
        work.received += len(chunk)
        if work.received > work.cap:
            raise ImageTooLarge

    async def finish(self) -> None:
        """Nothing is left to be done."""
