"""Taking data from afar into the staging area, within bounds of size, time, rate, and what the project may have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, TimeoutError
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.config.settings import DownloadSettings
from glancetx.db.claims import Claims
from glancetx.domain.errors import BrokenOff, ImageTooLarge, SourceUnavailable
from glancetx.domain.image import Image
from glancetx.interfaces import ILimits, ImportJob, StepDone
from glancetx.streams import IObserver, SizeLimit, Tap, Throttle
from glancetx.streams.allowance import Allowance
from glancetx.streams.pace import Pace
from glancetx.transfer.staging import StagingArea
from glancetx.transfer.upload import known_length

Open = Callable[[], Awaitable[IBodyProducer]]
Observers = Callable[[], Sequence[IObserver]]
TRIES: Final = 3  # from the beginning, if a server breaks off and cannot go on


@frozen(kw_only=True)
class Receiver:
    """Puts what comes from afar into *staging*; *size_cap*: bytes of an image."""

    reactor: Any
    staging: StagingArea
    claims: Claims
    limits: ILimits
    settings: DownloadSettings
    size_cap: int

    async def receive(
        self, job: ImportJob, open_source: Open, expected: int | None = None, observers: Observers = tuple
    ) -> StepDone:
        """Stage what *open_source* opens, which is *expected* bytes, if that is known. On failure nothing is left.

        *observers* makes those which shall see the bytes, too, anew for each try.

        A server that broke off and cannot go on is asked for everything again, a few times.

        :raises LimitExceeded, SourceUnavailable, TooSlow: if it is too much, or does not come.
        """
        tries = 1
        while True:
            try:
                size = await self._stage(job, await open_source(), expected, observers)
            except BrokenOff:
                if tries == TRIES:
                    raise
                tries += 1
            else:
                return StepDone(path=self.staging.folder / job.image.id, change=_sized(size))

    async def _stage(self, job: ImportJob, source: IBodyProducer, expected: int | None, more: Observers) -> int:
        length = known_length(source)
        try:
            if length is not None and length > self.size_cap:
                raise ImageTooLarge
            if None not in (length, expected) and length != expected:
                raise SourceUnavailable(f"{length} bytes are offered, {expected} are expected.")
            observers = [*await self._observers(job, length), *more()]
            await self.staging.remove(job.image.id)  # of an attempt that was killed when it had just ended
        except BaseException:
            source.stopProducing()
            raise
        adding = Deferred.fromCoroutine(self.staging.add(job.image.id, Tap(source, *observers), job.claim.id))
        if self.settings.fetch_timeout:
            adding.addTimeout(self.settings.fetch_timeout, self.reactor)
        try:
            size = await adding
        except TimeoutError as error:
            raise SourceUnavailable(f"Not all came within {self.settings.fetch_timeout:g} seconds.") from error
        if expected is not None and size != expected:
            await self.staging.remove(job.image.id)
            raise SourceUnavailable(f"{size} bytes came, {expected} were expected.")
        return size

    async def _observers(self, job: ImportJob, length: int | None) -> list[IObserver]:
        settings = self.settings
        observers: list[IObserver] = [SizeLimit(self.size_cap), _Told(job, length)]
        if settings.fetch_min_rate:
            observers.append(Pace(self.reactor, settings.fetch_min_rate))
        if settings.fetch_max_rate:
            observers.append(Throttle(self.reactor, settings.fetch_max_rate))
        limits = await self.limits.limits_of(job.claim.owner)
        if limits.size_total is not None:
            copies = len(job.plan.stores)

            async def grant(needed: int, wanted: int, wait: bool) -> int:
                granted = await self.claims.reserve(job.claim, limits, needed * copies, wanted * copies, wait)
                return granted // copies

            observers.append(Allowance(self.reactor, grant))
        return observers


@implementer(IObserver)
class _Told:
    def __init__(self, job: ImportJob, total: int | None) -> None:
        self._job, self._total, self._received = job, total, 0

    def observe(self, chunk: bytes) -> None:
        self._received += len(chunk)
        self._job.tell(self._received, self._total)

    async def finish(self) -> None:
        """Nothing is left to be done."""


def _sized(size: int) -> Callable[[Image], Image]:
    return lambda image: evolve(image, size=size)
