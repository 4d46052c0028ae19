"""What is done for an import, by its method: steps that stage the data and work on it; then it goes to the stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from glancetx.domain.importing import COPY_IMAGE, GLANCE_DIRECT, ImportPlan, ImportRun
from glancetx.interfaces import IImportStep


@frozen(kw_only=True)
class Flow:
    """The *steps* of an import.

    *refetched*: the first of them gets the data from afar, so if what is staged is lost, the import begins anew.
    """

    steps: Sequence[IImportStep] = ()
    refetched: bool = False

    def left(self, run: ImportRun) -> Sequence[IImportStep]:
        """The steps that have not ended."""
        names = [step.name for step in self.steps]
        done = names.index(run.step) + 1 if run.step in names else 0
        return self.steps[done:]


@frozen(kw_only=True)
class Flows:
    """The flow of each method. *fetching*: the steps by which a method stages its data; *plugins* work on it there.

    The order is Glance's (P-005). Copies to more stores have none: they are read from the store that has the data.
    """

    fetching: Mapping[str, Sequence[IImportStep]] = field(factory=dict)
    plugins: Sequence[IImportStep] = ()

    def of(self, plan: ImportPlan) -> Flow:
        """:raises KeyError: if there is no such method here."""
        if plan.method == COPY_IMAGE:
            return Flow()
        if plan.method == GLANCE_DIRECT:
            return Flow(steps=tuple(self.plugins))
        return Flow(steps=(*self.fetching[plan.method], *self.plugins), refetched=True)
