"""Every option is read: a value other than the default makes other settings, or is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import evolve
from oslo_config import cfg, types

from glancetx.config.loading import load_settings
from glancetx.config.options import GROUPS
from glancetx.config.store_loading import BUILDERS
from glancetx.config.store_options import ALL, BACKEND, DRIVERS
from glancetx.domain.errors import ConfigurationError

Groups = dict[str, dict[str, str]]

ACCOUNT: Final = {"auth_url": "http://k", "username": "u", "password": "p", "project_name": "s"}
APPLICATION: Final = {"auth_url": "http://k", "application_credential_id": "i", "application_credential_secret": "s"}
SWIFT: Final = {"swift_store_auth_address": "http://k", "swift_store_user": "a:b", "swift_store_key": "k"}
S3: Final = {f"s3_store_{name}": "x" for name in ("host", "bucket", "access_key", "secret_key")}
VMWARE: Final = {"vmware_datastores": "a:b"} | {
    f"vmware_server_{name}": "x" for name in ("host", "username", "password")
}
INTEGRITY: Final = {"s3_store_enable_data_integrity_protection": "true"}
SUPPORTED: Final = {"s3_store_request_checksum_calculation": "when_supported"}

MESSAGING: Final = {"oslo_messaging_notifications": {"driver": "messagingv2"}}


def keystone(account: Mapping[str, str]) -> Groups:
    return {"paste_deploy": {"flavor": "keystone"}, "keystone_authtoken": dict(account)}


def limits(account: Mapping[str, str]) -> Groups:
    return {"DEFAULT": {"use_keystone_limits": "true"}, "oslo_limit": {**account, "endpoint_id": "e"}}


def store(kind: str, **options: str) -> Groups:
    return {
        "DEFAULT": {"enabled_backends": f"one:{kind}"},
        "glance_store": {"default_backend": "one"},
        "one": options,
    }


STORE: Final = store("file")

# Options are tried in those of these files in which they may mean something.
# What depends on other options needs one in which those are set.
FILES: Final[list[Groups]] = [
    {},
    {"DEFAULT": {"log_file": "/x"}},
    keystone(ACCOUNT),
    keystone(APPLICATION),
    keystone({**ACCOUNT, "memcached_servers": "h:1", "memcache_secret_key": "k"}),
    keystone({**ACCOUNT, "memcached_servers": "h:1", "memcache_secret_key": "k", "memcache_security_strategy": "MAC"}),
    limits(ACCOUNT),
    limits(APPLICATION),
    STORE,
    store("http"),
    store("rbd"),
    store("swift", **SWIFT),
    store("swift", **SWIFT, swift_buffer_on_upload="true"),
    store("vmware", **VMWARE),
    store("s3", **S3, **INTEGRITY),
    store("s3", **S3, **SUPPORTED),
    {"import_filtering_opts": {"allowed_schemes": "", "allowed_hosts": "", "allowed_ports": ""}},
    {"healthcheck": {"backends": "disable_by_file,disable_by_files_ports,enable_by_files"}},
    {"DEFAULT": {"image_cache_dir": "cache", "worker_self_reference_url": "http://here"}},
    MESSAGING,
    {**MESSAGING, "oslo_messaging_rabbit": {"ssl": "true", "rabbit_quorum_queue": "true"}},
]
# Where just another word would be refused, or mean the same, for a reason that has nothing to do with being read.
SPECIAL: Final = {
    "user_storage_quota": "7GB",
    "filesystem_store_file_perm": "640",
    "filesystem_store_datadirs": "/somewhere:7",
    "allowed_networks": "10.0.0.0/8",
    "default_store": "http",
    "vmware_server_fingerprint": "ab" * 32,
    "https_insecure": "true",
    "swift_store_auth_version": "1",
    "rabbit_login_method": "EXTERNAL",
}


def another(option: cfg.Opt) -> str:
    """A value that is not the default."""
    default, type_ = option.default, option.type
    if option.name in SPECIAL:
        return SPECIAL[option.name]
    if isinstance(type_, types.Boolean):
        return str(not default)
    if isinstance(type_, types.Integer | types.Float):
        value = (default or 0) + 1
        return str(value if type_.max is None or value <= type_.max else default - 1)
    if choices := getattr(type_, "choices", None):
        return next(str(choice) for choice in choices if choice != default)
    if isinstance(type_, types.List):
        return "7,8" if isinstance(type_.item_type, types.Integer) else "some,words"
    return "some:word" if isinstance(type_, types.Dict) else "something"


def without_effect(option: cfg.Opt) -> bool:
    """Whether its help says that it is only accepted."""
    return str(option.help).startswith(("Read for compatibility", "Accepted, and of no effect"))


def options() -> Iterator[Any]:
    """All of them, each in its group; those of stores in a store's. What is not built yet cannot be tried."""
    stores = {option.name for option in [*ALL, *BACKEND]}
    found = [(group, option) for group, each in GROUPS.items() for option in each if option.name not in stores]
    found += [("one", option) for kind, each in DRIVERS.items() if kind in {"file", *BUILDERS} for option in each]
    found += [("one", option) for option in BACKEND]
    return (pytest.param(group, option, id=f"{group}-{option.name}") for group, option in found)


def load(folder: Path, groups: Mapping[str, Mapping[str, str]]) -> object:
    """The settings, or why there are none."""
    lines = [
        line
        for group, values in groups.items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in values.items()))
    ]
    path = folder / "glance-api.conf"
    path.write_text("\n".join(lines))
    try:
        return evolve(load_settings([path], environ={"HOME": str(folder)}), ignored=())
    except ConfigurationError as error:
        return str(error)


def with_option(file: Groups, group: str, name: str, value: str) -> Groups:
    return {**file, group: {**file.get(group, {}), name: value}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("options")


@pytest.fixture(scope="module")
def plain(folder: Path) -> list[object]:
    """What each of the files says as it is."""
    return [load(folder, file) for file in FILES]


def fitting(group: str) -> list[int]:
    """The numbers of the files in which an option of this group is tried."""
    found = [file for file in FILES if ("one" in file) is (group == "one")]
    return [FILES.index(file) for file in (found if group == "one" else [*found, STORE])]


@pytest.mark.parametrize(("group", "option"), list(options()))
def test_read(folder: Path, plain: list[object], group: str, option: cfg.Opt) -> None:
    """It has an effect in one of the files, unless it is said that it has none; then it has none."""
    numbers, value = fitting(group), another(option)
    changed = [load(folder, with_option(FILES[number], group, option.name, value)) for number in numbers]
    assert (changed != [plain[number] for number in numbers]) is not without_effect(option)
