"""The stores that settings name, each with what it needs to reach its storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from glancetx.config.settings import ClientTlsSettings, Settings
from glancetx.config.store_settings import (
    FilesystemSettings,
    HttpStoreSettings,
    OtherSettings,
    RbdSettings,
    S3Settings,
    SwiftSettings,
    VmwareSettings,
)
from glancetx.interfaces import IStore
from glancetx.outgoing.retries import Retries
from glancetx.runtime.threads import Threads
from glancetx.runtime.troubles import Troubles
from glancetx.stores.filesystem import FilesystemStore
from glancetx.stores.lookups import Lookups
from glancetx.stores.registry import Stores


@frozen
class StoreBuilder:
    """Builds stores; *files* reads and writes, *hashing* digests what is signed, *troubles* hears what goes wrong."""

    settings: Settings
    reactor: Any
    files: Threads
    hashing: Threads
    troubles: Troubles = field(factory=Troubles)

    def registry(self, given: Mapping[str, IStore] | None) -> Stores:
        """All stores: the *given* ones, of which the first is the default, or else those of the settings."""
        if given is not None:
            return Stores(given, default=next(iter(given)))
        chosen = self.settings.stores
        everyone = [*chosen.filesystems, *chosen.others]
        built = {each.identifier: self.build(each) for each in everyone}
        ordered = {identifier: built[identifier] for identifier in chosen.order or built}
        weights = {each.identifier: each.weight for each in everyone}
        return Stores(ordered, chosen.default, weights, naming=chosen.multiple)

    def build(self, settings: FilesystemSettings | OtherSettings) -> IStore:
        """One store, not started yet."""
        if isinstance(settings, FilesystemSettings):
            return self._file(settings)
        if isinstance(settings, HttpStoreSettings):
            return self._http(settings)
        if isinstance(settings, SwiftSettings):
            return self._swift(settings)
        if isinstance(settings, RbdSettings):
            return self._rbd(settings)
        if isinstance(settings, VmwareSettings):
            return self._vmware(settings)
        return self._s3(settings)

    def _file(self, settings: FilesystemSettings) -> IStore:
        lookups = None
        clock = self.reactor
        if settings.timeout:  # the file system may stop to answer, also when it is asked about an open file
            clock = None
            threads = Threads(self.reactor, f"{settings.identifier}-lookups", settings.lookups)
            lookups = Lookups(settings, self.reactor, threads)
        return FilesystemStore(settings, self.files, self.settings.stores.multiple, lookups, clock)

    def _http(self, settings: HttpStoreSettings) -> IStore:
        from glancetx.outgoing.client import HttpClient, Patience
        from glancetx.outgoing.guarded import Guarded
        from glancetx.outgoing.tls import TlsPolicy
        from glancetx.stores.http import HttpStore

        tls = TlsPolicy(ClientTlsSettings(cafile=settings.cafile, insecure=settings.insecure))
        rules = self.settings.fetch
        guarded = Guarded(self.reactor, rules, tls, Patience().connect)
        return HttpStore(settings, HttpClient(self.reactor, endpoints=guarded), rules, self._retries(settings))

    def _swift(self, settings: SwiftSettings) -> IStore:
        from glancetx.outgoing.client import HttpClient, Patience
        from glancetx.outgoing.tls import TlsPolicy
        from glancetx.stores.swift import SwiftStore
        from glancetx.stores.swift_sessions import SwiftSessions
        from glancetx.stores.swift_tenants import SwiftTenantStore

        trust = ClientTlsSettings(cafile=settings.cafile, insecure=settings.insecure)
        sessions = SwiftSessions(settings, self.reactor, trust)
        client = HttpClient(self.reactor, TlsPolicy(trust), Patience())
        retries, multiple = self._retries(settings), self.settings.stores.multiple
        kind = SwiftTenantStore if settings.multi_tenant else SwiftStore
        return kind(settings, sessions, client, retries, self.files, multiple=multiple)

    def _rbd(self, settings: RbdSettings) -> IStore:
        from glancetx.stores.rbd import RbdStore

        return RbdStore(settings, self.reactor, multiple=self.settings.stores.multiple)

    def _s3(self, settings: S3Settings) -> IStore:
        from glancetx.outgoing.client import HttpClient, Patience
        from glancetx.outgoing.tls import TlsPolicy
        from glancetx.stores.s3 import S3Store

        client = HttpClient(self.reactor, TlsPolicy(ClientTlsSettings(cafile=settings.cafile)), Patience())
        retries, multiple = self._retries(settings), self.settings.stores.multiple
        return S3Store(settings, client, retries, self.hashing, multiple=multiple)

    def _vmware(self, settings: VmwareSettings) -> IStore:
        from glancetx.outgoing.client import HttpClient, Patience
        from glancetx.outgoing.tls import TlsPolicy
        from glancetx.stores.vmware import VmwareStore

        trust = ClientTlsSettings(cafile=settings.cafile, insecure=settings.insecure, fingerprint=settings.fingerprint)
        client, retries = (
            HttpClient(self.reactor, TlsPolicy(trust), Patience()),
            self._retries(settings, settings.retries),
        )
        return VmwareStore(settings, client, retries, multiple=self.settings.stores.multiple)

    def _retries(self, settings: OtherSettings, most: int = 4) -> Retries:
        return Retries(self.reactor, most, troubled=lambda: self.troubles.tell(settings.identifier))
