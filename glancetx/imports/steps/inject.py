"""The plugin ``inject_image_metadata``: properties the operator wants on imported images (processes.md, P-030)."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve
from zope.interface import implementer

from glancetx.domain.image import Image
from glancetx.interfaces import IImportStep, ImportJob, StepDone


@implementer(IImportStep)
class InjectMetadata:
    """Sets *properties*, unless who asked for the import has one of the *ignored* roles."""

    name = "inject"
    verb = "Copied"

    def __init__(self, properties: Mapping[str, str], ignored: frozenset[str]) -> None:
        self._properties, self._ignored = dict(properties), ignored

    async def run(self, job: ImportJob) -> StepDone:
        if not self._properties or not self._ignored.isdisjoint(job.plan.roles):
            return StepDone()
        return StepDone(change=self._change)

    def _change(self, image: Image) -> Image:
        return evolve(image, properties={**image.properties, **self._properties})
