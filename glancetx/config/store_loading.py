"""From options to the settings of stores: one of each kind that ``stores`` lists, or those of ``enabled_backends``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from oslo_config.cfg import ConfigOpts, Locations, Opt

from glancetx.config.store_options import BACKEND, DRIVERS
from glancetx.config.store_settings import (
    GLANCE_DATADIR,
    MIB,
    FilesystemSettings,
    HttpStoreSettings,
    OtherSettings,
    RbdSettings,
    S3Settings,
    StoresSettings,
    SwiftSettings,
    VmwareDatastore,
    VmwareSettings,
)
from glancetx.config.swift_accounts import swift_accounts
from glancetx.domain.errors import ConfigurationError

RESERVED: Final = ("os_glance_staging_store", "os_glance_tasks_store")
KIND_OF_SCHEME: Final = MappingProxyType(
    {"file": "file", "filesystem": "file", "http": "http", "https": "http", "rbd": "rbd", "cinder": "cinder"}
    | {"vsphere": "vmware", "s3": "s3"}
    | {scheme: "swift" for scheme in ("swift", "swift+http", "swift+https", "swift+config")}
)
SWIFT_MB: Final = 1000 * 1024  # what glance_store takes for a megabyte there (S-073)
_DEFAULTS: Final = (Locations.opt_default, Locations.set_default)


class StoreGroup:
    """The values of one store: its own group's; what that leaves out is ``[backend_defaults]``' (S-001)."""

    def __init__(self, conf: Any, name: str) -> None:
        self._conf, self.name = conf, name

    def __getattr__(self, option: str) -> Any:
        for group in (self.name, "backend_defaults"):
            if self._is_set(option, group):
                return self._conf[group][option]
        return self._conf[self.name][option]

    def _is_set(self, option: str, group: str) -> bool:
        if option not in self._conf[group]:
            return False
        location = self._conf.get_location(option, group)
        return location is not None and location.location not in _DEFAULTS

    def is_set(self, option: str) -> bool:
        """Whether somebody chose the value."""
        return any(self._is_set(option, group) for group in (self.name, "backend_defaults"))

    def required(self, option: str) -> Any:
        """:raises ConfigurationError: if nobody sets it."""
        value = getattr(self, option)
        if not value:
            raise ConfigurationError(f"[{self.name}] {option} is not set, and its store needs it")
        return value

    def find(self, name: str) -> str | None:
        """A file of that name, beside the configuration files or elsewhere."""
        found: str | None = self._conf.find_file(name)
        return found

    def path(self, option: str) -> Path | None:
        value = getattr(self, option)
        return Path(value) if value else None


def register_stores(conf: ConfigOpts) -> dict[str, list[Opt]]:
    """Make the options of every configured store known; returns those of each group.

    :raises ConfigurationError: if an id is reserved, or a type is not available.
    """
    groups = {identifier: [*DRIVERS["file"], *BACKEND] for identifier in RESERVED}
    for identifier, kind in (conf.enabled_backends or {}).items():
        if identifier.startswith("os_glance_"):
            raise ConfigurationError(f"enabled_backends: the name {identifier} is reserved")
        if kind not in DRIVERS:
            raise ConfigurationError(f"enabled_backends: the store type {kind} of {identifier} is not available")
        groups[identifier] = [*DRIVERS[kind], *BACKEND]
    for identifier, options in groups.items():
        conf.register_opts(options, group=identifier)
    return groups


def stores_settings(conf: Any, folder: Path, configured: bool) -> StoresSettings:
    """What to build. *folder* has the images of a service that is not *configured* at all.

    :raises ConfigurationError: if a store cannot be as it is configured, or the default store is not one of them.
    """
    default_dir = GLANCE_DATADIR if configured else str(folder / "images")
    reserved = tuple(filesystem(StoreGroup(conf, each), each, f"/var/lib/glance/{each}") for each in RESERVED)
    backends: dict[str, str] = conf.enabled_backends or {}
    if not backends:
        return legacy_settings(conf, default_dir)
    if conf.glance_store.default_backend not in backends:
        raise ConfigurationError("[glance_store] default_backend must be one of enabled_backends")
    built = [build(StoreGroup(conf, identifier), identifier, kind) for identifier, kind in backends.items()]
    return sorted_out(built, multiple=True, default=conf.glance_store.default_backend, reserved=reserved)


def legacy_settings(conf: Any, default_dir: str) -> StoresSettings:
    """One store of each kind, all of them in ``[glance_store]`` (S-110); the kind is the id."""
    default = KIND_OF_SCHEME[conf.glance_store.default_store]
    kinds = dict.fromkeys(KIND_OF_SCHEME.get(kind, kind) for kind in conf.glance_store.stores)
    if default not in kinds:
        raise ConfigurationError(f"[glance_store] default_store = {default}: not one of stores")
    group = StoreGroup(conf, "glance_store")
    built: list[FilesystemSettings | OtherSettings] = []
    for kind in kinds:
        if kind not in DRIVERS:
            raise ConfigurationError(f"[glance_store] stores: {kind} is not available")
        built.append(filesystem(group, kind, default_dir) if kind == "file" else BUILDERS[kind](group, kind))
    return sorted_out(built, default=default)


def sorted_out(built: list[FilesystemSettings | OtherSettings], **more: Any) -> StoresSettings:
    return StoresSettings(
        filesystems=tuple(each for each in built if isinstance(each, FilesystemSettings)),
        others=tuple(each for each in built if not isinstance(each, FilesystemSettings)),
        order=tuple(each.identifier for each in built),
        **more,
    )


def build(group: StoreGroup, identifier: str, kind: str) -> FilesystemSettings | OtherSettings:
    if kind == "file":
        return filesystem(group, identifier, GLANCE_DATADIR)
    return BUILDERS[kind](group, identifier)


def described(group: StoreGroup) -> dict[str, Any]:
    """What every store of ``enabled_backends`` has."""
    if group.name == "glance_store":
        return {}
    return {"description": group.store_description, "weight": group.weight}


def filesystem(group: StoreGroup, identifier: str, default_dir: str) -> FilesystemSettings:
    digits = str(group.filesystem_store_file_perm)
    try:
        mode = int(digits, 8)
    except ValueError:
        raise ConfigurationError(f"filesystem_store_file_perm = {digits}: not an octal number") from None
    datadirs = tuple(data_folder(text) for text in group.filesystem_store_datadirs or ())
    if datadirs and group.is_set("filesystem_store_datadir") and group.filesystem_store_datadir:
        raise ConfigurationError(f"[{group.name}] either filesystem_store_datadir or filesystem_store_datadirs")
    if len({folder for folder, _ in datadirs}) != len(datadirs):
        raise ConfigurationError(f"[{group.name}] filesystem_store_datadirs names a directory twice")
    best = max(datadirs, key=lambda each: each[1])[0] if datadirs else None
    return FilesystemSettings(
        identifier=identifier,
        datadir=best or Path(group.filesystem_store_datadir or default_dir),
        datadirs=datadirs,
        metadata_file=group.path("filesystem_store_metadata_file"),
        marker=group.filesystem_store_marker,
        file_perm=mode,
        chunk_size=group.filesystem_store_chunk_size,
        thin=group.filesystem_thin_provisioning,
        timeout=group.filesystem_store_timeout,
        lookups=group.filesystem_store_thread_pool_size,
        threshold=group.filesystem_store_threadpool_threshold,
        **described(group),
    )


def data_folder(text: str) -> tuple[Path, int]:
    """A directory and its priority, which is 0 if there is none."""
    path, _, priority = map(str.strip, text.rpartition(":")) if ":" in text else (text.strip(), "", "")
    if not path or not (priority or "0").lstrip("+-").isdigit():
        raise ConfigurationError(f"filesystem_store_datadirs = {text}: not as path:priority")
    return Path(path), int(priority or 0)


def http(group: StoreGroup, identifier: str) -> HttpStoreSettings:
    cafile = group.path("https_ca_certificates_file")
    return HttpStoreSettings(
        identifier=identifier,
        cafile=cafile,
        insecure=group.https_insecure and group.is_set("https_insecure") and cafile is None,
        proxies=group.http_proxy_information,
        **described(group),
    )


def rbd(group: StoreGroup, identifier: str) -> RbdSettings:
    return RbdSettings(
        identifier=identifier,
        pool=group.rbd_store_pool,
        user=group.rbd_store_user,
        ceph_conf=group.path("rbd_store_ceph_conf"),
        chunk_size=group.rbd_store_chunk_size * MIB,
        timeout=group.rados_connect_timeout,
        thin=group.rbd_thin_provisioning,
        **described(group),
    )


def s3(group: StoreGroup, identifier: str) -> S3Settings:
    return S3Settings(
        identifier=identifier,
        host=group.required("s3_store_host"),
        bucket=group.required("s3_store_bucket"),
        access_key=group.required("s3_store_access_key"),
        secret_key=group.required("s3_store_secret_key"),
        region=group.s3_store_region_name,
        create_bucket=group.s3_store_create_bucket_on_put,
        url_format=group.s3_store_bucket_url_format,
        large_object_size=group.s3_store_large_object_size * MIB,
        part_size=group.s3_store_large_object_chunk_size * MIB,
        most_parts=group.s3_store_thread_pools,
        cafile=group.path("s3_store_cacert"),
        checksums=group.s3_store_enable_data_integrity_protection
        and group.s3_store_request_checksum_calculation == "when_supported",
        **described(group),
    )


def swift(group: StoreGroup, identifier: str) -> SwiftSettings:
    if group.swift_store_multi_tenant and group.swift_store_config_file:
        raise ConfigurationError(f"[{group.name}] either swift_store_multi_tenant or swift_store_config_file")
    accounts = swift_accounts(group)
    if group.swift_store_multi_tenant and any(each.version == "1" for each in accounts.values()):
        raise ConfigurationError(
            f"[{group.name}] swift_store_multi_tenant needs Keystone: swift_store_auth_version = 3"
        )
    reference = group.default_swift_reference
    if reference not in accounts:
        raise ConfigurationError(f"[{group.name}] there is no account for default_swift_reference = {reference}")
    spool = Path(group.required("swift_upload_buffer_dir")) if group.swift_buffer_on_upload else None
    return SwiftSettings(
        identifier=identifier,
        accounts=accounts,
        reference=reference,
        container=group.swift_store_container,
        seed=group.swift_store_multiple_containers_seed,
        create_container=group.swift_store_create_container_on_put,
        large_object_size=group.swift_store_large_object_size * SWIFT_MB,
        segment_size=group.swift_store_large_object_chunk_size * SWIFT_MB,
        endpoint=group.swift_store_endpoint,
        region=group.swift_store_region,
        interface=group.swift_store_endpoint_type.removesuffix("URL"),
        service_type=group.swift_store_service_type,
        least_life=group.swift_store_expire_soon_interval,
        retries=group.swift_store_retry_get_count,
        spool=spool,
        multi_tenant=group.swift_store_multi_tenant,
        admin_tenants=tuple(group.swift_store_admin_tenants),
        cafile=group.path("swift_store_cacert"),
        insecure=group.swift_store_auth_insecure,
        **described(group),
    )


def vmware(group: StoreGroup, identifier: str) -> VmwareSettings:
    cafile, fingerprint = group.path("vmware_ca_file"), group.vmware_server_fingerprint
    if fingerprint and not re.fullmatch(r"[0-9a-fA-F]{64}", fingerprint.replace(":", "")):
        raise ConfigurationError(f"[{group.name}] vmware_server_fingerprint: not a SHA-256 in hex")
    folder = group.vmware_store_image_dir.strip("/")
    if not folder or ".." in folder.split("/"):
        raise ConfigurationError(f"[{group.name}] vmware_store_image_dir = {folder}: not a directory")
    return VmwareSettings(
        identifier=identifier,
        host=group.required("vmware_server_host"),
        username=group.required("vmware_server_username"),
        password=group.required("vmware_server_password"),
        datastores=tuple(datastore(group.name, text) for text in group.required("vmware_datastores")),
        retries=group.vmware_api_retry_count,
        poll_interval=group.vmware_task_poll_interval,
        image_dir=group.vmware_store_image_dir,
        cafile=cafile,
        insecure=group.vmware_insecure and cafile is None,
        fingerprint=fingerprint.replace(":", "").lower() if fingerprint else None,
        **described(group),
    )


def datastore(where: str, text: str) -> VmwareDatastore:
    """:raises ConfigurationError: unless *text* is ``datacenter_path:datastore[:weight]``."""
    path, name, weight = ([part.strip() for part in text.rsplit(":", 2)] + ["", ""])[:3]
    if not path or not name or not re.fullmatch(r"(-?\d+)?", weight, re.ASCII):
        raise ConfigurationError(f"[{where}] vmware_datastores = {text}: not datacenter_path:datastore[:weight]")
    return VmwareDatastore(datacenter=path, name=name, weight=int(weight or 0))


BUILDERS: Final[dict[str, Callable[[StoreGroup, str], OtherSettings]]] = {
    "http": http,
    "rbd": rbd,
    "s3": s3,
    "swift": swift,
    "vmware": vmware,
}
