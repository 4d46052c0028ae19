"""The stores as clients may know them (api.md, A-201, A-202)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import singledispatch
from typing import Any

from attrs import evolve, field, frozen

from glancetx.access.policy import Policy
from glancetx.config.store_settings import (
    FilesystemSettings,
    HttpStoreSettings,
    OtherSettings,
    RbdSettings,
    S3Settings,
    StoresSettings,
    SwiftSettings,
    VmwareSettings,
)
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import NotFound
from glancetx.interfaces import IStore
from glancetx.stores.registry import Stores


@frozen(kw_only=True)
class StoreEntry:
    """One store. *properties* are what administrators see of its configuration; no secrets."""

    identifier: str
    kind: str
    default: bool = False
    read_only: bool = False
    description: str | None = None
    weight: int = 0
    properties: Mapping[str, Any] = field(factory=dict)


def configured_entries(settings: StoresSettings) -> list[StoreEntry]:
    """The stores that *settings* describe, in the order of the configuration."""
    found = {each.identifier: each for each in (*settings.filesystems, *settings.others)}
    return [
        StoreEntry(
            identifier=name,
            kind=_kind(found[name]),
            default=name == settings.default,
            read_only=isinstance(found[name], HttpStoreSettings),
            description=found[name].description,
            weight=found[name].weight,
            properties=_properties(found[name]),
        )
        for name in settings.order or found
    ]


def given_entries(stores: Mapping[str, IStore]) -> list[StoreEntry]:
    """The stores of an application in which the service is embedded; the first one is the default."""
    return [
        StoreEntry(identifier=name, kind=store.scheme, default=number == 0, read_only=store.read_only)
        for number, (name, store) in enumerate(stores.items())
    ]


class StoreDirectory:
    """Tells which stores there are. *entries* are empty where there is nothing to choose; *stores* has them all."""

    def __init__(self, entries: Iterable[StoreEntry], stores: Stores, policy: Policy) -> None:
        self._entries = tuple(entries)
        self._stores = stores
        self._policy = policy

    def list(self) -> tuple[StoreEntry, ...]:
        """:raises NotFound: if clients cannot choose a store."""
        if not self._entries:
            raise NotFound("Multi backend is not supported at this site.")
        return self._entries

    def list_details(self, context: RequestContext) -> tuple[StoreEntry, ...]:
        """As `list`, for who may know how the stores are set up. :raises Forbidden: for others."""
        entries = self.list()
        self._policy.check("stores_info_detail", context, {})
        return tuple(self._completed(entry) for entry in entries)

    def _completed(self, entry: StoreEntry) -> StoreEntry:
        """With what only the running store knows: the cluster of an rbd store."""
        if "fsid" not in entry.properties:
            return entry
        fsid = self._stores.get(entry.identifier).url_prefix.split("/")[2]
        return evolve(entry, properties={**entry.properties, "fsid": fsid or None})


@singledispatch
def _properties(settings: object) -> Mapping[str, Any]:
    raise TypeError(settings)


@_properties.register
def _(settings: FilesystemSettings) -> Mapping[str, Any]:
    return {"data_dir": str(settings.datadir), "chunk_size": settings.chunk_size, "thin_provisioning": settings.thin}


@_properties.register
def _(settings: HttpStoreSettings) -> Mapping[str, Any]:
    return {}


@_properties.register
def _(settings: RbdSettings) -> Mapping[str, Any]:
    return {"chunk_size": settings.chunk_size, "pool": settings.pool, "thin_provisioning": settings.thin, "fsid": None}


@_properties.register
def _(settings: S3Settings) -> Mapping[str, Any]:
    return {
        "s3_store_large_object_size": settings.large_object_size,
        "s3_store_large_object_chunk_size": settings.part_size,
        "s3_store_thread_pools": settings.most_parts,
    }


@_properties.register
def _(settings: SwiftSettings) -> Mapping[str, Any]:
    return {
        "container": settings.container,
        "large_object_size": settings.large_object_size,
        "large_object_chunk_size": settings.segment_size,
    }


@_properties.register
def _(settings: VmwareSettings) -> Mapping[str, Any]:
    return {
        "image_dir": settings.image_dir,
        "datastores": [f"{each.datacenter}:{each.name}:{each.weight}" for each in settings.datastores],
    }


def _kind(settings: FilesystemSettings | OtherSettings) -> str:
    kinds: dict[type, str] = {
        FilesystemSettings: "file",
        HttpStoreSettings: "http",
        RbdSettings: "rbd",
        S3Settings: "s3",
        SwiftSettings: "swift",
        VmwareSettings: "vmware",
    }
    return kinds[type(settings)]
