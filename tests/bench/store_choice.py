"""The default store of a configuration file, built as the service builds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glancetx.config.loading import load_settings
from glancetx.config.settings import ClientTlsSettings, FilesystemSettings
from glancetx.config.store_settings import S3Settings, SwiftSettings
from glancetx.interfaces import IStore
from glancetx.outgoing.client import HttpClient
from glancetx.outgoing.retries import Retries
from glancetx.runtime.threads import Threads
from glancetx.stores.filesystem import FilesystemStore
from glancetx.stores.s3 import S3Store
from glancetx.stores.swift import SwiftStore
from glancetx.stores.swift_sessions import SwiftSessions


def choose(config: Path, files: Threads, hashing: Threads) -> IStore:
    from twisted.internet import reactor as installed

    reactor: Any = installed
    settings = load_settings([config]).stores
    found = (*settings.filesystems, *settings.others)[0]
    if isinstance(found, FilesystemSettings):
        return FilesystemStore(found, files, multiple=False)
    client, retries = HttpClient(reactor), Retries(reactor)
    if isinstance(found, SwiftSettings):
        sessions = SwiftSessions(found, reactor, ClientTlsSettings())
        return SwiftStore(found, sessions, client, retries, files, multiple=False)
    assert isinstance(found, S3Settings)
    return S3Store(found, client, retries, hashing, multiple=False)
