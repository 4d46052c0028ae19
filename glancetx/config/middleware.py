"""What oslo.middleware does for Glance: ``[cors]``, ``[oslo_middleware]``, ``[healthcheck]`` (C-079..C-081)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from oslo_config import cfg

from glancetx.config.paste import Pipeline
from glancetx.config.settings import CorsSettings, HealthSettings, MetricsSettings, MiddlewareSettings
from glancetx.domain.errors import ConfigurationError

CORS = [
    cfg.ListOpt("allowed_origin", help="Origins whose pages may use the API in browsers; * is any."),
    cfg.BoolOpt("allow_credentials", default=True, help="Let these pages send cookies and HTTP authentication."),
    cfg.ListOpt(
        "expose_headers",
        default=list(CorsSettings().expose_headers),
        help="Headers of answers that these pages may read.",
    ),
    cfg.IntOpt("max_age", default=3600, help="Seconds for which browsers may remember what is allowed."),
    cfg.ListOpt("allow_methods", default=list(CorsSettings().allow_methods), help="Methods these pages may use."),
    cfg.ListOpt(
        "allow_headers",
        default=list(CorsSettings().allow_headers),
        help="Headers these pages may send, besides those that are always allowed.",
    ),
]

OSLO_MIDDLEWARE = [
    cfg.BoolOpt(
        "enable_proxy_headers_parsing",
        default=False,
        help="Believe Forwarded and X-Forwarded-Proto, -Host, -Prefix: a proxy in front sets them.",
    ),
]

HEALTHCHECK = [
    cfg.BoolOpt("detailed", default=False, help="Tell more in the answer; not for everybody's eyes."),
    cfg.ListOpt(
        "backends",
        default=[],
        help="What is looked at: disable_by_file, disable_by_files_ports, enable_by_files.",
    ),
    cfg.ListOpt("allowed_source_ranges", default=[], help="Networks from which it may be asked; empty: all."),
    cfg.BoolOpt("ignore_proxied_requests", default=False, help="Do not answer requests that came through a proxy."),
    cfg.StrOpt("disable_by_file_path", help="disable_by_file: the service is not well while this file exists."),
    cfg.ListOpt(
        "disable_by_file_paths",
        default=[],
        help="disable_by_files_ports: port:path, the service on that port is not well while the file exists.",
    ),
    cfg.ListOpt("enable_by_file_paths", default=[], help="enable_by_files: it is not well unless all of these exist."),
]


def middleware_settings(conf: Any, pipeline: Pipeline, folders: Sequence[Path]) -> MiddlewareSettings:
    """If neither a paste file nor an option tells what health depends on, it is Glance's own file (C-080).

    :raises ConfigurationError: if a value of the health check cannot be understood.
    """
    file = folders[0] / "healthcheck_disable" if folders else None
    unset = file is not None and not conf.healthcheck.backends
    usual = {"backends": "disable_by_file", "disable_by_file_path": str(file)} if unset else {}
    return MiddlewareSettings(
        cors=CorsSettings(
            allowed_origin=tuple(conf.cors.allowed_origin or ()),
            allow_credentials=conf.cors.allow_credentials,
            expose_headers=tuple(conf.cors.expose_headers),
            max_age=conf.cors.max_age,
            allow_methods=tuple(conf.cors.allow_methods),
            allow_headers=tuple(conf.cors.allow_headers),
        ),
        proxy_headers=conf.oslo_middleware.enable_proxy_headers_parsing,
        gzip=pipeline.gzip,
        health=health_settings(conf.healthcheck, usual if pipeline.health is None else pipeline.health),
        metrics=metrics_settings(conf.glancetx),
    )


def metrics_settings(own: Any) -> MetricsSettings:
    """:raises ConfigurationError: if a network is none."""
    try:
        return MetricsSettings(sources=tuple(ip_network(each) for each in own.metrics_sources))
    except ValueError as error:
        raise ConfigurationError(f"[glancetx] metrics_sources: {error}") from error


def health_settings(group: Any, given: Mapping[str, str]) -> HealthSettings:
    """What the paste file has *given* goes before the options, as in oslo.middleware.

    :raises ConfigurationError: as `middleware_settings`.
    """

    def texts(name: str) -> tuple[str, ...]:
        value = given.get(name, getattr(group, name))
        parts: Iterable[str] = value.split(",") if isinstance(value, str) else value or ()
        return tuple(part.strip() for part in parts if part.strip())

    def flag(name: str) -> bool:
        if name not in given:
            return bool(getattr(group, name))
        from oslo_utils.strutils import bool_from_string  # which compiles hundreds of expressions to hide passwords

        return bool_from_string(given[name])

    backends = texts("backends")
    disabled = given.get("disable_by_file_path", group.disable_by_file_path)
    try:
        ports = [pair.partition(":") for pair in texts("disable_by_file_paths")]
        return HealthSettings(
            detailed=flag("detailed"),
            ignore_proxied=flag("ignore_proxied_requests"),
            sources=tuple(ip_network(each) for each in texts("allowed_source_ranges")),
            disabled_by=Path(disabled) if disabled and "disable_by_file" in backends else None,
            disabled_by_port={int(port): Path(path) for port, _, path in ports}
            if "disable_by_files_ports" in backends
            else {},
            enabled_by=tuple(Path(path) for path in texts("enable_by_file_paths"))
            if "enable_by_files" in backends
            else (),
        )
    except ValueError as error:
        raise ConfigurationError(f"[healthcheck]: {error}") from error
