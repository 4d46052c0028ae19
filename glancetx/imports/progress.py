"""The steps of an import before its data goes to the stores: run in their order, each noted when it has ended."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glancetx.db.imports import ImportRuns
from glancetx.domain.errors import DataNotFound, StoreError
from glancetx.domain.image import Image
from glancetx.domain.importing import STAGED_BY_CLIENT
from glancetx.imports.flow import Flow, Flows
from glancetx.imports.work import Work
from glancetx.interfaces import IImportStep, ImportJob, StepDone
from glancetx.runtime.failpoints import reach
from glancetx.transfer.staging import StagingArea


class Progress:
    """Takes imports from step to step."""

    def __init__(self, reactor: IReactorTime, runs: ImportRuns, staging: StagingArea, flows: Flows, host: str) -> None:
        self._reactor, self._runs, self._staging = reactor, runs, staging
        self._flows, self._host = flows, host
        self._log = Logger()

    async def advance(self, work: Work, image: Image) -> Image:
        """Run the steps that are left; returns *image* as they have changed it. Its data is staged then.

        What was done by a step that was cancelled, or killed, is done again.

        :raises ImportLost: if the import is not ours any more.
        :raises Exception: what a step raises; those after it are not run.
        """
        flow = self._flows.of(work.run.plan)
        await self._rewind(work, flow)
        for step in flow.left(work.run):
            image = await self._take(step, work, image)
            reach(f"import.step.{step.name}")
        return image

    async def _rewind(self, work: Work, flow: Flow) -> None:
        """If what the steps have staged is not here, they begin anew, if they can."""
        name = work.run.staged
        if name is None or await self._staging.size(name) is not None:
            return
        if not flow.refetched:
            raise DataNotFound(STAGED_BY_CLIENT)
        work.run = evolve(work.run, step="", staged=None)

    async def _take(self, step: IImportStep, work: Work, image: Image) -> Image:
        run = work.run
        work.begin(step.verb, self._reactor.seconds())
        job = ImportJob(
            image=image,
            plan=run.plan,
            claim=work.claim,
            folder=self._staging.folder,
            path=None if run.staged is None else self._staging.folder / run.staged,
            token=work.token,
            tell=work.tell,
        )
        done: StepDone = await step.run(job)
        staged = run.staged if done.path is None else self._name(done.path)
        advanced = evolve(run, step=step.name, staged=staged, host=self._host)
        image = await self._runs.note(advanced, work.claim, done.change)
        work.run = advanced
        if run.staged not in (None, staged):
            await self._remove(run.staged)
        return image

    def _name(self, path: Path) -> str:
        if path.parent != self._staging.folder:
            raise ValueError(f"{path} is not in the staging directory")
        return path.name

    async def _remove(self, name: str | None) -> None:
        try:
            await self._staging.remove(name or "")
        except StoreError:
            self._log.failure("{name} stays for now in the staging directory", name=name)
