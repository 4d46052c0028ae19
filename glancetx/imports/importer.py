"""One import from its beginning to its end: success, or an image that is as it was, and no byte left of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glancetx.config.settings import ImportSettings
from glancetx.db.claims import Claims
from glancetx.db.images import Images
from glancetx.db.imports import ImportRuns, leftover
from glancetx.db.telling import Transaction
from glancetx.domain.claim import Claim
from glancetx.domain.context import service_context
from glancetx.domain.errors import ImageNotFound, ImageServiceError, ImportLost
from glancetx.domain.image import Image, utc_now
from glancetx.domain.importing import COPY_IMAGE, MOST_ATTEMPTS, ImportRun, ended
from glancetx.domain.status import IMPORTING, QUEUED
from glancetx.domain.task import FAILURE, SUCCESS, Task
from glancetx.imports.fill import Filled, Filler
from glancetx.imports.progress import Progress
from glancetx.imports.sources import Sources
from glancetx.imports.work import Work
from glancetx.notifications.events import Events
from glancetx.runtime.failpoints import reach
from glancetx.runtime.permission import guarded
from glancetx.runtime.undo import Shielded
from glancetx.stores.registry import Stores
from glancetx.transfer.readers import Readers
from glancetx.transfer.spread import SpreadFailed, attempt_in
from glancetx.transfer.staging import StagingArea

INTERNAL = "The import failed for a reason that only the service's log tells."


class Importer:
    """Performs imports, one call for each; who calls decides when, and when to stop."""

    def __init__(
        self,
        reactor: IReactorTime,
        runs: ImportRuns,
        images: Images,
        claims: Claims,
        stores: Stores,
        staging: StagingArea,
        progress: Progress,
        sources: Sources,
        filler: Filler,
        events: Events,
        readers: Readers,
        settings: ImportSettings,
    ) -> None:
        self._reactor = reactor
        self._runs = runs
        self._images = images
        self._claims = claims
        self._stores = stores
        self._staging = staging
        self._progress = progress
        self._sources = sources
        self._filler = filler
        self._events = events
        self._readers = readers
        self._kept = timedelta(hours=settings.task_time_to_live)
        self._log = Logger()

    async def perform(self, work: Work) -> None:
        """Do all of it and publish the image. When this raises or is cancelled, nothing was published.

        :raises ImportLost: if it is not ours any more.
        :raises Exception: what went wrong; `fail` is to be called then.
        """
        run = work.run
        await self._clear(work)
        if run.attempts >= MOST_ATTEMPTS:
            raise ImageServiceError(f"The import was begun {run.attempts} times, and never came to an end.")
        image = await self._images.get(service_context(), run.image_id)
        await self._runs.start(run, work.claim, self._events.task_started)
        reach("import.processing")
        image = await self._progress.advance(work, image)
        source = await self._sources.open(image, work)
        work.begin("Copied", self._reactor.seconds(), image.size)
        chosen = self._stores.acting_for(image.owner, work.token)
        stores = [chosen.get(name) for name in run.plan.stores]
        for store in stores:
            self._events.image_prepared(image, store.identifier)
        filled = await self._filler.fill(image, source, stores, work)
        reach("import.stored")
        await self._succeed(work, filled)

    async def _succeed(self, work: Work, filled: Filled) -> None:
        run, now = work.run, self._reactor.seconds()
        leftovers = await self._discard(run, work.claim, list(filled.failed))
        task = await self._ended(run, SUCCESS, work.message(now))
        task = evolve(task, result=work.result(now))
        image = await self._publish(work, task, filled, leftovers)
        reach("import.published")
        if image is None:
            raise ImageNotFound(run.image_id)
        await self._readers.try_to_tell(image, work.token)
        for store, error in filled.failed.items():
            self._log.warn("image {image}: not in {store}: {error!r}", image=image.id, store=store, error=error)
        await self.unstage(run)
        reach("import.unstaged")

    async def _publish(self, work: Work, task: Task, filled: Filled, leftovers: Sequence[Claim]) -> Image | None:
        """As soon as this was tried, it matters whether it was done: what is published must not be discarded."""
        run = work.run

        def tell(transaction: Transaction, image: Image | None) -> None:
            if image is None:
                return
            for _ in filled.stored:
                self._events.image_uploaded(transaction, image)
            if run.plan.method != COPY_IMAGE:
                self._events.image_activated(transaction, image)
            self._events.task_ended(transaction, task)

        work.published = True
        try:
            return await Shielded(
                self._runs.end(run, work.claim, task, lambda image: filled.applied(image, run.plan), leftovers, tell)
            )
        except ImportLost:
            work.published = False
            raise

    async def undoable(self, work: Work) -> bool:
        """Whether nothing was published. :raises DatabaseUnavailable: if that cannot be found out now."""
        return not work.published or bool(await self._claims.existing([work.claim.id]))

    async def fail(self, work: Work, error: BaseException) -> None:
        """Undo what was done, and say why: the image is queued again, or has the copies it had before.

        :raises ImportLost: if it is not ours any more.
        """
        run = work.run
        cause = error.reason if isinstance(error, SpreadFailed) else error
        failed = error.failed if isinstance(error, SpreadFailed) else run.plan.stores
        message = str(cause) if isinstance(cause, ImageServiceError) else INTERNAL
        leftovers = await self._discard(run, work.claim, run.plan.stores)
        reach("import.discarded")
        await self.unstage(run)
        task = await self._ended(run, FAILURE, message)

        def tell(transaction: Transaction, image: Image | None) -> None:
            if image is not None:
                self._events.upload_failed(transaction, image, cause)
            self._events.task_ended(transaction, task)

        await self._runs.end(run, work.claim, task, _reverted(run, failed), leftovers, tell)
        reach("import.reverted")
        self._log.warn("image {image}: the import failed: {why!r}", image=run.image_id, why=cause)

    async def clean(self, run: ImportRun, claim: Claim) -> None:
        """Remove what the attempt under *claim* has stored; what cannot be removed now is noted, for the reaper."""
        await self._claims.leave(await self._discard(run, claim, run.plan.stores))

    def leftovers(self, run: ImportRun, claim: Claim) -> list[Claim]:
        """Claims to all that the attempt under *claim* may have stored, for the reaper."""
        return self._claims_to(run, claim, run.plan.stores)

    def _claims_to(self, run: ImportRun, claim: Claim, stores: Collection[str]) -> list[Claim]:
        return [leftover(run.image_id, name, attempt_in(name, claim.id), claim.owner) for name in stores]

    async def _clear(self, work: Work) -> None:
        """Discard now what earlier attempts left in any store: it would be in the way of this one."""
        for each in await self._runs.leftovers(work.run.image_id):
            await self._claims.take_over(each, self._clear_of, beside=work.claim.id)

    async def _clear_of(self, leftover: Claim) -> None:
        if await self._is_discarded(leftover):
            await self._claims.release(leftover)

    async def _is_discarded(self, claim: Claim) -> bool:
        try:
            await self._stores.acting_for(claim.owner).get(claim.store).discard(claim.image_id, claim.id)
        except ImageServiceError as error:
            facts = {"image": claim.image_id, "store": claim.store, "why": error}
            self._log.warn("image {image}: {store} keeps data for now: {why!r}", **facts)
            return False
        return True

    async def unstage(self, run: ImportRun) -> None:
        """Remove staged data; if that fails, the sweep of the staging area comes back to it."""
        try:
            await self._staging.remove(run.staged or run.image_id)
        except ImageServiceError:
            self._log.failure("image {image}: what was staged of it stays for now", image=run.image_id)

    async def _discard(self, run: ImportRun, claim: Claim, stores: Collection[str]) -> list[Claim]:
        """Remove what the attempt has stored in these; returns claims for what could not be removed.

        :raises ImportLost: if it is not ours any more: who has it removes that.
        """
        certain = self._claims.certainty()
        if await self._claims.adopt(claim) is None:
            raise ImportLost(run.image_id)
        stored = self._claims_to(run, claim, stores)
        return [each for each in stored if not await guarded(self._is_discarded(each), certain)]

    async def _ended(self, run: ImportRun, status: str, message: str) -> Task:
        task = await self._runs.task_of(run)
        if task is None:  # somebody has purged it; what we write then finds no row either
            task = Task(id=run.task_id, type="", owner="", image_id=run.image_id)
        return evolve(task, status=status, message=message, result=None, expires_at=utc_now() + self._kept)


def _reverted(run: ImportRun, failed: Collection[str]) -> Callable[[Image], Image]:
    def change(image: Image) -> Image:
        image = ended(image, run.plan, failed)
        if image.status != IMPORTING:
            return image
        return evolve(image.to(QUEUED), checksum=None, os_hash_algo=None, os_hash_value=None)

    return change
