"""Image data as files, as Glance lays them out: ``<datadir>/<image id>``, ``file://`` locations (stores.md, 2)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.config.settings import FilesystemSettings
from glancetx.domain.errors import (
    ConfigurationError,
    DataNotFound,
    Forbidden,
    SizeMismatch,
    StoreError,
    StoreFull,
    StoreUnavailable,
    StoreWriteDenied,
)
from glancetx.interfaces import IStore, Stored
from glancetx.runtime.failpoints import reach
from glancetx.runtime.threads import Threads
from glancetx.runtime.undo import undone_by
from glancetx.stores.draft import Draft, sync_folder
from glancetx.stores.uri import file_path, file_url
from glancetx.streams import FileSource, Intake

P = ParamSpec("P")
T = TypeVar("T")

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_NOTHING: Final = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO)


@implementer(IStore)
class FilesystemStore:
    """One data directory. All disk work happens in *threads*; *multiple*: locations carry the store's id.

    The file system needs hard links.
    """

    scheme = "file"
    random_access = True
    read_only = False

    def __init__(self, settings: FilesystemSettings, threads: Threads, multiple: bool) -> None:
        self.identifier = settings.identifier
        self._folder = Path(os.path.abspath(settings.datadir))
        self.url_prefix = file_url(self._folder) + "/"
        self._file_perm = settings.file_perm
        self._metadata = {"store": settings.identifier} if multiple else {}
        self._threads = threads

    async def start(self) -> None:
        """Make the data directory if there is none.

        :raises ConfigurationError: if that is impossible, or it cannot be read, or files could not be with *file_perm*.
        """
        if self._file_perm and self._file_perm & 0o600 != 0o600:
            raise ConfigurationError(
                f"Store {self.identifier}: filesystem_store_file_perm {self._file_perm:o} locks the owner out"
            )
        await self._threads.run(self._prepare)

    async def stop(self) -> None:
        """Nothing is held."""

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        async with Intake(body) as intake:
            draft = self._draft(image_id, attempt)
            async with undone_by(self._run, draft.remove):
                await self._run(draft.create)
                size = await self._write(draft, intake, body.length)
                await self._run(draft.publish)
        return Stored(url=file_url(draft.final), size=size, metadata=self._metadata)

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        opening = _Opening(file_path(url))
        async with undone_by(self._threads.run, opening.close):
            size = await self._look(opening.open)
        available = max(0, size - offset)
        wanted = available if length is None else min(length, available)
        return FileSource(self._threads, opening.descriptor, offset, wanted)

    async def size(self, url: str) -> int:
        return await self._look(_size, file_path(url))

    async def delete(self, url: str) -> None:
        await self._look(_delete, file_path(url))

    async def discard(self, image_id: str, attempt: str) -> None:
        await self._run(self._draft(image_id, attempt).remove)

    async def _write(self, draft: Draft, intake: Intake, length: object) -> int:
        """Write all that comes; returns how much it was. :raises SizeMismatch: if it is not as announced."""
        size = 0
        known = length if isinstance(length, int) else None
        while chunks := await intake.take():
            size += sum(map(len, chunks))
            if known is not None and size > known:
                break
            await self._run(draft.write, chunks)
        if known is not None and size != known:
            raise SizeMismatch(known, size)
        return size

    def _draft(self, image_id: str, attempt: str) -> Draft:
        for part in (image_id, attempt):
            if not part or part.startswith(".") or "/" in part or "\0" in part:
                raise StoreError("The name cannot be that of a file")
        return Draft(self._folder, image_id, attempt, self._file_perm)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it in a thread; errors of the operating system become those of the contract."""
        try:
            return await self._threads.run(function, *args, **kwargs)
        except OSError as error:
            raise _explain(error) from error

    async def _look(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what is done to existing data."""
        try:
            return await self._run(function, *args, **kwargs)
        except StoreError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NOTHING:
                raise DataNotFound("There is no file at the location") from error
            raise

    def _prepare(self) -> None:
        try:
            self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"Store {self.identifier}: {self._folder} is no directory and cannot be made: {error.strerror}"
            ) from error
        if not os.access(self._folder, os.R_OK | os.X_OK):
            raise ConfigurationError(f"Store {self.identifier}: {self._folder} cannot be read")


class _Opening:
    """Opens a file; remembers the descriptor even if nobody waits for the outcome any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = -1

    def open(self) -> int:
        """The size of the file. Does not wait for the other end if somebody put a pipe there."""
        self.descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        return _regular_size(os.fstat(self.descriptor))

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


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
    sync_folder(path.parent)


def _explain(error: OSError) -> StoreError:
    if error.errno in _FULL:
        return StoreFull("The store has no room left")
    if error.errno in _DENIED:
        return StoreWriteDenied("The store may not be written")
    return StoreUnavailable(f"The file system failed: {error.strerror}")
