"""The rooms of the web, and the router they are mounted on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from attrs import frozen

from glancetx.assembly.ground import Ground
from glancetx.assembly.operations import Operations
from glancetx.imports.accept import Imports
from glancetx.imports.adding import Additions
from glancetx.interfaces import IAuthenticator
from glancetx.operations.tags import Tags
from glancetx.runtime.metrics import Metrics
from glancetx.runtime.ongoing import Ongoing
from glancetx.transfer.delete import Deletes
from glancetx.transfer.download import Downloads
from glancetx.transfer.stage import Stages
from glancetx.transfer.upload import Uploads
from glancetx.web.data import DataRoom
from glancetx.web.discovery import VersionsRoom
from glancetx.web.events import EventsRoom
from glancetx.web.images import ImagesRoom
from glancetx.web.imports import ImportsRoom
from glancetx.web.info import InfoRoom
from glancetx.web.locations import LocationsRoom
from glancetx.web.members import MembersRoom
from glancetx.web.metrics import MetricsRoom
from glancetx.web.probes import ProbesRoom
from glancetx.web.query import QueryParser
from glancetx.web.respond import Responder
from glancetx.web.router import Router
from glancetx.web.schemas import SchemasRoom
from glancetx.web.tags import ActionsRoom, TagsRoom
from glancetx.web.tasks import TasksRoom
from glancetx.web.usage import UsageRoom
from glancetx.web.views import ImageViews


@frozen(kw_only=True)
class RouterBuilder:
    """Builds the router. *versions*: those that are announced; *others*: rooms that are built elsewhere."""

    ground: Ground
    operations: Operations
    uploads: Uploads
    downloads: Downloads
    stages: Stages
    deletes: Deletes
    imports: Imports
    additions: Additions
    metrics: Metrics
    probes: ProbesRoom
    versions: Sequence[tuple[str, str]]
    others: Sequence[object]

    def build(self, authenticator: IAuthenticator, requests: Ongoing) -> Router:
        """Closed yet: it is opened when the service has started. *requests* are those under way."""
        settings, reactor = self.ground.settings, self.ground.reactor
        longest = settings.images.max_request_id_length
        router = Router(authenticator, settings.http, longest, requests, self.metrics, reactor)
        versions = VersionsRoom(settings.images.public_endpoint, self.versions)
        router.not_found = versions.choices
        for room in (*self._of_images(), *self._around(), *self.others, versions, self.probes):
            router.mount(room)
        return router

    def _of_images(self) -> Iterator[object]:
        ground, settings, operations = self.ground, self.ground.settings, self.operations
        multiple = ground.multiple
        yield ImagesRoom(
            operations.images,
            self.deletes,
            ImageViews(settings.images, ground.stores.by_weight, multiple=multiple),
            QueryParser(settings.images),
            ("OpenStack-image-import-methods", self.imports.methods),
            ("OpenStack-image-store-ids", ground.stores.identifiers if multiple else ()),
        )
        responder = Responder(ground.reactor, ground.pools.files)
        yield DataRoom(self.uploads, self.downloads, responder, self.metrics, multiple=multiple)
        yield MembersRoom(operations.sharing)
        yield TagsRoom(Tags(operations.images, operations.schema))
        yield LocationsRoom(operations.locations, self.additions)
        yield ActionsRoom(operations.activation)
        yield ImportsRoom(self.stages, self.imports, multiple=multiple)

    def _around(self) -> Iterator[object]:
        settings, operations = self.ground.settings, self.operations
        yield SchemasRoom(operations.schema)
        yield TasksRoom(operations.tasks, settings.images)
        yield EventsRoom(operations.following)
        yield UsageRoom(operations.consumption)
        yield InfoRoom(operations.directory, self.imports.methods)
        yield MetricsRoom(settings.middleware.metrics, partial(self.ground.pools.files.run, self.metrics.exposed))
