"""Image data as files, as Glance lays them out: ``<datadir>/<image id>``, ``file://`` locations (stores.md, 2)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Lock
from typing import Final, ParamSpec, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.config.settings import FilesystemSettings
from glancetx.domain.errors import (
    ConfigurationError,
    Conflict,
    DataNotFound,
    Forbidden,
    RemovalUnknown,
    SizeMismatch,
    StoreError,
    StoreFull,
    StoreUnavailable,
    StoreWriteDenied,
)
from glancetx.domain.listed import Item, Kept, Page
from glancetx.interfaces import IListing, IStore, Stored
from glancetx.runtime.failpoints import reach
from glancetx.runtime.safe_files import sync_folder
from glancetx.runtime.threads import Threads
from glancetx.runtime.undo import undone_by
from glancetx.stores.draft import Draft
from glancetx.stores.folder_listing import FolderListing
from glancetx.stores.folders import Folders
from glancetx.stores.lookups import Lookups, TooSlow
from glancetx.stores.uri import file_path, file_url
from glancetx.streams import FileSource, Intake
from glancetx.streams.open_files import OpenFile, OpenFiles

P = ParamSpec("P")
T = TypeVar("T")

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_NOTHING: Final = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO)


@implementer(IStore, IListing)
class FilesystemStore:
    """Data directories, of which one or more have images. *multiple*: locations carry the store's id.

    All disk work happens in *threads*; but with *lookups*, to find, open or delete a file has a time limit. The file
    systems need hard links. With a *clock*, files that are read stay open for a moment.
    """

    scheme = "file"
    random_access = True
    read_only = False

    def __init__(
        self,
        settings: FilesystemSettings,
        threads: Threads,
        multiple: bool,
        lookups: Lookups | None = None,
        clock: IReactorTime | None = None,
    ) -> None:
        self.identifier = settings.identifier
        self._settings = settings
        self._folders = Folders(settings)
        self._listing = FolderListing(self._folders)
        self.url_prefix = file_url(self._folders.all[0]) + "/"
        self._metadata = {"store": settings.identifier} if multiple else {}
        self._threads = threads
        self._lookups = lookups
        self._open_files = OpenFiles[OpenFile](clock)
        self._adding: set[str] = set()

    async def start(self) -> None:
        """Make the data directories that are missing; what is to be mounted may yet be missing.

        :raises ConfigurationError: if one cannot be made or read, or files could not be with *file_perm*.
        """
        perm = self._settings.file_perm
        if perm and perm & 0o600 != 0o600:
            raise ConfigurationError(
                f"Store {self.identifier}: filesystem_store_file_perm {perm:o} locks the owner out"
            )
        await self._threads.run(self._folders.prepare)
        if self._lookups is not None:
            self._lookups.start()

    async def stop(self) -> None:
        self._open_files.close()
        if self._lookups is not None:
            await self._lookups.stop()

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        async with Intake(body, seconds=self._threads.seconds) as intake:
            check_name(image_id)
            if len(self._folders.all) > 1 and image_id in self._adding:  # in one directory the final name decides
                raise Conflict("The store is receiving data of this image already")
            self._adding.add(image_id)
            try:
                known = body.length if isinstance(body.length, int) else 0
                draft = self._draft(await self._look(self._folders.choose, image_id, known), image_id, attempt)
                async with undone_by(self._run, draft.remove):
                    await self._run(draft.create)
                    size = await self._write(draft, intake, body.length)
                    await self._run(draft.publish)
            finally:
                self._adding.discard(image_id)
        metadata = {**self._folders.metadata_of(draft.final), **self._metadata}
        return Stored(url=file_url(draft.final), size=size, metadata=metadata)

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        file = self._open_files.find(url) or await self._open(url)
        available = max(0, file.size - offset)
        wanted = available if length is None else min(length, available)
        return FileSource(self._threads, file.descriptor, offset, wanted, file.leave)

    async def _open(self, url: str) -> OpenFile:
        path = file_path(url)
        opening = _Opening(path)
        async with undone_by(self._threads.run, opening.close):
            size = await self._find(path, opening.open)
        return self._open_files.share(url, OpenFile(opening.descriptor, size, self._threads))

    async def size(self, url: str) -> int:
        path = file_path(url)
        return await self._find(path, _size, path)

    async def delete(self, url: str) -> None:
        await self._delete(file_path(url))

    async def discard(self, image_id: str, attempt: str) -> None:
        check_name(image_id)
        for folder in self._folders.all:
            await self._look(self._discard, folder, image_id, attempt)

    async def page(self, marker: str, limit: int) -> Page:
        return await self._look(self._listing.page, marker, limit)

    async def look(self, item: Item) -> Kept | None:
        return await self._look(self._listing.look, item)

    async def is_same(self, item: Item, url: str) -> bool:
        return await self._look(self._listing.is_same, item, url)

    async def remove(self, item: Item) -> None:
        await self._delete(Path(item.name))

    async def _delete(self, path: Path) -> None:
        try:
            await self._find(path, _delete, path)
        except TooSlow as error:
            raise RemovalUnknown(str(error)) from error
        finally:
            self._open_files.forget(file_url(path))

    def _discard(self, folder: Path, image_id: str, attempt: str) -> None:
        self._folders.check(folder)
        self._draft(folder, image_id, attempt).remove()

    async def _write(self, draft: Draft, intake: Intake, length: object) -> int:
        """Write all that comes; returns how much it was. :raises SizeMismatch: if it is not as announced."""
        size = 0
        known = length if isinstance(length, int) else None
        while chunks := await intake.take():
            size += sum(map(len, chunks))
            if known is not None and size > known:
                break
            run = self._threads.run_soon if intake.unhurried else self._threads.run
            await _explained(run(draft.write, chunks))
            del chunks  # or they would stay until the next ones have come
        if known is not None and size != known:
            raise SizeMismatch(known, size)
        return size

    def _draft(self, folder: Path, image_id: str, attempt: str) -> Draft:
        check_name(attempt)
        holes = self._settings.chunk_size if self._settings.thin else 0
        return Draft(folder, image_id, attempt, self._settings.file_perm, holes)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it in a thread; errors of the operating system become those of the contract."""
        return await _explained(self._threads.run(function, *args, **kwargs))

    async def _look(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same, within the time limit if there is one."""
        if self._lookups is None:
            return await self._run(function, *args, **kwargs)
        return await _explained(self._lookups.run(function, *args, **kwargs))

    async def _find(self, path: Path, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what is done to existing data; where the disk is not mounted nobody knows whether it exists."""
        try:
            return await self._look(function, *args, **kwargs)
        except StoreError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NOTHING:
                await self._look(self._folders.check_above, path)
                raise DataNotFound("There is no file at the location") from error
            raise


class _Opening:
    """Opens a file; remembers the descriptor even if nobody waits for the outcome any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._closed = False
        self.descriptor = -1

    def open(self) -> int:
        """The size of the file. Does not wait for the other end if somebody put a pipe there."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with self._lock:
            if self._closed:  # somebody has waited too long
                os.close(descriptor)
                return 0
            self.descriptor = descriptor
        return _regular_size(os.fstat(descriptor))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self.descriptor >= 0:
                os.close(self.descriptor)
                self.descriptor = -1


def check_name(text: str) -> None:
    """:raises StoreError: if a file cannot be named like this."""
    if not text or text.startswith(".") or "/" in text or "\0" in text:
        raise StoreError("The name cannot be that of a file")


def _size(path: Path) -> int:
    return _regular_size(path.stat())


def _regular_size(status: os.stat_result) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise DataNotFound("There is no file at the location")
    return status.st_size


def _delete(path: Path) -> None:
    try:
        path.unlink()
    except PermissionError as error:
        raise Forbidden("The store may not delete this file") from error
    reach("store.unlinked")
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise RemovalUnknown(f"The file system failed: {error.strerror}") from error


async def _explained(work: Awaitable[T]) -> T:
    """What *work* gives; errors of the operating system become those of the contract."""
    try:
        return await work
    except OSError as error:
        raise _explain(error) from error


def _explain(error: OSError) -> StoreError:
    if error.errno in _FULL:
        return StoreFull("The store has no room left")
    if error.errno in _DENIED:
        return StoreWriteDenied("The store may not be written")
    return StoreUnavailable(f"The file system failed: {error.strerror}")
