"""Where data waits for its import: the staging directory (processes.md, P-014, P-085)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from attrs import frozen
from twisted.logger import Logger
from twisted.web.iweb import IBodyProducer

from glancetx.config.settings import FilesystemSettings
from glancetx.domain.errors import ConfigurationError, DataNotFound, StoreWriteDenied
from glancetx.runtime.threads import Threads
from glancetx.stores.filesystem import FilesystemStore
from glancetx.stores.uri import file_url

STAGING_STORE: Final = "os_glance_staging_store"

_NAME: Final = re.compile(
    r"\.?(?P<image>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?:\.(?P<attempt>[0-9a-f]{32}))?(?:\..*)?"
)


@frozen
class StagedFile:
    """A file in the staging directory, by its *name*: of which image, and of which attempt if it is not whole."""

    name: str
    inode: int
    image_id: str
    attempt: str | None


class StagingArea:
    """The staging directory: one file for each image, as `FilesystemStore` keeps them."""

    def __init__(self, folder: Path, threads: Threads) -> None:
        self.folder = folder
        self._threads = threads
        self._usable = False
        self._store = FilesystemStore(
            FilesystemSettings(identifier=STAGING_STORE, datadir=folder), threads, multiple=False
        )
        self._log = Logger()

    async def start(self) -> None:
        """Make the directory. If that is impossible the service does without staging, as Glance (C-006)."""
        try:
            await self._store.start()
            self._usable = True
        except ConfigurationError as error:
            self._log.warn("nothing can be staged: {why}", why=str(error))

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> int:
        """Keep all bytes of *body*; returns how many. Errors are those of `IStore.add`."""
        if not self._usable:
            body.stopProducing()
            raise StoreWriteDenied("The staging directory cannot be written")
        return (await self._store.add(image_id, body, attempt)).size

    async def open(self, name: str) -> IBodyProducer:
        """:raises DataNotFound: if there is no such file."""
        return await self._store.get(self._url(name))

    async def size(self, name: str) -> int | None:
        """The number of bytes of a staged file, None if it is not here."""
        try:
            return await self._store.size(self._url(name))
        except DataNotFound:
            return None

    async def remove(self, name: str) -> None:
        """Remove a staged file; to find none is success."""
        try:
            await self._store.delete(self._url(name))
        except DataNotFound:
            self._log.debug("{name} was not staged here", name=name)

    async def discard(self, image_id: str, attempt: str) -> None:
        """Remove what an `add` of *attempt* left."""
        if self._usable:
            await self._store.discard(image_id, attempt)

    async def listed(self) -> list[StagedFile]:
        """All files that belong to some image; others are none of our business."""
        return await self._threads.run(self._list) if self._usable else []

    async def remove_listed(self, file: StagedFile) -> bool:
        """Remove that very file, and not one that has taken its name meanwhile; tells whether it was there."""
        return await self._threads.run(self._remove_listed, file)

    def _list(self) -> list[StagedFile]:
        with os.scandir(self.folder) as entries:
            return [
                StagedFile(entry.name, entry.inode(), found["image"], found["attempt"])
                for entry in entries
                if (found := _NAME.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False)
            ]

    def _remove_listed(self, file: StagedFile) -> bool:
        path = self.folder / file.name
        try:
            if path.lstat().st_ino != file.inode:
                return False
            path.unlink()
        except FileNotFoundError:
            return False
        return True

    def _url(self, name: str) -> str:
        return file_url(self.folder.absolute() / name)
