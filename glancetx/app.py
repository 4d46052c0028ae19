"""The image service: the one place that wires the rooms together, and what it takes to start and stop them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from glancetx.access.policy import Policy
from glancetx.assembly.background import BackgroundBuilder
from glancetx.assembly.caching import CacheParts
from glancetx.assembly.certificates import choose_certificates
from glancetx.assembly.coordination import choose_leases
from glancetx.assembly.ground import Ground, build_pools
from glancetx.assembly.identity import Identity, choose_identity
from glancetx.assembly.imports import ImportBuilder
from glancetx.assembly.limits import Allotment, choose_limits
from glancetx.assembly.locations import AdditionBuilder
from glancetx.assembly.metadefs import build_metadefs
from glancetx.assembly.nodes import build_nodes
from glancetx.assembly.notifiers import Audience, choose_audience
from glancetx.assembly.operations import OperationBuilder
from glancetx.assembly.plugins import PluginBuilder
from glancetx.assembly.stores import StoreBuilder
from glancetx.assembly.transfers import TransferBuilder
from glancetx.assembly.web import RouterBuilder
from glancetx.config.settings import Settings
from glancetx.db.census import Census
from glancetx.db.claims import this_process
from glancetx.db.engine import Engine
from glancetx.db.migrations import prepare
from glancetx.domain.errors import ConfigurationError, DatabaseUnavailable
from glancetx.interfaces import IAuthenticator, IImportStep, ILimits, INotifier, IStore
from glancetx.notifications.events import Events
from glancetx.notifications.metadef_events import MetadefEvents
from glancetx.operations.cache import CacheAccess
from glancetx.runtime.metrics import Metrics
from glancetx.runtime.ongoing import Ongoing
from glancetx.runtime.sharing import SharedCall
from glancetx.services.periodic import PeriodicService
from glancetx.services.pulse import Pulse
from glancetx.services.reporter import Reporter
from glancetx.transfer.signature import Signatures
from glancetx.web.cache import CacheRoom
from glancetx.web.discovery import VersionedResource, announced
from glancetx.web.middleware import Middleware
from glancetx.web.probes import ProbesRoom

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
        self.settings, self._reactor, self._serves = settings, reactor, background
        self.started: Deferred[None] = Deferred()
        self._starting: Deferred[None] | None = None
        self._stopping: SharedCall[None] | None = None
        self._registered = False

        # What settings choose, unless it was passed.
        pools = self._pools = build_pools(reactor)
        self._engine, self._process = Engine(reactor, settings.database), this_process()
        builder = StoreBuilder(settings, reactor, pools.files, pools.hashing)
        self._stores = builder.registry(stores)
        multiple = settings.stores.multiple if stores is None else len(stores) > 1
        policy = self._policy = Policy(settings.access)
        self._allotment = choose_limits(settings, reactor) if limits is None else Allotment(limits)
        told, process = settings.notifications, self._process
        self._audience = (
            choose_audience(told, self._engine, process, reactor) if notifier is None else Audience(notifier)
        )
        self._identity = (
            choose_identity(settings.access, policy, pools.accounts, reactor)
            if authenticator is None
            else Identity(authenticator)
        )
        keystone = self._identity.keystone
        self._keys = choose_certificates(settings.certificates, keystone, pools.files, reactor)
        self._leases = choose_leases(settings.coordination, reactor, self._engine, process)
        self.cache = self._build_cache()
        ground = self._ground = Ground.of(
            settings,
            reactor,
            pools,
            self._engine,
            process,
            self._stores,
            policy,
            self._allotment.limits,
            Events(self._audience.notifier, told.disabled, self._audience.messenger),
            multiple=multiple,
        )
        self._claims = ground.claims
        self._nodes = build_nodes(settings.imports, ground.staging, reactor)

        # Operations on records.
        operations = OperationBuilder(ground, self.cache, stores).build()
        self.images, self.locations, self.sharing = operations.images, operations.locations, operations.sharing
        self.activation, self.consumption = operations.activation, operations.consumption
        self.tasks, self.following = operations.tasks, operations.following
        definition_events = MetadefEvents(self._audience.notifier, told.disabled, self._audience.messenger)
        definitions = build_metadefs(self._engine, policy, definition_events, settings.images)
        self.metadefs = definitions.namespaces

        # Operations that move bytes, imports among them.
        transfers, signatures = TransferBuilder(ground, self.cache), Signatures(self._keys.certificates, pools.hashing)
        self.downloads = transfers.downloads(builder.troubles)
        plugins = PluginBuilder(ground).steps(import_steps)
        importing = ImportBuilder(
            ground=ground, downloads=self.downloads, signatures=signatures, keystone=keystone, plugins=plugins
        )
        adding = AdditionBuilder(ground, self.locations)
        self._importing, self._adding = importing.runner(), adding.runner()
        self._recovery = transfers.recovery(self._importing, self._adding)
        self.imports = importing.imports(self._importing, self._nodes)
        self.additions = adding.additions(self._adding)
        self.uploads = transfers.uploads(self._recovery, signatures)
        self.stages = transfers.stages(self._recovery)
        self.deletes = transfers.deletes(self._recovery, self._adding)

        # What is done in the background.
        self._caching = self._build_caching()
        self.background = BackgroundBuilder(
            ground=ground,
            recovery=self._recovery,
            leases=self._leases,
            copy=self.imports.copy,
            cache=self.cache,
            caching=self._caching,
            audience=self._audience,
        ).build()
        metrics = Metrics()
        Pulse(reactor, metrics).setServiceParent(self)
        census = Census(self._engine)
        reporter = Reporter(reactor, census, process.id, metrics, tuple(pools), self.statuses)
        self._background: list[PeriodicService] = [*self.background.running, reporter]

        # The web.
        self._requests = Ongoing()
        self.probes = ProbesRoom(settings.middleware.health, pools.files)
        self._versions = announced(multiple=multiple, cache=self.cache is not None)
        self._router = RouterBuilder(
            ground=ground,
            operations=operations,
            uploads=self.uploads,
            downloads=self.downloads,
            stages=self.stages,
            deletes=self.deletes,
            imports=self.imports,
            additions=self.additions,
            metrics=metrics,
            probes=self.probes,
            versions=self._versions,
            others=(*definitions.rooms, *self._caching.rooms),
        ).build(self._identity.authenticator, self._requests)

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
        for pool in self._pools:
            pool.start()
        await self._open_database()
        await self._stores.start()
        await self._ground.staging.start()
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
        if failure.check(ConfigurationError, DatabaseUnavailable):
            self._log.critical("the image service cannot start: {error}", error=str(failure.value))
        elif not failure.check(CancelledError):
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
        for pool in self._pools:
            yield f"the thread pool {pool.name}", pool.stop

    async def _end_start(self) -> None:
        if self._starting is not None:
            if not self._starting.called:  # else it has ended, and may be telling so to whoever stops this
                self._starting.cancel()
                await self._starting
            self.started.addErrback(lambda failure: None)  # it was logged; whoever wanted to know was told

    def _build_cache(self) -> ImageCache | None:
        if self.settings.cache is None:
            return None
        from glancetx.assembly.cache import build_cache

        pools = self._pools
        return build_cache(self.settings.cache, self._engine, pools.files, pools.hashing, self._reactor)

    def _build_caching(self) -> CacheParts:
        images, policy = self._ground.images, self._policy
        if self.cache is None:
            return CacheParts([CacheRoom(CacheAccess(None, images, policy))])
        from glancetx.assembly.cache import build_caching

        return build_caching(self.cache, images, self.downloads, policy, self._reactor)
