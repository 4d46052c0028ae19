"""Which imports run in this process: so many at a time, gone on with after a crash, stopped when they are not ours.

An import's claim says who works on it. Whoever deletes the image gives the claim to nobody; so does the reaper when a
process has died. A process that finds a claim gone stops, and removes what it has stored: only what is published in
the transaction that ends the claim stays.
"""

from __future__ import annotations

import uuid
from typing import Final, Protocol, TypeVar

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from glancetx.db.claims import Claims, Process
from glancetx.db.imports import ImportRuns
from glancetx.domain.claim import Claim
from glancetx.domain.errors import ImportLost
from glancetx.domain.importing import GLANCE_DOWNLOAD, WEB_DOWNLOAD, ImportRun
from glancetx.imports.work import Work
from glancetx.runtime.failpoints import reach
from glancetx.runtime.undo import Shielded
from glancetx.transfer.staging import StagingArea

T = TypeVar("T")

WATCH: Final = 0.5  # seconds between two looks whether claims still are ours
TELL: Final = 4  # looks between two reports of how far an import is


class Performer(Protocol):
    """Knows what is to be done: `glancetx.imports.importer.Importer` for imports."""

    async def perform(self, work: Work) -> None:
        """Do all of it. When this raises or is cancelled, nothing was published. :raises ImportLost: not ours."""

    async def undoable(self, work: Work) -> bool:
        """Whether nothing was published. :raises DatabaseUnavailable: if that cannot be found out now."""

    async def fail(self, work: Work, error: BaseException) -> None:
        """Undo what was done, and say why. :raises ImportLost: if it is not ours any more."""

    async def clean(self, run: ImportRun, claim: Claim) -> None:
        """Remove what the attempt under *claim* has stored. :raises ImportLost: if it is not ours any more."""

    def leftovers(self, run: ImportRun, claim: Claim) -> list[Claim]:
        """Claims to all that the attempt under *claim* may have stored, for the reaper."""


class ImportRunner:
    """Runs at most *at_once* imports; others wait in the order of their arrival. *size_cap*: bytes of an image."""

    def __init__(
        self,
        reactor: IReactorTime,
        runs: ImportRuns,
        claims: Claims,
        staging: StagingArea,
        importer: Performer,
        process: Process,
        at_once: int,
        size_cap: int,
    ) -> None:
        self._reactor = reactor
        self._runs = runs
        self._claims = claims
        self._staging = staging
        self._importer = importer
        self._process = process
        self._size_cap = size_cap
        self._turns = DeferredSemaphore(at_once)
        self._works: dict[str, Work] = {}
        self._next_look: IDelayedCall | None = None
        self._looking = False
        self._looks = 0
        self._stopping = False
        self._emptied: Deferred[None] | None = None
        self._log = Logger()

    @property
    def running(self) -> int:
        """How many imports are under way here, those that wait included."""
        return len(self._works)

    def launch(self, run: ImportRun, claim: Claim, token: str | None = None) -> None:
        """Begin with *run*, whose *claim* is ours; returns at once. *token* is what the caller showed."""
        work = Work(run=run, claim=claim, cap=self._size_cap, began=self._reactor.seconds(), token=token)
        self._works[claim.id] = work
        self._watch()
        work.done = Deferred.fromCoroutine(self._run(work))
        work.done.addErrback(lambda failure: self._log.failure("an import ended badly", failure))
        work.done.addBoth(self._end, work)

    async def resume(self, orphan: Claim) -> None:
        """Go on with an import nobody works on, unless its data lies where only others can read it."""
        run = await self._runs.of_claim(orphan)
        if run is None:
            await self._claims.release(orphan)
            return
        if self._stopping or await self._is_for_others(run):
            return
        anew = run.staged is None and run.plan.method in (WEB_DOWNLOAD, GLANCE_DOWNLOAD)
        reserved = 0 if anew else orphan.reserved  # it is going to reserve what it fetches
        claim = evolve(orphan, id=uuid.uuid4().hex, process=self._process.id, reserved=reserved)
        leftovers = self._importer.leftovers(run, orphan)
        with self._claims.working_on(claim):
            taken = await self._runs.take_over(orphan, claim, leftovers)
            if taken is not None:
                reach("import.taken")
                self.launch(taken, claim)

    async def stop(self) -> None:
        """Stop all imports, so that other processes, or the next start, go on with them. Fires when all have ended."""
        self._stopping = True
        for work in list(self._works.values()):
            _cancel(work)
        while self._works:
            self._emptied = self._emptied or Deferred()
            await self._emptied

    async def dismiss(self, image_id: str) -> None:
        """Stop what adds a location to that image, here and in other processes, because its data is to be deleted.

        If the data stays after all, it is gone on with later.
        """
        elsewhere = await self._runs.dismiss(image_id, self._process.id)
        for work in [each for each in self._works.values() if each.run.image_id == image_id]:
            ended: Deferred[None] = Deferred()
            if work.done is not None:
                work.done.addBoth(_passing, ended)
                _cancel(work)
                await ended
        if elsewhere:
            await deferLater(self._reactor, 2 * WATCH)

    async def _run(self, work: Work) -> None:
        with self._claims.working_on(work.claim):
            try:
                await self._turns.acquire()
                try:
                    work.began = self._reactor.seconds()
                    await self._importer.perform(work)
                finally:
                    self._turns.release()
            except Exception as error:
                await Shielded(self._undo(work, error))

    async def _undo(self, work: Work, error: Exception) -> None:
        try:
            if await self._importer.undoable(work):
                await self._give_up(work, error)
        except Exception:  # nobody works on its claim any more, so the reaper comes to it
            self._log.failure("image {image}: an import cannot be ended now", image=work.run.image_id)

    async def _give_up(self, work: Work, error: Exception) -> None:
        if not isinstance(error, CancelledError | ImportLost):
            try:
                await self._importer.fail(work, error)
                return
            except ImportLost:
                self._log.info("image {image}: somebody else has ended its import", image=work.run.image_id)
        await self._leave(work)

    async def _leave(self, work: Work) -> None:
        """It is not ours any more, or is to be somebody else's."""
        try:
            await self._importer.clean(work.run, work.claim)
        except ImportLost:  # who has it may be storing data where we have: what is left of ours waits
            await self._claims.leave(self._importer.leftovers(work.run, work.claim))
        if self._stopping:
            await self._runs.give_back(work.run, work.claim)
        else:
            await self.resume(work.claim)

    async def _is_for_others(self, run: ImportRun) -> bool:
        """Whether its data is staged on another host that lives."""
        if run.staged is None or run.host == self._process.host:
            return False
        if await self._staging.size(run.staged) is not None:
            return False
        return run.host in await self._claims.hosts()

    def _watch(self) -> None:
        """Look after imports in a moment, as long as there are any."""
        if self._works and not self._looking and self._next_look is None:
            self._next_look = self._reactor.callLater(WATCH, lambda: Deferred.fromCoroutine(self._look_on()))

    async def _look_on(self) -> None:
        self._next_look, self._looking = None, True
        await self._look()
        self._looking = False
        self._watch()

    async def _look(self) -> None:
        """Stop what is not ours any more; now and then, say how far the others are."""
        self._looks += 1
        works = dict(self._works)  # one that begins meanwhile is not asked for
        try:
            held = await self._runs.held(works, self._process.id)
            for claim_id, work in works.items():
                if claim_id not in held:
                    _cancel(work)
                elif self._looks % TELL == 0 and work.received:
                    now = self._reactor.seconds()
                    await self._runs.report(work.run, work.claim, work.message(now), work.result(now))
        except ImportLost:
            return  # the next look sees it
        except Exception:
            self._log.failure("cannot look after imports; the next look will try again")

    def _end(self, _: object, work: Work) -> None:
        del self._works[work.claim.id]
        if self._works:
            return
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        if self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)


def _passing(outcome: T, other: Deferred[None]) -> T:
    other.callback(None)
    return outcome


def _cancel(work: Work) -> None:
    if work.done is not None:
        work.done.cancel()
