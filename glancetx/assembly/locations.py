"""Adding locations: who accepts them, and who works on them."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from attrs import frozen

from glancetx.assembly.ground import Ground
from glancetx.imports.adding import Additions
from glancetx.imports.locator import Locator
from glancetx.imports.runner import ImportRunner
from glancetx.operations.locations import Locations
from glancetx.outgoing.guarded import check


@frozen
class AdditionBuilder:
    """Builds them of what else there is."""

    ground: Ground
    locations: Locations

    def runner(self) -> ImportRunner:
        """As many at a time as imports; both are bounded by the threads that hash."""
        ground, settings = self.ground, self.ground.settings
        locator = Locator(
            ground.reactor,
            ground.runs,
            ground.images,
            ground.claims,
            ground.stores,
            self.locations,
            ground.limits,
            ground.pools.hashing,
            ground.events,
            settings.images,
            timedelta(hours=settings.imports.task_time_to_live),
        )
        return ImportRunner(
            ground.reactor,
            ground.runs,
            ground.claims,
            ground.staging,
            locator,
            ground.process,
            settings.imports.at_once,
            settings.images.image_size_cap,
        )

    def additions(self, runner: ImportRunner) -> Additions:
        """What requests are given to."""
        ground = self.ground
        admit = partial(check, ground.reactor, ground.settings.fetch)
        return Additions(
            ground.images,
            ground.runs,
            ground.claims,
            ground.policy,
            ground.stores,
            runner,
            ground.events,
            ground.process,
            admit,
        )
