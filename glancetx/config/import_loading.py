"""From options to the settings of imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from attrs import fields

from glancetx.config.settings import DownloadSettings, ImportSettings
from glancetx.domain.errors import ConfigurationError
from glancetx.domain.importing import AVAILABLE, METHODS

STAGING_STORE_DIR: Final = "/var/lib/glance/os_glance_staging_store"
STAGING_URI: Final = "file:///tmp/staging/"  # Glance's default


def import_settings(conf: Any, folder: Path, configured: bool) -> ImportSettings:
    """:raises ConfigurationError: if a method is unknown, or the staging area is not a directory's URL."""
    wanted = METHODS[:3] if conf.enabled_import_methods is None else tuple(conf.enabled_import_methods)
    if unknown := set(wanted) - set(METHODS):
        raise ConfigurationError(f"enabled_import_methods: there is no {', '.join(sorted(unknown))}")
    return ImportSettings(
        methods=tuple(method for method in wanted if method in AVAILABLE),
        staging=staging_folder(conf, folder, configured),
        node_url=conf.worker_self_reference_url or conf.public_endpoint,
        at_once=conf.wsgi.task_pool_threads,
        copied_properties=tuple(conf.glance_download_properties.extra_properties),
        task_time_to_live=conf.task.task_time_to_live,
    )


def download_settings(own: Any) -> DownloadSettings:
    """Of the group ``[glancetx]``."""
    names = {field.name for field in fields(DownloadSettings)} - {"fetch_cafile"}
    cafile = Path(own.fetch_cafile) if own.fetch_cafile else None
    return DownloadSettings(fetch_cafile=cafile, **{name: getattr(own, name) for name in names})


def staging_folder(conf: Any, folder: Path, configured: bool) -> Path:
    """Where Glance would stage (S-002, S-111)."""
    if conf.enabled_backends:
        return Path(conf.os_glance_staging_store.filesystem_store_datadir or STAGING_STORE_DIR)
    uri = conf.node_staging_uri or (STAGING_URI if configured else f"file://{folder}/staging")
    path = uri.removeprefix("file://")
    if path == uri or not path.startswith("/"):
        raise ConfigurationError(f"node_staging_uri = {uri}: not file:// and an absolute path")
    return Path(path)
