"""Our stores pass the suite that every store has to pass."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import cast

import pytest
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock

from glancetx.config.settings import FilesystemSettings
from glancetx.interfaces import IStore
from glancetx.runtime.threads import Threads
from glancetx.stores.filesystem import FilesystemStore
from glancetx.testing.fakes import MemoryStore
from glancetx.testing.stores import StoreTests, the_reactor


class TestMemoryStore(StoreTests):
    """The one in memory."""

    async def make_store(self) -> IStore:
        return MemoryStore()

    async def remains(self, store: IStore) -> Collection[str]:
        return cast(MemoryStore, store).urls


class TestFilesystemStore(StoreTests):
    """The one in a directory."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> Path:
        self.path = tmp_path / "images"
        return self.path

    async def make_store(self) -> IStore:
        self.threads = Threads(cast(IReactorFromThreads, the_reactor()), "files", 4)
        self.threads.start()
        return FilesystemStore(self.settings(), self.threads, multiple=False, clock=Clock())

    def settings(self) -> FilesystemSettings:
        return FilesystemSettings(datadir=self.path)

    async def dispose(self, store: IStore) -> None:
        await self.threads.stop()

    async def remains(self, store: IStore) -> Collection[str]:
        return [path.name for path in self.path.iterdir()]


class TestThinStore(TestFilesystemStore):
    """The one that makes holes."""

    def settings(self) -> FilesystemSettings:
        return FilesystemSettings(datadir=self.path, thin=True)


class TestFoldersStore(TestFilesystemStore):
    """The one in several directories."""

    def settings(self) -> FilesystemSettings:
        return FilesystemSettings(datadirs=tuple((self.path / name, 1) for name in "ab"))

    async def remains(self, store: IStore) -> Collection[str]:
        return [path.name for path in self.path.glob("?/*")]
