"""Imports: the flow of each method, and what runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from glancetx.config.settings import Settings
from glancetx.db.claims import Claims, Process
from glancetx.db.images import Images
from glancetx.db.imports import ImportRuns
from glancetx.imports.fill import Filler
from glancetx.imports.flow import Flows
from glancetx.imports.importer import Importer
from glancetx.imports.progress import Progress
from glancetx.imports.runner import ImportRunner
from glancetx.interfaces import IImportStep
from glancetx.notifications.events import Events
from glancetx.runtime.threads import Threads
from glancetx.stores.registry import Stores
from glancetx.transfer.staging import StagingArea


@frozen(kw_only=True)
class ImportBuilder:
    """Builds what runs imports, of parts that others use too."""

    settings: Settings
    reactor: Any
    runs: ImportRuns
    images: Images
    claims: Claims
    stores: Stores
    staging: StagingArea
    hashing: Threads
    events: Events
    process: Process
    plugins: Sequence[IImportStep] = ()

    def runner(self) -> ImportRunner:
        """What runs all imports of this process."""
        settings = self.settings
        filler = Filler(self.hashing, settings.images.hashing_algorithm, settings.formats)
        progress = Progress(self.reactor, self.runs, self.staging, self.flows(), self.process.host)
        importer = Importer(
            self.reactor,
            self.runs,
            self.images,
            self.claims,
            self.stores,
            self.staging,
            progress,
            filler,
            self.events,
            settings.imports,
        )
        return ImportRunner(
            self.reactor,
            self.runs,
            self.claims,
            self.staging,
            importer,
            self.process,
            settings.imports.at_once,
            settings.images.image_size_cap,
        )

    def flows(self) -> Flows:
        """What each method does."""
        return Flows(plugins=self.plugins)
