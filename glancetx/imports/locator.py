"""Data that lies in a store already becomes an image's: looked up, noted, read once, and hashed (processes.md, 6)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from attrs import asdict, evolve, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glancetx.config.settings import ImagesSettings
from glancetx.db.claims import Claims
from glancetx.db.images import Images
from glancetx.db.imports import ImportRuns
from glancetx.db.telling import Transaction
from glancetx.domain.claim import Claim
from glancetx.domain.context import service_context
from glancetx.domain.errors import (
    ImageNotFound,
    ImageServiceError,
    ImportLost,
    Invalid,
    SizeMismatch,
    StoreError,
)
from glancetx.domain.image import Image, Location, utc_now
from glancetx.domain.importing import MOST_ATTEMPTS, ImportPlan, ImportRun
from glancetx.domain.status import ACTIVE, IMPORTING, QUEUED
from glancetx.domain.task import FAILURE, LOCATION_IMPORT, SUCCESS, Task
from glancetx.imports.work import Counted, Work
from glancetx.interfaces import ILimits
from glancetx.notifications.events import Events
from glancetx.operations.locations import Locations
from glancetx.outgoing.retries import Retries
from glancetx.runtime.failpoints import reach
from glancetx.runtime.threads import Threads
from glancetx.runtime.undo import Shielded
from glancetx.stores.registry import Stores
from glancetx.streams import Digest, Discard, Tap

INTERNAL = "The location was not added for a reason that only the service's log tells."
ATTACHED = "attached"
"""The step after which the image has the location."""


@frozen(kw_only=True)
class Hashes:
    """What the data of a location has, as far as it is known."""

    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None

    def applied(self, image: Image) -> Image:
        """*image* with them; what nobody knows stays as it is."""
        return evolve(image, **{name: value for name, value in asdict(self).items() if value is not None})


class Locator:
    """Adds locations, one call for each; who calls decides when, and when to stop.

    Data whose hash the caller has told is read before the image becomes active, other data after that; none is read
    if ``do_secure_hash`` is off. Nothing is ever stored or deleted: until it is accepted, the data is the caller's.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        runs: ImportRuns,
        images: Images,
        claims: Claims,
        stores: Stores,
        locations: Locations,
        limits: ILimits,
        hashing: Threads,
        events: Events,
        settings: ImagesSettings,
        kept: timedelta,
    ) -> None:
        self._reactor = reactor
        self._runs = runs
        self._images = images
        self._claims = claims
        self._stores = stores
        self._locations = locations
        self._limits = limits
        self._hashing = hashing
        self._events = events
        self._settings = settings
        self._kept = kept
        self._retries = Retries(reactor, most=settings.http_retries)
        self._log = Logger()

    async def perform(self, work: Work) -> None:
        """Do all of it. When this raises or is cancelled before the location is noted, nothing has changed.

        :raises ImportLost: if it is not ours any more.
        :raises Exception: what went wrong; `fail` is to be called then.
        """
        run = work.run
        if run.attempts >= MOST_ATTEMPTS:
            raise ImageServiceError(f"The location was begun {run.attempts} times, and never came to an end.")
        image = await self._images.get(service_context(), run.image_id)
        await self._runs.start(run, work.claim, self._events.task_started)
        reach("location.processing")
        if run.step != ATTACHED:
            image = await self._attach(work)
            reach("location.attached")
        hashes = Hashes()
        if self._settings.do_secure_hash:
            hashes = await self._hashed(work, image)
            reach("location.hashed")
        await self._succeed(work, hashes)

    async def _attach(self, work: Work) -> Image:
        """The image with its location: active, or importing if its data is looked at first."""
        run, plan = work.run, work.run.plan
        url = plan.uri or ""
        metadata, size = await self._locations.look_up(url)
        location = Location(url=url, metadata=metadata)
        limits = await self._limits.limits_of(work.claim.owner)
        attached = evolve(run, step=ATTACHED)
        image = await self._runs.attach(
            attached,
            work.claim,
            QUEUED,
            lambda image: self._with(image, location, size, plan),
            limits,
            size,
            self._events.image_updated,
        )
        work.run = attached
        return image

    def _with(self, image: Image, location: Location, size: int, plan: ImportPlan) -> Image:
        self._locations.check_number(len(image.locations) + 1)
        waits = self._settings.do_secure_hash and bool(plan.digests)
        image = evolve(image.to(IMPORTING if waits else ACTIVE), size=size, locations=(*image.locations, location))
        if self._settings.do_secure_hash:
            return image
        algorithm, value = next(iter(plan.digests.items()), (None, None))
        return Hashes(os_hash_algo=algorithm, os_hash_value=value).applied(image)

    async def _hashed(self, work: Work, image: Image) -> Hashes:
        """Read the data, again if a store fails (``http_retries``).

        :raises Invalid: if it is not what the caller said. :raises StoreError: if it cannot be read.
        """
        tried = 0
        while True:
            try:
                hashes = await self._read(work, image)
                break
            except StoreError as error:
                tried += 1
                self._log.info("image {image}: cannot be read: {why}", image=image.id, why=str(error))
                if not await self._retries.pause(tried):
                    raise
        wanted = work.run.plan.digests.get(hashes.os_hash_algo or "")
        if wanted is not None and hashes.os_hash_value != wanted:
            raise Invalid(f"os_hash_value: ({wanted}) not matched with actual os_hash_value: ({hashes.os_hash_value})")
        return hashes

    async def _read(self, work: Work, image: Image) -> Hashes:
        url = work.run.plan.uri or ""
        location = next((each for each in image.locations if each.url == url), None)
        if location is None:
            raise Invalid("The location was removed again.")
        source = await self._stores.for_location(location).get(url)
        algorithm = next(iter(work.run.plan.digests), self._settings.hashing_algorithm)
        md5, multihash = Digest("md5", self._hashing), Digest(algorithm, self._hashing)
        work.begin("Hashed", self._reactor.seconds(), image.size)
        work.cap = image.size or 0  # what there was when it was added
        await Tap(source, Counted(work), md5, multihash).startProducing(Discard())
        if image.size != work.received:
            raise SizeMismatch(image.size or 0, work.received)
        return Hashes(checksum=md5.hexdigest, os_hash_algo=algorithm, os_hash_value=multihash.hexdigest)

    async def _succeed(self, work: Work, hashes: Hashes) -> None:
        run = work.run
        task = evolve(await self._ended(run, SUCCESS, ""), result={"image_id": run.image_id})
        work.published = True
        tell = partial(self._tell_ended, task)
        try:
            image = await Shielded(self._runs.end(run, work.claim, task, _finished(run.plan, hashes), tell=tell))
        except ImportLost:
            work.published = False
            raise
        reach("location.ended")
        if image is None:
            raise ImageNotFound(run.image_id)

    def _tell_ended(self, task: Task, transaction: Transaction, image: Image | None) -> None:
        if image is not None:
            self._events.image_updated(transaction, image)
        if image is not None or task.status == FAILURE:
            self._events.task_ended(transaction, task)

    async def undoable(self, work: Work) -> bool:
        """Whether it has not ended. :raises DatabaseUnavailable: if that cannot be found out now."""
        return not work.published or bool(await self._claims.existing([work.claim.id]))

    async def fail(self, work: Work, error: BaseException) -> None:
        """Say why: an image that was not active is queued again and has no location; one that was stays so, unhashed.

        :raises ImportLost: if it is not ours any more.
        """
        run = work.run
        message = str(error) if isinstance(error, ImageServiceError) else INTERNAL
        task = await self._ended(run, FAILURE, message)
        await self._runs.end(run, work.claim, task, _reverted(run.plan), tell=partial(self._tell_ended, task))
        reach("location.reverted")
        self._log.warn("image {image}: adding a location failed: {why!r}", image=run.image_id, why=error)

    async def clean(self, run: ImportRun, claim: Claim) -> None:
        """Nothing was stored."""

    def leftovers(self, run: ImportRun, claim: Claim) -> list[Claim]:
        """Nothing was stored."""
        return []

    async def _ended(self, run: ImportRun, status: str, message: str) -> Task:
        task = await self._runs.task_of(run)
        if task is None:  # somebody has purged it; what we write then finds no row either
            task = Task(id=run.task_id, type=LOCATION_IMPORT, owner="", image_id=run.image_id)
        return evolve(task, status=status, message=message, result=None, expires_at=utc_now() + self._kept)


def _finished(plan: ImportPlan, hashes: Hashes) -> Callable[[Image], Image]:
    """The image with the hashes of its data, if that still is its data, and active if it waited for that."""

    def change(image: Image) -> Image:
        if not any(location.url == plan.uri for location in image.locations):
            return image
        if image.os_hash_value is None:
            image = hashes.applied(image)
        return image.to(ACTIVE) if image.status == IMPORTING else image

    return change


def _reverted(plan: ImportPlan) -> Callable[[Image], Image]:
    def change(image: Image) -> Image:
        if image.status != IMPORTING:
            return image
        others = tuple(location for location in image.locations if location.url != plan.uri)
        return evolve(image.to(QUEUED), locations=others)

    return change
