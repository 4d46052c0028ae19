"""Imports: who accepts them, the flow of each method, and what runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from glancetx.assembly.ground import Ground
from glancetx.config.settings import ClientTlsSettings
from glancetx.domain.importing import GLANCE_DOWNLOAD, WEB_DOWNLOAD
from glancetx.imports.accept import Imports
from glancetx.imports.fill import Filler
from glancetx.imports.flow import Flows
from glancetx.imports.importer import Importer
from glancetx.imports.progress import Progress
from glancetx.imports.runner import ImportRunner
from glancetx.imports.sources import Sources
from glancetx.interfaces import IImportStep
from glancetx.transfer.download import Downloads
from glancetx.transfer.nodes import Nodes
from glancetx.transfer.signature import Signatures

if TYPE_CHECKING:
    from glancetx.keystone import Keystone


@frozen(kw_only=True)
class ImportBuilder:
    """Builds what accepts imports, and what runs them."""

    ground: Ground
    downloads: Downloads
    signatures: Signatures
    keystone: Keystone | None = None
    plugins: Sequence[IImportStep] = ()

    def runner(self) -> ImportRunner:
        """What runs all imports of this process."""
        ground, settings = self.ground, self.ground.settings
        filler = Filler(
            ground.pools.hashing,
            settings.images.hashing_algorithm,
            settings.formats,
            self.signatures,
            verified=bool(self.plugins),
        )
        progress = Progress(ground.reactor, ground.runs, ground.staging, self.flows(), ground.process.host)
        importer = Importer(
            ground.reactor,
            ground.runs,
            ground.images,
            ground.claims,
            ground.stores,
            ground.staging,
            progress,
            Sources(ground.staging, self.downloads),
            filler,
            ground.events,
            ground.readers,
            settings.imports,
        )
        return ImportRunner(
            ground.reactor,
            ground.runs,
            ground.claims,
            ground.staging,
            importer,
            ground.process,
            settings.imports.at_once,
            settings.images.image_size_cap,
        )

    def imports(self, runner: ImportRunner, nodes: Nodes) -> Imports:
        """What accepts them; those of data that is staged on another of *nodes* are handed to it."""
        ground, settings = self.ground, self.ground.settings
        return Imports(
            ground.images,
            ground.runs,
            ground.claims,
            ground.policy,
            ground.limits,
            ground.stores,
            runner,
            ground.events,
            self.signatures,
            settings.imports,
            ground.process,
            ground.check_url,
            nodes,
            multiple=ground.multiple,
        )

    def flows(self) -> Flows:
        """What each method does."""
        fetching: dict[str, Sequence[IImportStep]] = {}
        if WEB_DOWNLOAD in self.ground.settings.imports.methods:
            fetching[WEB_DOWNLOAD] = self._web_download()
        if GLANCE_DOWNLOAD in self.ground.settings.imports.methods:
            fetching[GLANCE_DOWNLOAD] = self._glance_download()
        return Flows(fetching=fetching, plugins=self.plugins)

    def _web_download(self) -> Sequence[IImportStep]:
        from glancetx.imports.steps.web_download import WebDownload

        return (WebDownload(self._fetcher(), self._receiver()),)

    def _glance_download(self) -> Sequence[IImportStep]:
        from glancetx.imports.steps.glance_download import GlanceDownload

        prefixes = self.ground.settings.imports.copied_properties
        hashing = self.ground.pools.hashing
        return (GlanceDownload(self._fetcher(), self._receiver(), self._finder(), prefixes, hashing),)

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

        ground, settings = self.ground, self.ground.settings
        return Receiver(
            reactor=ground.reactor,
            staging=ground.staging,
            claims=ground.claims,
            limits=ground.limits,
            settings=settings.downloads,
            size_cap=settings.images.image_size_cap,
        )

    def _fetcher(self) -> Any:
        from glancetx.outgoing.client import HttpClient, Patience
        from glancetx.outgoing.fetch import Fetcher
        from glancetx.outgoing.guarded import Guarded
        from glancetx.outgoing.proxied import ProxiedAgent
        from glancetx.outgoing.redirects import Redirects
        from glancetx.outgoing.retries import Retries
        from glancetx.outgoing.tls import TlsPolicy

        reactor, settings = self.ground.reactor, self.ground.settings
        rules, downloads = settings.fetch, settings.downloads
        tls = TlsPolicy(ClientTlsSettings(cafile=downloads.fetch_cafile))
        patience = Patience(
            connect=min(10.0, downloads.fetch_stall), answer=downloads.fetch_stall, stall=downloads.fetch_stall
        )
        guarded = Guarded(reactor, rules, tls, patience.connect)
        agent = None
        if downloads.fetch_proxy:
            agent = ProxiedAgent(reactor, downloads.fetch_proxy, rules, tls, patience.connect)
        client = HttpClient(reactor, patience=patience, endpoints=guarded, agent=agent)
        redirects = Redirects(client, rules, downloads.fetch_max_redirects + 1)
        return Fetcher(redirects, Retries(reactor, most=downloads.fetch_retries), downloads.fetch_stall)
