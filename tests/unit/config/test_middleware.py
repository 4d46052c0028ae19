"""What surrounds the routes, as options and paste files tell it (C-079..C-081, C-003, C-096)."""

from __future__ import annotations

import textwrap
from ipaddress import ip_network
from pathlib import Path

import pytest

from glancetx.config.loading import load_settings
from glancetx.config.settings import MiddlewareSettings
from glancetx.domain.errors import ConfigurationError

PASTE = """
[composite:glance-api]
paste.composite_factory = glance.api:root_app_factory
/: api
/healthcheck: health
[composite:api]
paste.composite_factory = glance.api:pipeline_factory
default = cors http_proxy_to_wsgi unauthenticated-context rootapp
caching = cors squeeze unauthenticated-context cache rootapp
[app:health]
paste.app_factory = oslo_middleware:Healthcheck.app_factory
backends = disable_by_file
disable_by_file_path = %(here)s/down
[filter:squeeze]
paste.filter_factory = glance.api.middleware.gzip:GzipMiddleware.factory
[composite:glance-api-caching]
/: api
/healthcheck: health
"""
OLD_PASTE = """
[pipeline:glance-api]
pipeline = cors healthcheck http_proxy_to_wsgi gzip unauthenticated-context rootapp
[filter:gzip]
paste.filter_factory = glance.api.middleware.gzip:GzipMiddleware.factory
[filter:healthcheck]
paste.filter_factory = oslo_middleware:Healthcheck.factory
backends = enable_by_files, disable_by_files_ports
enable_by_file_paths = /one,/two
disable_by_file_paths = 9292:/down, 9293:/other
"""


def load(folder: Path, options: str = "", paste: str | None = None) -> MiddlewareSettings:
    (folder / "glance-api.conf").write_text(textwrap.dedent(options))
    if paste is not None:
        (folder / "glance-api-paste.ini").write_text(paste)
    return load_settings([folder / "glance-api.conf"], data_dir=folder, environ={}).middleware


def test_defaults(tmp_path: Path) -> None:
    """No page of another origin, no proxy, no compression; one file disables the service."""
    settings = load(tmp_path)
    assert (settings.cors.allowed_origin, settings.proxy_headers, settings.gzip) == ((), False, False)
    assert settings.health.disabled_by == tmp_path / "healthcheck_disable"


def test_options(tmp_path: Path) -> None:
    """The options of oslo.middleware."""
    options = """
        [cors]
        allowed_origin = https://a.example,https://b.example
        max_age = 5
        [oslo_middleware]
        enable_proxy_headers_parsing = true
        [healthcheck]
        detailed = true
        allowed_source_ranges = 10.0.0.0/8,fe80::/10
    """
    settings = load(tmp_path, options)
    assert settings.cors.allowed_origin == ("https://a.example", "https://b.example")
    assert settings.cors.max_age == 5
    assert "PATCH" in settings.cors.allow_methods
    assert settings.proxy_headers
    assert settings.health.detailed
    assert settings.health.sources == (ip_network("10.0.0.0/8"), ip_network("fe80::/10"))


def test_paste_file(tmp_path: Path) -> None:
    """The file beside the configuration: which filters the chosen pipeline has, and how health is told."""
    settings = load(tmp_path, paste=PASTE)
    assert not settings.gzip
    assert settings.health.disabled_by == tmp_path / "down"
    assert load(tmp_path, "[paste_deploy]\nflavor = caching\n").gzip


def test_old_paste_file(tmp_path: Path) -> None:
    """The form of earlier releases, where health is a filter."""
    settings = load(tmp_path, paste=OLD_PASTE)
    assert settings.gzip
    assert settings.health.disabled_by is None
    assert settings.health.enabled_by == (Path("/one"), Path("/two"))
    assert settings.health.disabled_by_port == {9292: Path("/down"), 9293: Path("/other")}


@pytest.mark.parametrize(
    ("options", "paste"),
    [
        ("[paste_deploy]\nconfig_file = elsewhere.ini\n", None),
        ("", "no section"),
        ("[healthcheck]\nallowed_source_ranges = everywhere\n", None),
        (
            "[healthcheck]\nbackends = disable_by_files_ports\ndisable_by_file_paths = x:/down\n",
            PASTE.replace("[app:", "[x:"),
        ),
        ("[cors]\nmax_age = long\n", None),
    ],
)
def test_unusable(tmp_path: Path, options: str, paste: str | None) -> None:
    """What cannot be understood prevents the start."""
    with pytest.raises(ConfigurationError):
        load(tmp_path, options, paste)
