"""The image cache: Glance's options, and ours beside them (config.md, C-030..C-034)."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from oslo_config import cfg

from glancetx.config.paste import Pipeline
from glancetx.config.settings import CacheSettings
from glancetx.domain.errors import ConfigurationError

IMAGE_CACHE = [
    cfg.StrOpt("image_cache_dir", help="Folder of the image cache of this node; unset: there is none."),
    cfg.StrOpt(
        "image_cache_driver",
        default="centralized_db",
        choices=["centralized_db", "sqlite", "xattr"],
        ignore_case=True,
        help="Where is kept which images are cached, and how they are used.",
    ),
    cfg.IntOpt("image_cache_max_size", default=10 * 1024**3, min=0, help="Bytes to which the cache is pruned."),
    cfg.IntOpt("image_cache_stall_time", default=86400, min=0, help="Seconds after which a file is left incomplete."),
    cfg.StrOpt("image_cache_sqlite_db", default="cache.db", help="The file of the driver sqlite, in the folder."),
]

OWN = [
    cfg.BoolOpt(
        "cache_downloads",
        help="Cache what is downloaded; unset: if the pipeline has the cache, and always with built-in accounts.",
    ),
    cfg.FloatOpt(
        "cache_interval",
        default=60.0,
        min=0,
        help="Seconds between two looks at the cache, to prune, clean and fetch; 0: only when asked.",
    ),
]


def cache_settings(conf: Any, pipeline: Pipeline, authentication: str) -> CacheSettings | None:
    """None if there is no cache.

    :raises ConfigurationError: if the node has no name among others, as in Glance (C-006), or a file no name.
    """
    if not conf.image_cache_dir:
        return None
    driver, node = conf.image_cache_driver.lower(), conf.worker_self_reference_url
    if driver == "centralized_db" and not node:
        if authentication != "builtin":
            raise ConfigurationError("image_cache_driver = centralized_db needs worker_self_reference_url")
        node = f"https://{socket.gethostname()}"
    name = conf.image_cache_sqlite_db
    if not name or Path(name).name != name:
        raise ConfigurationError(f"image_cache_sqlite_db = {name}: not the name of a file")
    own = conf.glancetx
    chosen = own.cache_downloads
    return CacheSettings(
        directory=Path(conf.image_cache_dir).absolute(),
        driver=driver,
        node=node,
        max_size=conf.image_cache_max_size,
        stall_time=conf.image_cache_stall_time,
        sqlite_db=name,
        downloads=pipeline.cache or authentication == "builtin" if chosen is None else chosen,
        old_paths=pipeline.cache_manage or authentication == "builtin",
        interval=own.cache_interval,
    )
