"""The image cache, with the driver that settings choose, its API, and what looks after it."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from glancetx.access.policy import Policy
from glancetx.assembly.caching import CacheParts
from glancetx.cache.cache import ImageCache
from glancetx.cache.files import CacheFolder
from glancetx.cache.index_db import DatabaseIndex
from glancetx.cache.index_sqlite import SqliteIndex
from glancetx.cache.index_xattr import AttributeIndex
from glancetx.config.settings import CacheSettings
from glancetx.db.cache import CacheRows
from glancetx.db.copies import Copies
from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.interfaces import ICacheIndex
from glancetx.operations.cache import CacheAccess
from glancetx.runtime.threads import Threads
from glancetx.services.cleaner import Cleaner
from glancetx.services.periodic import PeriodicService
from glancetx.services.prefetcher import Prefetcher
from glancetx.services.pruner import Pruner
from glancetx.transfer.download import Downloads
from glancetx.transfer.prefetch import Prefetches
from glancetx.web.cache import CacheRoom, OldCacheRoom

_log = Logger()


def build_cache(settings: CacheSettings, engine: Engine, files: Threads, hashing: Threads, reactor: Any) -> ImageCache:
    """Not started yet."""
    folder = CacheFolder(settings.directory)
    index = choose_index(settings, folder, engine, files)
    return ImageCache(settings, folder, index, Images(engine), Copies(engine), files, hashing, reactor)


def choose_index(settings: CacheSettings, folder: CacheFolder, engine: Engine, files: Threads) -> ICacheIndex:
    """Where extended attributes are wanted and there are none, it is an SQLite file, as in Glance (P-080)."""
    former = settings.directory / settings.sqlite_db
    if settings.driver == "centralized_db":
        assert settings.node is not None
        return DatabaseIndex(CacheRows(engine, settings.node), former, files)
    if settings.driver == "xattr":
        if folder.has_attributes():
            return AttributeIndex(folder, files)
        _log.warn("There are no extended attributes in image_cache_dir; the driver is sqlite")
    return SqliteIndex(former, files)


def build_caching(cache: ImageCache, images: Images, downloads: Downloads, policy: Policy, reactor: Any) -> CacheParts:
    """What is around *cache*."""
    interval = cache.settings.interval
    prefetcher = Prefetcher(reactor, Prefetches(cache, images, downloads), interval)
    services: list[PeriodicService] = [prefetcher, Pruner(reactor, cache, interval), Cleaner(reactor, cache, interval)]
    access = CacheAccess(cache, images, policy, prefetcher.wake)
    rooms = [CacheRoom(access), *([OldCacheRoom(access)] if cache.settings.old_paths else [])]
    return CacheParts(rooms, services, services if interval else [prefetcher])
