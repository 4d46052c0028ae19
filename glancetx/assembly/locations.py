"""Adding locations: who accepts them, and who works on them."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from attrs import frozen

from glancetx.access.policy import Policy
from glancetx.config.settings import Settings
from glancetx.db.claims import Claims, Process
from glancetx.db.images import Images
from glancetx.db.imports import ImportRuns
from glancetx.imports.adding import Additions
from glancetx.imports.locator import Locator
from glancetx.imports.runner import ImportRunner
from glancetx.interfaces import ILimits
from glancetx.notifications.events import Events
from glancetx.operations.locations import Locations
from glancetx.runtime.threads import Threads
from glancetx.stores.registry import Stores
from glancetx.transfer.staging import StagingArea


@frozen(kw_only=True)
class AdditionBuilder:
    """Builds them of what else there is."""

    settings: Settings
    reactor: Any
    runs: ImportRuns
    images: Images
    claims: Claims
    policy: Policy
    limits: ILimits
    stores: Stores
    staging: StagingArea
    locations: Locations
    hashing: Threads
    events: Events
    process: Process

    def runner(self) -> ImportRunner:
        """As many at a time as imports; both are bounded by the threads that hash."""
        settings = self.settings
        locator = Locator(
            self.reactor,
            self.runs,
            self.images,
            self.claims,
            self.stores,
            self.locations,
            self.limits,
            self.hashing,
            self.events,
            settings.images,
            timedelta(hours=settings.imports.task_time_to_live),
        )
        return ImportRunner(
            self.reactor,
            self.runs,
            self.claims,
            self.staging,
            locator,
            self.process,
            settings.imports.at_once,
            settings.images.image_size_cap,
        )

    def additions(self, runner: ImportRunner) -> Additions:
        """What requests are given to."""
        from glancetx.outgoing.guarded import check

        admit = partial(check, self.reactor, self.settings.fetch)
        return Additions(
            self.images,
            self.runs,
            self.claims,
            self.policy,
            self.stores,
            runner,
            self.events,
            self.process,
            admit,
        )
