"""Imports that are run at the same time do not hinder each other, and none is forgotten."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_twisted
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from glancetx.db.claims import NOBODY, Claims, Process, this_process
from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.imports import ImportRuns, leftover
from glancetx.domain.claim import IMPORT, Claim
from glancetx.domain.errors import ImportLost
from glancetx.domain.image import Image
from glancetx.domain.importing import COPY_IMAGE, ImportPlan, ImportRun
from glancetx.domain.task import Task
from glancetx.imports.runner import WATCH, ImportRunner
from glancetx.imports.work import Work
from glancetx.runtime.threads import Threads
from glancetx.testing.database import fresh_database
from glancetx.testing.fakes import turns, until
from glancetx.testing.stores import the_reactor
from glancetx.transfer.staging import StagingArea


class Waiting:
    """A `Performer` of imports that last until the test ends them."""

    def __init__(self) -> None:
        self.begun: list[Work] = []
        self.ends: list[Deferred[None]] = []
        self.lost = False

    async def perform(self, work: Work) -> None:
        self.begun.append(work)
        self.ends.append(Deferred())
        await self.ends[-1]

    async def undoable(self, work: Work) -> bool:
        return True

    async def fail(self, work: Work, error: BaseException) -> None:
        raise AssertionError(error)

    async def clean(self, run: ImportRun, claim: Claim) -> None:
        if self.lost:
            raise ImportLost(run.image_id)

    def leftovers(self, run: ImportRun, claim: Claim) -> list[Claim]:
        return [leftover(run.image_id, "files", claim.id[::-1], None)]


@define
class Place:
    """A runner, whose time is the clock's, on a database of its own."""

    engine: Engine
    folder: Path
    process: Process = field(factory=this_process)
    clock: Clock = field(factory=Clock)
    performer: Waiting = field(factory=Waiting)
    claims: Claims = field(init=False)
    runs: ImportRuns = field(init=False)
    runner: ImportRunner = field(init=False)

    async def start(self) -> None:
        self.claims, self.runs = Claims(self.engine), ImportRuns(self.engine)
        await self.claims.register(self.process)
        reactor: Any = the_reactor()
        area = StagingArea(self.folder, Threads(reactor, "staging", 1))
        self.runner = ImportRunner(
            self.clock,
            self.runs,
            self.claims,
            area,
            self.performer,
            self.process,
            4,
            1000,
        )

    async def noted(self) -> tuple[ImportRun, Claim]:
        """An import that is in the database, to be launched."""
        image = await Images(self.engine).create(Image(id=str(uuid.uuid4()), owner="ours"))
        task = Task(id=str(uuid.uuid4()), type="api_image_import", owner="ours", image_id=image.id)
        claim = Claim(id=uuid.uuid4().hex, kind=IMPORT, image_id=image.id, store="", process=self.process.id)
        plan = ImportPlan(method=COPY_IMAGE, stores=("files",), multiple=True)
        run = ImportRun(task_id=task.id, image_id=image.id, claim=claim.id, host=self.process.host, plan=plan)
        await self.runs.begin("queued", task, run, claim, lambda each: each)
        return run, claim

    async def look_ended(self) -> None:
        await until(the_reactor(), lambda: bool(self.clock.getDelayedCalls()))  # for the next one
        await turns(the_reactor())


@pytest_twisted.async_yield_fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with fresh_database(the_reactor(), tmp_path) as engine:  # type: ignore[arg-type]
        made = Place(engine, tmp_path)
        await made.start()
        yield made
        await made.runner.stop()


@pytest_twisted.ensureDeferred
async def test_begun_during_a_look(place: Place) -> None:
    """An import that begins while the claims of others are looked at is not taken for one that was lost."""
    first, second = await place.noted(), await place.noted()
    place.runner.launch(*first)
    place.clock.advance(WATCH)
    place.runner.launch(*second)
    await place.look_ended()
    assert [end.called for end in place.performer.ends] == [False, False]


@pytest_twisted.ensureDeferred
async def test_one_look_at_a_time(place: Place) -> None:
    """However imports begin and end while their claims are looked at, there is one look every half second."""
    last, *others = [await place.noted() for _ in range(4)]
    for each in others:
        place.runner.launch(*each)
        place.clock.advance(WATCH)
        place.performer.ends[-1].callback(None)
    place.runner.launch(*last)
    await place.look_ended()
    assert len(place.clock.getDelayedCalls()) == 1


@pytest_twisted.ensureDeferred
async def test_ended_without_an_end(place: Place) -> None:
    """An import whose work has ended, though nobody could say so, is an orphan, and gone on with."""
    run, claim = await place.noted()
    place.runner.launch(run, claim)
    assert await place.claims.orphans() == []
    work = place.performer.begun[0]
    assert work.done is not None
    work.done.cancel()  # while the claim still is ours
    await until(the_reactor(), lambda: not place.runner.running)
    orphans = await place.claims.orphans()
    assert orphans == [evolve(claim, process=NOBODY)]
    await place.runner.resume(orphans[0])
    assert [each.run.attempts for each in place.performer.begun] == [0, 1]
    assert await place.claims.orphans() == []
    place.performer.ends[-1].callback(None)


@pytest_twisted.ensureDeferred
async def test_lost_to_another(place: Place) -> None:
    """Who has lost an import leaves what he has stored to who has it: that may be storing data in the same place."""
    run, claim = await place.noted()
    place.runner.launch(run, claim)
    place.performer.lost = True
    anew = evolve(claim, id=uuid.uuid4().hex, process=NOBODY)
    left = place.performer.leftovers(run, claim)
    with place.claims.working_on(anew):
        await place.runs.give_back(run, claim)
        assert await place.runs.take_over(evolve(claim, process=NOBODY), anew, left) is not None
        place.performer.ends[-1].errback(ImportLost(run.image_id))
        await until(the_reactor(), lambda: not place.runner.running)
        assert await place.runs.leftovers(run.image_id) == left
        assert await place.claims.adopt(left[0]) is None
        adopted = await place.claims.adopt(left[0], beside=anew.id)
    assert adopted == evolve(left[0], process=place.process.id)
