"""From files, environment and command line to `Settings`.

Which files are read is told in docs/configuration.md: those named on the command line; else those in
``$OS_GLANCE_CONFIG_DIR`` or /etc/glance, as Glance 33 does (contract row C-001); else none, which is the embedded
default: everything below one data directory, built-in accounts, TLS with a certificate of our own.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import fields
from oslo_config import cfg

from glancetx.config.cache import cache_settings
from glancetx.config.certificates import certificate_settings
from glancetx.config.coordination import coordination_settings
from glancetx.config.identity import choose_authentication, token_settings, www_authenticate_uri
from glancetx.config.ignored import ignored_options
from glancetx.config.image_properties import CustomProperties, custom_properties
from glancetx.config.import_loading import download_settings, import_settings
from glancetx.config.limits import limit_settings
from glancetx.config.logs import log_settings
from glancetx.config.messaging import notification_settings
from glancetx.config.middleware import middleware_settings
from glancetx.config.options import GROUPS
from glancetx.config.paste import find_paste_file, read_pipeline
from glancetx.config.plugins import plugin_settings
from glancetx.config.settings import (
    AccessSettings,
    AuditSettings,
    DatabaseSettings,
    FormatSettings,
    HttpSettings,
    ImagesSettings,
    ScrubSettings,
    Settings,
    StraySettings,
    TlsSettings,
)
from glancetx.config.store_loading import register_stores, stores_settings
from glancetx.domain.addresses import FetchRules
from glancetx.domain.errors import ConfigurationError
from glancetx.domain.placement import Rule

CONFIG_NAMES = ("glance-image-import.conf", "glance-api.conf")
UNLIMITED_POOL = 50
"""Connections of a process where Glance would not limit them."""

_PLACE: Final = re.compile(r"LocationInfo\(location=<[^>]*>, detail='([^']*)'\)")  # how oslo.config names a file


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Where an unconfigured service keeps everything: ours, systemd's, or the user's place for data."""
    if chosen := environ.get("GLANCETX_DATA_DIR") or environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(chosen).absolute()
    home = environ.get("XDG_DATA_HOME") or Path(environ.get("HOME", "/"), ".local/share")
    return Path(home, "glancetx")


def find_config_files(environ: Mapping[str, str]) -> list[Path]:
    """The files Glance's own service would read here; often none."""
    folder = Path(environ.get("OS_GLANCE_CONFIG_DIR", "/etc/glance"))
    return [path for name in CONFIG_NAMES if (path := folder / name).is_file()]


def find_tool_files(environ: Mapping[str, str], program: str) -> list[Path]:
    """The files Glance's *program* of that name would read on the command line (C-002), the service's own before."""
    if "OS_GLANCE_CONFIG_DIR" in environ:
        own = Path(environ["OS_GLANCE_CONFIG_DIR"], f"{program}.conf")
        return [*find_config_files(environ), *([own] if own.is_file() else [])]
    names = ("glance-image-import", "glance-api", program)
    found = [path for name in names for path in cfg.find_config_files(project="glance", prog=name)]
    return [Path(path) for path in dict.fromkeys(found)]


def load_settings(
    config_files: Sequence[str | Path] = (),
    config_dirs: Sequence[str | Path] = (),
    *,
    data_dir: str | Path | None = None,
    listen: Sequence[str] = (),
    workers: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the options and give every room its settings; what the command line says goes before the files.

    :raises ConfigurationError: if a file cannot be read, an option has a bad value, or options contradict.
    """
    environ = os.environ if environ is None else environ
    files = list(config_files) or ([] if config_dirs else find_config_files(environ))
    conf = read_files(files, config_dirs)
    configured = bool(files or config_dirs)
    own = conf.glancetx
    folders = config_folders(files, config_dirs, environ)
    folder = Path(data_dir or own.data_dir or default_data_dir(environ)).absolute()
    authentication = choose_authentication(conf, configured)
    paste = find_paste_file(conf.paste_deploy.config_file, files, folders)
    pipeline = read_pipeline(paste, conf.paste_deploy.flavor)
    return Settings(
        data_dir=folder,
        database=DatabaseSettings(
            connection=database_url(conf.database, folder),
            max_pool_size=conf.database.max_pool_size or UNLIMITED_POOL,
            recycle=max(0.0, conf.database.connection_recycle_time),
            wsrep_sync_wait=conf.database.mysql_wsrep_sync_wait,
            encryption_key=conf.metadata_encryption_key or None,
        ),
        listen=tuple(listen) or repeated(conf, "listen", "glancetx") or default_listen(configured),
        workers=own.workers if workers is None else workers,
        drain_timeout=own.drain_timeout,
        metadata_source_path=Path(conf.metadata_source_path),
        http=pick(HttpSettings, own),
        middleware=middleware_settings(conf, pipeline, folders),
        tls=tls_settings(own),
        stores=stores_settings(conf, folder, configured),
        fetch=fetch_rules(conf),
        downloads=download_settings(own),
        formats=pick(FormatSettings, conf.image_format),
        images=images_settings(conf, custom_properties(folders)),
        imports=import_settings(conf, folder, configured),
        plugins=plugin_settings(conf),
        audit=audit_settings(conf),
        strays=pick(StraySettings, own),
        access_log=own.access_log,
        logs=log_settings(conf),
        stuck_after=own.stuck_after,
        scrub=pick(ScrubSettings, conf),
        coordination=coordination_settings(conf),
        cache=cache_settings(conf, pipeline, authentication),
        certificates=certificate_settings(conf),
        notifications=notification_settings(conf),
        limits=limit_settings(conf),
        access=AccessSettings(
            authentication=authentication,
            accounts=folder / "accounts" if authentication == "builtin" else None,
            tokens=token_settings(conf) if authentication == "keystone" else None,
            www_authenticate_uri=www_authenticate_uri(conf),
            allow_anonymous=conf.allow_anonymous_access,
            policy_file=conf.oslo_policy.policy_file,
            policy_dirs=repeated(conf, "policy_dirs", "oslo_policy"),
            property_protection_file=conf.property_protection_file,
            property_protection_rule_format=conf.property_protection_rule_format,
            policy_default_rule=conf.oslo_policy.policy_default_rule,
            enforce_new_defaults=conf.oslo_policy.enforce_new_defaults,
            config_dirs=folders,
        ),
        ignored=ignored_options(conf, files, config_dirs),
    )


def read_files(files: Iterable[str | Path], dirs: Iterable[str | Path]) -> Any:
    """A ConfigOpts of our own holding all options; no global object is touched."""
    conf = cfg.ConfigOpts()
    for group, options in GROUPS.items():
        conf.register_opts(options, group=None if group == "DEFAULT" else group)
    arguments = [f"--config-file={path}" for path in files] + [f"--config-dir={path}" for path in dirs]
    try:
        conf(arguments, project="glancetx", default_config_files=[], default_config_dirs=[])
        check_values(conf, {**GROUPS, **register_stores(conf)})
    except cfg.Error as error:
        raise ConfigurationError(_PLACE.sub(r"\1", str(error))) from error
    return conf


def check_values(conf: Any, groups: Mapping[str, Sequence[cfg.Opt]]) -> None:
    """Read every option once, so that a bad value is an error at the start and not at its first use."""
    for group, options in groups.items():
        place = conf if group == "DEFAULT" else conf[group]
        for option in options:
            place[option.dest]


def pick(settings: type[Any], source: Any) -> Any:
    """An instance of *settings* whose fields have the values of the options of the same name."""
    values = {field.name: getattr(source, field.name) for field in fields(settings)}
    return settings(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


def database_url(group: Any, folder: Path) -> str:
    """Where the database is: as configured, or in *folder*."""
    url = group.connection or f"sqlite:///{folder / 'glancetx.sqlite'}"
    added = group.connection_parameters.strip("&")
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url


def audit_settings(conf: Any) -> AuditSettings:
    """:raises ConfigurationError: if a rule cannot be understood."""
    names = {field.name for field in fields(AuditSettings)} - {"rules"}
    rules = tuple(Rule.parse(text) for text in repeated(conf, "replication_rule", "glancetx"))
    return AuditSettings(rules=rules, **{name: conf.glancetx[name] for name in names})


def repeated(conf: Any, name: str, group: str) -> tuple[str, ...]:
    """The values of an option that may be repeated. A variable of the environment is one, in oslo.config's pieces."""
    values, location = conf[group][name] or (), conf.get_location(name, group)
    if location is not None and location.location is cfg.Locations.environment:
        return ("".join(values),)
    return tuple(values)


def default_listen(configured: bool) -> tuple[str, ...]:
    scheme = "tcp" if configured else "ssl"
    return (f"{scheme}:9292:interface=127.0.0.1",)


def tls_settings(own: Any) -> TlsSettings:
    def path(value: str | None) -> Path | None:
        return Path(value) if value else None

    return TlsSettings(
        certificate=path(own.tls_certificate),
        key=path(own.tls_key),
        client_ca=path(own.tls_client_ca),
        client_certificate_required=own.tls_client_certificate_required,
    )


def fetch_rules(conf: Any) -> FetchRules:
    """:raises ConfigurationError: if a network is none."""
    filtering = conf.import_filtering_opts
    names = {field.name for field in fields(FetchRules)} - {"allowed_networks"}
    try:
        return FetchRules(
            allowed_networks=conf.glancetx.allowed_networks, **{name: tuple(filtering[name]) for name in names}
        )
    except ValueError as error:
        raise ConfigurationError(f"[glancetx] allowed_networks: {error}") from error


def images_settings(conf: Any, custom: CustomProperties) -> ImagesSettings:
    check_hash(conf.hashing_algorithm)
    names = {field.name for field in fields(ImagesSettings)}
    names -= {"container_formats", "disk_formats", "user_storage_quota", "custom"}
    return ImagesSettings(
        custom=custom,
        user_storage_quota=storage_size("user_storage_quota", conf.user_storage_quota),
        container_formats=tuple(conf.image_format.container_formats),
        disk_formats=tuple(conf.image_format.disk_formats),
        **{name: getattr(conf, name) for name in names},
    )


def check_hash(name: str) -> None:
    """:raises ConfigurationError: if hashlib has no such hash, or one of no certain length."""
    try:
        known = hashlib.new(name).digest_size > 0
    except ValueError:
        known = False
    if not known:
        raise ConfigurationError(f"hashing_algorithm = {name}: there is no such hash")


def storage_size(name: str, text: str) -> int:
    """Bytes, of digits and perhaps a unit (C-018). :raises ConfigurationError: if it is neither."""
    if (found := re.fullmatch(r"(\d+)(?:([KMGT]?)B)?", text, re.ASCII)) is None:
        raise ConfigurationError(
            f"{name} = {text}: not a number, or a number with B, KB, MB, GB or TB, without a space"
        )
    return int(found[1]) << (10 * " KMGT".index(found[2] or " "))


def config_folders(
    files: Iterable[str | Path], dirs: Iterable[str | Path], environ: Mapping[str, str]
) -> tuple[Path, ...]:
    """Where policy and other named files are looked up, in Glance's order (C-004); nowhere without a configuration."""
    found = [Path(path).absolute() for path in dirs] + [Path(path).absolute().parent for path in reversed([*files])]
    if not found:
        return ()
    home = Path(environ.get("HOME", "/"))
    return tuple(dict.fromkeys([*found, home / ".glance", home, Path("/etc/glance"), Path("/etc")]))
