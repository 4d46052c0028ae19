"""How a file comes into being in a data directory, all or nothing. Everything here blocks: call it in a thread.

The bytes go to ``.<image id>.<attempt>.part``; when they are on the disk, that file gets its final name, the image id,
as a second name, and loses the first one. No step ever replaces a file.

To whom does a file with its final name belong, after a crash? It carries the id of its attempt: in an extended
attribute or, where the file system has none, in the nanoseconds of its modification time. So an attempt's remains are
told from the data of another one, and Glance may read and delete the file as it is.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from glancetx.domain.errors import Conflict
from glancetx.runtime.failpoints import reach
from glancetx.runtime.safe_files import sync_folder
from glancetx.stores.zeros import written_parts

MARK: Final = "user.glancetx.attempt"
FLUSH: Final = 8 * 1024 * 1024  # bytes after which the kernel is told to begin writing, so that the final sync is short
MOST_CHUNKS: Final = 1024  # that writev takes at once

_NO_ATTRIBUTES: Final = (errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.ENOSPC, errno.E2BIG)


class Draft:
    """One attempt to write one file. The methods are called one after the other, each in some thread.

    They raise OSError as it comes. After `remove`, nothing of the attempt is left. *holes*: chunks of so many zeros are
    not written; 0: everything is.
    """

    def __init__(self, folder: Path, image_id: str, attempt: str, file_perm: int = 0, holes: int = 0) -> None:
        self._folder, self._image_id, self._attempt = folder, image_id, attempt
        self._file_perm, self._holes = file_perm, holes
        self._descriptor = -1
        self._written = self._flushed = 0

    # Made when they are needed: as long as an upload lasts, two Paths would take 0.8 KiB.

    @property
    def final(self) -> Path:
        return self._folder / self._image_id

    @property
    def _part(self) -> Path:
        return self._folder / f".{self._image_id}.{self._attempt}.part"

    def create(self) -> None:
        """:raises Conflict: if the image has data already."""
        if os.path.lexists(self.final):
            raise Conflict("The store holds data of this image already")
        self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if self._file_perm:
            os.fchmod(self._descriptor, self._file_perm)
        reach("store.created")

    def write(self, chunks: list[bytes]) -> None:
        """Append the chunks."""
        size = sum(map(len, chunks))
        if self._holes:
            self._write_parts(b"".join(chunks))
        else:
            self._write_all([b"".join(chunks)] if len(chunks) > MOST_CHUNKS else chunks, size)
        self._written += size
        if self._written - self._flushed >= FLUSH:
            self._start_flush()

    def _write_all(self, chunks: list[bytes], size: int) -> None:
        done = os.writev(self._descriptor, chunks)
        if done < size:
            rest = memoryview(b"".join(chunks))[done:]
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def _write_parts(self, data: bytes) -> None:
        view = memoryview(data)
        for begin, end in written_parts(data, self._written, self._holes):
            while begin < end:
                begin += os.pwrite(self._descriptor, view[begin:end], self._written + begin)

    def publish(self) -> None:
        """Make what was written durable, and visible under its final name.

        :raises Conflict: if another attempt was faster.
        """
        reach("store.written")
        if self._holes:
            os.ftruncate(self._descriptor, self._written)  # the end may be a hole
        self._mark()
        os.fsync(self._descriptor)
        reach("store.synced")
        try:
            os.link(self._part, self.final)
        except FileExistsError:
            raise Conflict("The store holds data of this image already") from None
        reach("store.linked")
        self._part.unlink()
        sync_folder(self._folder)
        reach("store.published")
        self._close()

    def remove(self) -> None:
        """Undo everything, from whichever state, also of an attempt that some dead process made."""
        self._close()
        # The final name goes first: as long as the other one is there, nobody doubts whose file it is.
        found = self._remove_final()
        if os.path.lexists(self._part):
            self._part.unlink(missing_ok=True)
            found = True
        if found:
            sync_folder(self._folder)

    def _remove_final(self) -> bool:
        """Take the file aside, and look there again whose it is: one that slept may find that of a newer attempt.

        That gets its name back; tells whether there was one of ours.
        """
        aside = self._folder / f".{self._image_id}.{self._attempt}.gone"
        found = self._clear(aside)  # killed in between
        if not self._owns(self.final):
            return found
        with suppress(FileNotFoundError):
            self.final.rename(aside)
        reach("store.aside")
        return self._clear(aside) or found

    def _clear(self, aside: Path) -> bool:
        if not os.path.lexists(aside):
            return False
        ours = self._owns(aside)
        if not ours and not (self.final.exists() and self.final.samefile(aside)):
            os.link(aside, self.final)
        aside.unlink(missing_ok=True)
        return ours

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _start_flush(self) -> None:
        """Tell the kernel that these pages are not needed: it begins to write them, and drops none that are dirty."""
        os.posix_fadvise(self._descriptor, self._flushed, self._written - self._flushed, os.POSIX_FADV_DONTNEED)
        self._flushed = self._written

    def _mark(self) -> None:
        try:
            os.setxattr(self._descriptor, MARK, self._attempt.encode())
        except OSError as error:
            if error.errno not in _NO_ATTRIBUTES:
                raise
            now = os.fstat(self._descriptor)
            second = now.st_mtime_ns // 10**9 * 10**9
            os.utime(self._descriptor, ns=(now.st_atime_ns, second + self._nanoseconds()))

    def _owns(self, path: Path) -> bool:
        try:
            final = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        try:
            part = os.stat(self._part, follow_symlinks=False)
        except FileNotFoundError:
            pass
        else:
            return (part.st_dev, part.st_ino) == (final.st_dev, final.st_ino)
        try:
            return os.getxattr(path, MARK, follow_symlinks=False) == self._attempt.encode()
        except OSError:
            return final.st_mtime_ns % 10**9 == self._nanoseconds()

    def _nanoseconds(self) -> int:
        return int(self._attempt, 16) % 10**9
