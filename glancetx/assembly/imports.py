"""Imports: the flow of each method, and what runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from glancetx.config.settings import ClientTlsSettings, Settings
from glancetx.db.claims import Claims, Process
from glancetx.db.images import Images
from glancetx.db.imports import ImportRuns
from glancetx.domain.importing import GLANCE_DOWNLOAD, WEB_DOWNLOAD
from glancetx.imports.fill import Filler
from glancetx.imports.flow import Flows
from glancetx.imports.importer import Importer
from glancetx.imports.progress import Progress
from glancetx.imports.runner import ImportRunner
from glancetx.imports.sources import Sources
from glancetx.interfaces import IImportStep, ILimits
from glancetx.notifications.events import Events
from glancetx.runtime.threads import Threads
from glancetx.stores.registry import Stores
from glancetx.transfer.download import Downloads
from glancetx.transfer.readers import Readers
from glancetx.transfer.signature import Signatures
from glancetx.transfer.staging import StagingArea

if TYPE_CHECKING:
    from glancetx.keystone import Keystone


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
    downloads: Downloads
    hashing: Threads
    limits: ILimits
    events: Events
    process: Process
    signatures: Signatures
    readers: Readers
    keystone: Keystone | None = None
    plugins: Sequence[IImportStep] = ()

    def runner(self) -> ImportRunner:
        """What runs all imports of this process."""
        settings = self.settings
        filler = Filler(
            self.hashing,
            settings.images.hashing_algorithm,
            settings.formats,
            self.signatures,
            verified=bool(self.plugins),
        )
        progress = Progress(self.reactor, self.runs, self.staging, self.flows(), self.process.host)
        importer = Importer(
            self.reactor,
            self.runs,
            self.images,
            self.claims,
            self.stores,
            self.staging,
            progress,
            Sources(self.staging, self.downloads),
            filler,
            self.events,
            self.readers,
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
        fetching: dict[str, Sequence[IImportStep]] = {}
        if WEB_DOWNLOAD in self.settings.imports.methods:
            fetching[WEB_DOWNLOAD] = self._web_download()
        if GLANCE_DOWNLOAD in self.settings.imports.methods:
            fetching[GLANCE_DOWNLOAD] = self._glance_download()
        return Flows(fetching=fetching, plugins=self.plugins)

    def _web_download(self) -> Sequence[IImportStep]:
        from glancetx.imports.steps.web_download import WebDownload

        return (WebDownload(self._fetcher(), self._receiver()),)

    def _glance_download(self) -> Sequence[IImportStep]:
        from glancetx.imports.steps.glance_download import GlanceDownload

        prefixes = self.settings.imports.copied_properties
        return (GlanceDownload(self._fetcher(), self._receiver(), self._finder(), prefixes, self.hashing),)

    def _finder(self) -> Callable[[str, str, str], Awaitable[str | None]] | None:
        if self.keystone is None:
            return None
        keystone = self.keystone

        async def find(token: str, interface: str, region: str) -> str | None:
            catalog = await keystone.catalog(token)
            return None if catalog is None else catalog.endpoint("image", interface, region)

        return find

    def _receiver(self) -> Any:
        from glancetx.imports.steps.receive import Receiver

        return Receiver(
            reactor=self.reactor,
            staging=self.staging,
            claims=self.claims,
            limits=self.limits,
            settings=self.settings.downloads,
            size_cap=self.settings.images.image_size_cap,
        )

    def _fetcher(self) -> Any:
        from glancetx.outgoing.client import HttpClient, Patience
        from glancetx.outgoing.fetch import Fetcher
        from glancetx.outgoing.guarded import Guarded
        from glancetx.outgoing.proxied import ProxiedAgent
        from glancetx.outgoing.redirects import Redirects
        from glancetx.outgoing.retries import Retries
        from glancetx.outgoing.tls import TlsPolicy

        rules, downloads = self.settings.fetch, self.settings.downloads
        tls = TlsPolicy(ClientTlsSettings(cafile=downloads.fetch_cafile))
        patience = Patience(
            connect=min(10.0, downloads.fetch_stall), answer=downloads.fetch_stall, stall=downloads.fetch_stall
        )
        guarded = Guarded(self.reactor, rules, tls, patience.connect)
        agent = None
        if downloads.fetch_proxy:
            agent = ProxiedAgent(self.reactor, downloads.fetch_proxy, rules, tls, patience.connect)
        client = HttpClient(self.reactor, patience=patience, endpoints=guarded, agent=agent)
        redirects = Redirects(client, rules, downloads.fetch_max_redirects + 1)
        return Fetcher(redirects, Retries(self.reactor, most=downloads.fetch_retries), downloads.fetch_stall)
