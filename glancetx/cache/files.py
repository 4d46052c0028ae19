"""The cache's directory, as Glance lays it out (processes.md, P-070). Everything here blocks: call it in a thread.

``<image id>`` is whole; ``incomplete/<image id>`` is being filled; ``invalid/<image id>`` was found to be wrong;
``queue/<image id>`` is empty and asks for the image to be fetched. Several processes share the directory:

- Who fills a file holds its exclusive lock (flock) all the time, so one that is not locked has been left by a process
  that died. It gets its name only when it is locked and marked as ours; Glance's files have neither mark nor lock.
- Who reads a whole file holds a shared lock, so that pruning leaves it alone. The kernel lets go of both with the
  descriptor, however the process ends.
- A whole file is marked with the digest it was compared with, and with the time of its last change then. One without
  that mark (Glance's), or that was written to since, is compared first.

Where the file system has no extended attributes nothing is marked: then whole files are compared again by every
process, and what dead processes left stays until it is stale.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from glancetx.domain.cached import is_image_id
from glancetx.domain.errors import ConfigurationError
from glancetx.runtime.failpoints import reach
from glancetx.runtime.safe_files import sync_folder

VERIFIED: Final = "user.glancetx.verified"
FILLING: Final = "user.glancetx.filling"
_NO_ATTRIBUTES: Final = (errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.ENOSPC, errno.E2BIG)
Identity = tuple[int, int, int]


@frozen
class CachedFile:
    """A whole file that was found."""

    image_id: str
    size: int
    accessed: float
    modified: float


class Opened:
    """A whole file open for reading, and locked; `close` it once, or give the descriptor away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = -1
        self.size = 0
        self.mark: str | None = None
        self.identity: Identity = (0, 0, 0)

    def open(self) -> bool:
        """False if there is no such file. Waits for who has just published it, or is just about to remove it."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            self.descriptor = os.open(self._path, flags)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP):
                return False
            raise
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)
        status = os.fstat(self.descriptor)
        self.size, self.identity = status.st_size, identity_of(status)
        if not stat.S_ISREG(status.st_mode) or not status.st_nlink:
            self.close()
            return False
        with suppress(OSError):
            value, _, when = os.getxattr(self.descriptor, VERIFIED).decode("ascii", "replace").partition(" ")
            self.mark = value if when == str(status.st_mtime_ns) else None
        return True

    def close(self) -> None:
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            os.close(descriptor)


class Turn:
    """What one process at a time may do to the whole directory: hold it meanwhile, and `close` it in any event."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1

    def take(self, *, wait: bool) -> bool:
        """False if another process has it, and we do not *wait*."""
        self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class Draft:
    """One file on its way into the cache. The methods are called one after the other, each in some thread.

    The descriptor stays open after `publish`, so that it can be read; the lock is then a reader's.
    """

    def __init__(self, folder: CacheFolder, image_id: str) -> None:
        self._folder = folder
        self._image_id = image_id
        self._path = folder.incomplete / image_id
        self._named = False
        self.descriptor = -1

    def create(self) -> bool:
        """False if the image is cached, or is being cached by somebody; nothing was made then."""
        if os.path.lexists(self._folder.whole(self._image_id)) or not self._folder.clear_dead(self._path):
            return False
        first = self._path.with_name(f".{self._image_id}.{uuid.uuid4().hex}")
        self.descriptor = os.open(first, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mark(self.descriptor, FILLING, "1")
            os.link(first, self._path)
            self._named = True
            first.unlink()
        except BaseException as error:  # a descriptor left open keeps the lock, and readers waiting
            with suppress(OSError):
                first.unlink(missing_ok=True)
            self.drop()
            if isinstance(error, FileExistsError):
                return False
            raise
        reach("cache.created")
        return True

    def write(self, chunks: list[bytes]) -> None:
        """Append the chunks."""
        data = b"".join(chunks)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]

    def publish(self, verified: str) -> None:
        """Make the file durable and whole: from now on it is served. It takes the image off the queue."""
        reach("cache.filled")
        mark(self.descriptor, VERIFIED, _as_now(verified, os.fstat(self.descriptor)))
        os.fsync(self.descriptor)
        reach("cache.synced")
        os.rename(self._path, self._folder.whole(self._image_id))
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)
        self._named = False
        sync_folder(self._folder.path)
        reach("cache.published")
        self._folder.unqueue(self._image_id)

    def reject(self) -> None:
        """Keep what was written as invalid, for people to look at; it is never served."""
        os.rename(self._path, self._folder.invalid / self._image_id)
        self._named = False

    def abandon(self) -> None:
        """Leave nothing. The descriptor stays open for those who read."""
        if self._named:
            self._named = False
            self._path.unlink(missing_ok=True)

    def drop(self) -> None:
        """Leave nothing, of a draft that nobody reads."""
        try:
            self.abandon()
        finally:
            self.close()

    def close(self) -> None:
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            os.close(descriptor)


class CacheFolder:
    """The directory at *path*."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.incomplete, self.invalid, self.queue = (path / name for name in ("incomplete", "invalid", "queue"))

    def prepare(self) -> None:
        """Make the folders. :raises ConfigurationError: if that is impossible, or they cannot be written."""
        try:
            for folder in (self.incomplete, self.invalid, self.queue):
                folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"image_cache_dir = {self.path} cannot be made: {error.strerror}") from error
        if not os.access(self.incomplete, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigurationError(f"image_cache_dir = {self.path} cannot be written")

    def has_attributes(self) -> bool:
        """Whether files can have extended attributes here. :raises ConfigurationError: as `prepare`."""
        self.prepare()
        path = self.incomplete / f".attributes.{os.getpid()}"
        try:
            path.touch()
            os.setxattr(path, FILLING, b"0")
        except OSError:
            return False
        finally:
            path.unlink(missing_ok=True)
        return True

    def whole(self, image_id: str) -> Path:
        return self.path / image_id

    def opened(self, image_id: str) -> Opened:
        """Not open yet."""
        return Opened(self.whole(image_id))

    def draft(self, image_id: str) -> Draft:
        return Draft(self, image_id)

    def cached(self) -> list[CachedFile]:
        """All whole files."""
        return list(self._files(self.path))

    def queued(self) -> list[str]:
        """The ids on the queue, the oldest first."""
        found = sorted((file.modified, file.image_id) for file in self._files(self.queue))
        return [image_id for _, image_id in found]

    def is_cached(self, image_id: str) -> bool:
        return is_image_id(image_id) and os.path.lexists(self.whole(image_id))

    def enqueue(self, image_id: str) -> bool:
        """False if the image is cached, queued or being cached, or cannot be."""
        if not is_image_id(image_id) or self.is_cached(image_id) or os.path.lexists(self.incomplete / image_id):
            return False
        try:
            os.close(os.open(self.queue / image_id, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
        except FileExistsError:
            return False
        return True

    def unqueue(self, image_id: str) -> bool:
        """Whether it was queued."""
        return is_image_id(image_id) and _unlink(self.queue / image_id)

    def remove(self, image_id: str) -> bool:
        """Remove the whole file, even if it is being read: those who do have it open. Tells whether it was there."""
        return is_image_id(image_id) and _unlink(self.whole(image_id))

    def remove_unused(self, image_id: str) -> bool:
        """Remove the whole file if nobody reads it."""
        path = self.whole(image_id)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _unlink(path)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        reach("cache.pruned")
        return True

    def condemn(self, image_id: str) -> None:
        """Move the whole file to the invalid ones; whoever reads it goes on."""
        with suppress(OSError):
            os.utime(self.whole(image_id), follow_symlinks=False)  # who has it open sees that it is not as it was
        with suppress(FileNotFoundError):
            os.rename(self.whole(image_id), self.invalid / image_id)

    def clear_dead(self, path: Path) -> bool:
        """Remove an incomplete file whose process died; False if somebody may be at work on it."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.getxattr(descriptor, FILLING)
            if _same(descriptor, path):
                path.unlink(missing_ok=True)
        except OSError:  # locked, or not marked as ours
            return False
        finally:
            os.close(descriptor)
        return True

    def clean(self, older_than: float) -> int:
        """Remove all that is invalid, and of what is incomplete what is dead or stale; returns how many files."""
        removed = sum(_unlink(path) for path in self._paths(self.invalid))
        for path in self._paths(self.incomplete):
            removed += self._clean_incomplete(path, older_than)
        return removed

    def _clean_incomplete(self, path: Path, older_than: float) -> bool:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_mtime < older_than or _is_marked(descriptor):
                return _same(descriptor, path) and _unlink(path)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)
        return False

    def turn(self) -> Turn:
        """Not taken yet."""
        return Turn(self.invalid)

    def _files(self, folder: Path) -> Iterator[CachedFile]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_image_id(entry.name) and entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        found = entry.stat(follow_symlinks=False)
                        yield CachedFile(entry.name, found.st_size, found.st_atime, found.st_mtime)

    def _paths(self, folder: Path) -> list[Path]:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if entry.is_file(follow_symlinks=False)]


def mark(descriptor: int, name: str, value: str) -> None:
    """Set the attribute, where there are any."""
    try:
        os.setxattr(descriptor, name, value.encode())
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTES:
            raise


def verified(path: Path, identity: Identity, value: str) -> None:
    """Mark the whole file at *path* as compared, if it still is the one of that identity."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if identity_of(status) == identity:
            mark(descriptor, VERIFIED, _as_now(value, status))
    finally:
        os.close(descriptor)


def identity_of(status: os.stat_result) -> Identity:
    """What is the same as long as it is one file, and nobody writes to it."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def _as_now(value: str, status: os.stat_result) -> str:
    """What a file is marked with that is *value* now, and as long as nobody writes to it."""
    return f"{value} {status.st_mtime_ns}"


def stale_before(stall_time: float) -> float:
    return time.time() - stall_time


def _is_marked(descriptor: int) -> bool:
    try:
        os.getxattr(descriptor, FILLING)
    except OSError:
        return False
    return True


def _same(descriptor: int, path: Path) -> bool:
    try:
        found, here = os.stat(path, follow_symlinks=False), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (here.st_dev, here.st_ino)


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
