"""The stores of a service by name, and which of them reads a location."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from attrs import evolve
from twisted.logger import Logger

from glancetx.domain.errors import ConfigurationError, UnknownStore
from glancetx.domain.image import Location
from glancetx.interfaces import IStore, ITenantStore
from glancetx.stores.uri import check_readable, scheme_of


class Stores:
    """Stores by their identifiers. *default* names the one that takes uploads which name none.

    *weights* says which copy is read first: the one in the heaviest store. *naming*: locations name their stores; those
    that do not, since they are older than `enabled_backends`, are told by their URLs (S-005, S-112).
    """

    def __init__(
        self,
        stores: Mapping[str, IStore],
        default: str,
        weights: Mapping[str, int] | None = None,
        *,
        naming: bool = False,
    ) -> None:
        if default not in stores:
            raise ConfigurationError(f"The default store {default} is not one of: {', '.join(stores)}")
        self._stores = dict(stores)
        self._weights = dict(weights or {})
        self._naming = naming
        self._tenant_stores = {name: store for name, store in stores.items() if ITenantStore.providedBy(store)}
        self._started: list[IStore] = []
        self._log = Logger()
        self.default: IStore = self._stores[default]

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The ids of all stores, in the order of the configuration."""
        return tuple(self._stores)

    def to_fill(self) -> list[str]:
        """The ids of all stores that can be written to: the default one, then the heaviest first."""
        writable = [name for name, store in self._stores.items() if not store.read_only]
        return sorted(writable, key=lambda name: (name != self.default.identifier, -self._weights.get(name, 0)))

    def acting_for(self, owner: str | None, token: str | None = None) -> Stores:
        """These stores for images of the project *owner* and who showed *token* (`ITenantStore.acting_for`)."""
        if not self._tenant_stores:
            return self
        bound = {name: store.acting_for(owner, token) for name, store in self._tenant_stores.items()}
        return Stores({**self._stores, **bound}, self.default.identifier, self._weights, naming=self._naming)

    async def start(self) -> None:
        """Start every store; if one cannot start, those that have are stopped again.

        :raises ConfigurationError: what the store says.
        """
        try:
            for store in self._stores.values():
                await store.start()
                self._started.append(store)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop what was started, the last one first; if one cannot be stopped, the others are nevertheless."""
        while self._started:
            store = self._started.pop()
            try:
                await store.stop()
            except Exception:
                self._log.failure("the store {store} did not stop as it should", store=store.identifier)

    def get(self, identifier: str) -> IStore:
        """:raises UnknownStore: if there is none of that name."""
        try:
            return self._stores[identifier]
        except KeyError:
            raise UnknownStore(f"Store for identifier {identifier} not found") from None

    def for_location(self, location: Location) -> IStore:
        """The store the location's metadata names; else the first that writes such URLs; else the first of its scheme.

        :raises UnknownStore: if there is none.
        :raises StoreUnavailable: if nobody can tell which URL it is; what is there must not be forgotten.
        """
        check_readable(location.url)
        return self._stores[self._identify(location)]

    def in_tenant_stores(self, locations: Iterable[Location]) -> list[tuple[ITenantStore, Location]]:
        """Those of *locations* that such a store reads."""
        if not self._tenant_stores:
            return []
        named = ((self.name_of(location), location) for location in locations)
        return [(self._tenant_stores[name], each) for name, each in named if name in self._tenant_stores]

    def name_of(self, location: Location) -> str | None:
        """The id of the store `for_location` gives; None if there is none."""
        try:
            return self._identify(location)
        except UnknownStore:
            return None

    def named(self, location: Location) -> Location:
        """*location*; if it names no store that there is, but one writes such URLs, with the name of that one."""
        if not self._naming or location.store in self._stores:
            return location
        name = self._writer_of(location.url)
        return location if name is None else evolve(location, metadata={**location.metadata, "store": name})

    def by_weight(self, locations: Iterable[Location], prefer: Collection[str] = ()) -> list[Location]:
        """The locations in the order in which they are to be tried (S-006); those of no known store come last.

        Those in a store of *prefer* come first (A-111).
        """
        ranked = list(map(self.named, locations))
        if len(ranked) < 2:
            return ranked
        ranked.sort(key=self._rank)
        return sorted(ranked, key=lambda location: location.store not in prefer)

    def for_url(self, url: str) -> IStore:
        """As `for_location`, where nothing but the URL is known. :raises UnknownStore: if there is none."""
        return self._stores[self._identify_url(url)]

    def _rank(self, location: Location) -> tuple[bool, int]:
        try:
            return False, -self._weights.get(self._identify(location), 0)
        except UnknownStore:
            return True, 0

    def _identify(self, location: Location) -> str:
        named = location.store
        return str(named) if named in self._stores else self._identify_url(location.url)

    def _identify_url(self, url: str) -> str:
        scheme = scheme_of(url)
        name = self._writer_of(url) or next(
            (name for name, each in self._stores.items() if each.scheme == scheme), None
        )
        if name is None:
            raise UnknownStore(f"No store reads {scheme} locations")
        return name

    def _writer_of(self, url: str) -> str | None:
        scheme = scheme_of(url)
        ours = (
            name for name, each in self._stores.items() if each.scheme == scheme and url.startswith(each.url_prefix)
        )
        return next(ours, None)
