"""The image service: the one place that builds the rooms and wires them together, by plain constructor calls."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from glancetx.access.policy import Policy
from glancetx.access.protections import Protections
from glancetx.assembly.background import BackgroundBuilder
from glancetx.assembly.caching import CacheParts
from glancetx.assembly.certificates import choose_certificates
from glancetx.assembly.coordination import choose_leases
from glancetx.assembly.identity import Identity, choose_identity
from glancetx.assembly.imports import ImportBuilder
from glancetx.assembly.limits import Allotment, choose_limits
from glancetx.assembly.locations import AdditionBuilder
from glancetx.assembly.metadefs import build_metadefs
from glancetx.assembly.nodes import build_nodes
from glancetx.assembly.notifiers import Audience, choose_audience
from glancetx.assembly.plugins import PluginBuilder
from glancetx.assembly.stores import StoreBuilder
from glancetx.config.settings import Settings
from glancetx.db.census import Census
from glancetx.db.claims import Claims, this_process
from glancetx.db.copies import Copies
from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.imports import ImportRuns
from glancetx.db.locations import LocationRows
from glancetx.db.members import Members
from glancetx.db.migrations import prepare
from glancetx.db.states import ImportStates
from glancetx.db.tasks import Tasks
from glancetx.db.usage import Usages
from glancetx.domain.errors import DatabaseUnavailable
from glancetx.imports.accept import Imports
from glancetx.interfaces import IAuthenticator, IImportStep, ILimits, INotifier, IStore
from glancetx.notifications.events import Events
from glancetx.notifications.metadef_events import MetadefEvents
from glancetx.operations.activation import Activation
from glancetx.operations.cache import CacheAccess
from glancetx.operations.following import Following
from glancetx.operations.images import Catalog
from glancetx.operations.locations import Locations
from glancetx.operations.members import Sharing
from glancetx.operations.properties import Properties
from glancetx.operations.schemas import ImageSchema
from glancetx.operations.showing import Showing
from glancetx.operations.stores import StoreDirectory, configured_entries, given_entries
from glancetx.operations.tags import Tags
from glancetx.operations.tasks import TaskList
from glancetx.operations.usage import Consumption
from glancetx.outgoing.guarded import check
from glancetx.runtime.metrics import Metrics
from glancetx.runtime.ongoing import Ongoing
from glancetx.runtime.sharing import SharedCall
from glancetx.runtime.threads import Threads
from glancetx.services.periodic import PeriodicService
from glancetx.services.pulse import Pulse
from glancetx.services.reporter import Reporter
from glancetx.transfer.delete import Deletes
from glancetx.transfer.download import Downloads
from glancetx.transfer.failover import Failover
from glancetx.transfer.proof import Proofs
from glancetx.transfer.readers import Readers
from glancetx.transfer.recovery import Recovery
from glancetx.transfer.signature import Signatures
from glancetx.transfer.stage import Stages
from glancetx.transfer.staging import StagingArea
from glancetx.transfer.upload import Uploads
from glancetx.web.cache import CacheRoom
from glancetx.web.data import DataRoom
from glancetx.web.discovery import VersionedResource, VersionsRoom, announced
from glancetx.web.events import EventsRoom
from glancetx.web.images import ImagesRoom
from glancetx.web.imports import ImportsRoom
from glancetx.web.info import InfoRoom
from glancetx.web.locations import LocationsRoom
from glancetx.web.members import MembersRoom
from glancetx.web.metrics import MetricsRoom
from glancetx.web.middleware import Middleware
from glancetx.web.probes import ProbesRoom
from glancetx.web.query import QueryParser
from glancetx.web.respond import Responder
from glancetx.web.routing import Router
from glancetx.web.schemas import SchemasRoom
from glancetx.web.tags import ActionsRoom, TagsRoom
from glancetx.web.tasks import TasksRoom
from glancetx.web.usage import UsageRoom
from glancetx.web.views import ImageViews

if TYPE_CHECKING:  # loaded where there is a cache
    from glancetx.cache.cache import ImageCache


class ImageService(MultiService):
    """An image service, to be started and stopped like any Twisted service; `resource` is its HTTP face.

    *background* False: nothing is done but what is asked for, and no request is answered; for commands.
    *authenticator*, *stores* (by id; the first one is the default), *notifier* and *limits* replace what *settings*
    would choose. *import_steps* work on the data of every import but copies, before it goes to the stores. Several
    ImageServices live side by side in one process: nothing is shared.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        authenticator: IAuthenticator | None = None,
        stores: Mapping[str, IStore] | None = None,
        notifier: INotifier | None = None,
        limits: ILimits | None = None,
        import_steps: Sequence[IImportStep] = (),
        *,
        background: bool = True,
    ) -> None:
        super().__init__()
        self._log = Logger()
        self.settings = settings
        self._reactor = reactor
        cores = os.cpu_count() or 1
        self._files = Threads(reactor, "files", max(8, 4 * cores))
        self._hashing = Threads(reactor, "hashing", max(2, cores))
        self._accounts = Threads(reactor, "accounts", 2)
        self._conversion = Threads(reactor, "conversion", max(2, cores))
        self._metrics = Metrics()
        self._responder = Responder(reactor, self._files)
        self._engine = Engine(reactor, settings.database)
        self._process = this_process()
        builder = StoreBuilder(settings, reactor, self._files, self._hashing)
        self._stores = builder.registry(stores)
        self._multiple = settings.stores.multiple if stores is None else len(stores) > 1
        policy = self._policy = Policy(settings.access)
        self._allotment = choose_limits(settings, reactor) if limits is None else Allotment(limits)
        limits = self._allotment.limits
        told = settings.notifications
        if notifier is None:
            self._audience = choose_audience(told, self._engine, self._process, reactor)
        else:
            self._audience = Audience(notifier)
        events = Events(self._audience.notifier, told.disabled, self._audience.messenger)
        self.cache = self._build_cache()
        schema = ImageSchema(settings.images)
        images, self._claims = Images(self._engine), Claims(self._engine, settings.coordination.lease)
        members = Members(self._engine)
        readers = Readers(images, members, self._stores)
        protections = Protections(settings.access, policy)
        showing = Showing(protections)
        self.locations = Locations(
            images,
            LocationRows(self._engine),
            policy,
            self._stores,
            settings.images,
            showing,
            multiple=self._multiple,
            delayed=settings.scrub.delayed_delete,
        )
        self.images = Catalog(
            images,
            policy,
            limits,
            schema,
            settings.images,
            events,
            self.locations,
            Properties(protections),
            showing,
            readers.tell,
        )
        copies = Copies(self._engine)
        through = self.cache if self.cache is not None and self.cache.settings.downloads else None
        proofs = Proofs(copies, self._hashing, enabled=settings.audit.verify_reads)
        self.downloads = Downloads(
            copies,
            proofs,
            policy,
            self._stores,
            events,
            Failover(reactor, builder.troubles),
            through,
            multiple=self._multiple,
        )
        if authenticator is None:
            self._identity = choose_identity(settings.access, policy, self._accounts, reactor)
        else:
            self._identity = Identity(authenticator)
        self._keys = choose_certificates(settings.certificates, self._identity.keystone, self._files, reactor)
        signatures = Signatures(self._keys.certificates, self._hashing)
        self._staging = StagingArea(settings.imports.staging, self._files)
        self._nodes = build_nodes(settings.imports, self._staging, reactor)
        runs = ImportRuns(self._engine)
        self._importing = ImportBuilder(
            settings=settings,
            reactor=reactor,
            runs=runs,
            images=images,
            claims=self._claims,
            stores=self._stores,
            staging=self._staging,
            downloads=self.downloads,
            hashing=self._hashing,
            limits=limits,
            events=events,
            process=self._process,
            signatures=signatures,
            readers=readers,
            keystone=self._identity.keystone,
            plugins=PluginBuilder(
                settings=settings,
                staging=self._staging,
                claims=self._claims,
                limits=limits,
                hashing=self._hashing,
                conversion=self._conversion,
            ).steps(import_steps),
        ).runner()
        adding = AdditionBuilder(
            settings=settings,
            reactor=reactor,
            runs=runs,
            images=images,
            claims=self._claims,
            policy=policy,
            limits=limits,
            stores=self._stores,
            staging=self._staging,
            locations=self.locations,
            hashing=self._hashing,
            events=events,
            process=self._process,
        )
        self._adding = adding.runner()
        self.additions = adding.additions(self._adding)
        self._recovery = Recovery(
            images, self._claims, self._stores, self._staging, events, self._importing.resume, self._adding.resume
        )
        self.uploads = Uploads(
            reactor,
            images,
            self._claims,
            policy,
            limits,
            self._stores,
            self._recovery,
            self._hashing,
            events,
            settings.images,
            settings.formats,
            signatures,
            readers,
            self._process.id,
        )
        self.stages = Stages(
            reactor,
            images,
            runs,
            self._claims,
            policy,
            limits,
            self._staging,
            self._recovery,
            self._hashing,
            events,
            settings.images,
            settings.imports.node_url,
            self._process.id,
        )
        self.imports = Imports(
            images,
            runs,
            self._claims,
            policy,
            limits,
            self._stores,
            self._importing,
            events,
            signatures,
            settings.imports,
            self._process,
            partial(check, reactor, settings.fetch, proxied=settings.downloads.fetch_proxy is not None),
            self._nodes,
            multiple=self._multiple,
        )
        forget = None if self.cache is None else self.cache.discard
        self.deletes = Deletes(
            images,
            self._claims,
            policy,
            self._recovery,
            self._staging,
            events,
            self._process.id,
            self._adding.dismiss,
            forget,
            delayed=settings.scrub.delayed_delete,
        )
        self._caching = self._build_caching(images, policy)
        self.sharing = Sharing(images, members, policy, events, readers.tell, quota=settings.images.image_member_quota)
        self.consumption = Consumption(Usages(self._engine), limits)
        self.activation = Activation(images, policy, events, forget)
        kept = settings.imports.task_time_to_live
        self.tasks = TaskList(Tasks(self._engine), images, policy, events, kept)
        self.following = Following(reactor, images, policy, ImportStates(self._engine))
        definition_events = MetadefEvents(self._audience.notifier, told.disabled, self._audience.messenger)
        definitions = build_metadefs(self._engine, policy, definition_events, settings.images)
        self.metadefs, self._metadef_rooms = definitions.namespaces, definitions.rooms
        leases = self._leases = choose_leases(settings.coordination, reactor, self._engine, self._process)
        self.background = BackgroundBuilder(
            settings=settings,
            reactor=reactor,
            engine=self._engine,
            images=images,
            claims=self._claims,
            copies=copies,
            stores=self._stores,
            staging=self._staging,
            recovery=self._recovery,
            readers=readers,
            hashing=self._hashing,
            process=self._process,
            leases=leases,
            copy=self.imports.copy,
            cache=self.cache,
            caching=self._caching,
            audience=self._audience,
            events=events,
            multiple=self._multiple,
        ).build()
        self._serves = background
        Pulse(reactor, self._metrics).setServiceParent(self)
        census = Census(self._engine)
        reporter = Reporter(reactor, census, self._process.id, self._metrics, self._pools(), self.statuses)
        self._background: list[PeriodicService] = [*self.background.running, reporter]
        self.probes = ProbesRoom(settings.middleware.health, self._files)
        self._requests = Ongoing()
        entries = configured_entries(settings.stores) if stores is None else given_entries(stores)
        self._directory = StoreDirectory(entries if self._multiple else (), self._stores, policy)
        self._versions = announced(multiple=self._multiple, cache=self.cache is not None)
        self._router = self._build_router(self._identity.authenticator, schema)
        self.started: Deferred[None] = Deferred()
        self._starting: Deferred[None] | None = None
        self._stopping: SharedCall[None] | None = None
        self._registered = False

    def resource(self) -> IResource:
        """The API's root, for any twisted.web Site; give that `ImageRequest` as requestFactory, so uploads stream."""
        routes, versions = self._router.resource(), (version for version, _ in self._versions)
        return cast(IResource, VersionedResource(routes, versions, Middleware(self.settings.middleware)))

    def startService(self) -> None:
        """Begin; `started` fires when requests are served, or fails with what prevents it. Possible once only."""
        if self._starting is not None:
            raise RuntimeError("An ImageService starts once; make a new one")
        self._starting = ensureDeferred(self._start())
        self._starting.addErrback(self._cannot_start)
        self._starting.addCallbacks(self.started.callback, self.started.errback)

    def stopService(self) -> Deferred[None]:
        """End the requests under way, then stop the background services, then what they use.

        Uploads under way are undone. The Deferred fires when all is released, whatever failed on the way.
        """
        if self._stopping is None:
            self._stopping = SharedCall(self._stop())
        return self._stopping.result()

    def drain(self) -> None:
        """Tell load balancers that no new requests are wanted."""
        self.probes.draining = True
        self.following.close()

    def lead(self, name: str, work: PeriodicService) -> None:
        """From now on, have *work* done here while no other process does it."""
        leadership = self.background.leadership
        leadership.lead(name, work)
        if leadership.parent is None:
            leadership.setServiceParent(self)

    def statuses(self) -> dict[str, dict[str, Any]]:
        """What each background service has to tell, by its name; JSON types only."""
        own = {service.name_of_work: service.status() for service in self._background}
        if self._audience.messenger is not None:
            own["messenger"] = self._audience.messenger.status()
        return own | self.background.leadership.statuses()

    def reconfigure(self, settings: Settings) -> None:
        """Take over the mutable options of *settings*, and what the policy files say now."""
        self._router.settings = settings.http
        self._policy.reload(settings.access)

    async def _start(self) -> None:
        for pool in self._pools():
            pool.start()
        await self._open_database()
        await self._stores.start()
        await self._staging.start()
        if self.cache is not None:
            await self.cache.start()
        await self._identity.start()
        if self._audience.messenger is not None:
            self._audience.messenger.startService()
        await self._claims.register(self._process)
        self._registered = True
        if not self._serves:
            self.background.presence.setServiceParent(self)
            MultiService.startService(self)
            return
        await self.background.reaper.run_once()
        for service in self._background:
            service.setServiceParent(self)
        MultiService.startService(self)
        self._router.open = True

    async def _open_database(self) -> None:
        try:
            await self._engine.start()
        except DatabaseUnavailable as error:
            cause = error.__cause__
            raise DatabaseUnavailable(f"The database cannot be opened: {getattr(cause, 'orig', cause)}") from error
        await self._engine.ensure(prepare)

    def _cannot_start(self, failure: Failure) -> Failure:
        if not failure.check(CancelledError):
            self._log.failure("the image service cannot start", failure)
        return failure

    async def _stop(self) -> None:
        self._router.open = False
        for what, step in self._endings():
            try:
                await step()
            except Exception:
                self._log.failure("{what} did not stop as it should", what=what)

    def _endings(self) -> Iterator[tuple[str, Callable[[], Awaitable[object]]]]:
        """What is to be stopped, in this order; of a start that failed, what had come to life."""
        yield "the start", self._end_start
        yield "a request", self._requests.cancel
        yield "the connections to Keystone", self._identity.close
        yield "the connections to other nodes", self._nodes.close
        yield "the connections to Barbican", self._keys.close
        yield "an import", self._importing.stop
        yield "the addition of a location", self._adding.stop
        yield "the connections to Keystone's limits", self._allotment.close
        if self.cache is not None:
            yield "the image cache", self.cache.stop
        yield "a background service", lambda: maybeDeferred(MultiService.stopService, self)
        yield "the leases", self._leases.stop
        if self._audience.messenger is not None:
            yield "the broker of events", partial(maybeDeferred, self._audience.messenger.stopService)
        if self._registered:
            yield "the presence", self.background.presence.retire
        yield "a store", self._stores.stop
        yield "the database", self._engine.stop
        for pool in self._pools():
            yield f"the thread pool {pool.name}", pool.stop

    async def _end_start(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await self._starting
            self.started.addErrback(lambda failure: None)  # it was logged; whoever wanted to know was told

    def _pools(self) -> Sequence[Threads]:
        return (self._files, self._hashing, self._accounts, self._conversion)

    def _build_cache(self) -> ImageCache | None:
        if self.settings.cache is None:
            return None
        from glancetx.assembly.cache import build_cache

        return build_cache(self.settings.cache, self._engine, self._files, self._hashing, self._reactor)

    def _build_caching(self, images: Images, policy: Policy) -> CacheParts:
        if self.cache is None:
            return CacheParts([CacheRoom(CacheAccess(None, images, policy))])
        from glancetx.assembly.cache import build_caching

        return build_caching(self.cache, images, self.downloads, policy, self._reactor)

    def _build_router(self, authenticator: IAuthenticator, schema: ImageSchema) -> Router:
        settings = self.settings
        router = Router(
            authenticator,
            settings.http,
            settings.images.max_request_id_length,
            self._requests,
            self._metrics,
            self._reactor,
        )
        multiple = self._multiple
        views = ImageViews(settings.images, self._stores.by_weight, multiple=multiple)
        versions = VersionsRoom(settings.images.public_endpoint, self._versions)
        router.not_found = versions.choices
        for room in (
            ImagesRoom(
                self.images,
                self.deletes,
                views,
                QueryParser(settings.images),
                ("OpenStack-image-import-methods", self.imports.methods),
                ("OpenStack-image-store-ids", self._stores.identifiers if multiple else ()),
            ),
            DataRoom(self.uploads, self.downloads, self._responder, self._metrics, multiple=multiple),
            MembersRoom(self.sharing),
            TagsRoom(Tags(self.images)),
            LocationsRoom(self.locations, self.additions),
            ActionsRoom(self.activation),
            SchemasRoom(schema),
            ImportsRoom(self.stages, self.imports, multiple=multiple),
            TasksRoom(self.tasks, settings.images),
            EventsRoom(self.following),
            UsageRoom(self.consumption),
            InfoRoom(self._directory, self.imports.methods),
            *self._metadef_rooms,
            *self._caching.rooms,
            versions,
            self.probes,
            MetricsRoom(settings.middleware.metrics, partial(self._files.run, self._metrics.exposed)),
        ):
            router.mount(room)
        return router
