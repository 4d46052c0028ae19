"""The default store of a configuration file, built as the service builds it."""

from __future__ import annotations

from pathlib import Path

from glancetx.assembly.stores import StoreBuilder
from glancetx.config.loading import load_settings
from glancetx.interfaces import IStore
from glancetx.runtime.threads import Threads


def choose(config: Path, files: Threads, hashing: Threads) -> IStore:
    from twisted.internet import reactor

    settings = load_settings([config])
    found = (*settings.stores.filesystems, *settings.stores.others)[0]
    return StoreBuilder(settings, reactor, files, hashing).build(found)
