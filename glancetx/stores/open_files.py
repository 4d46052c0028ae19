"""Files that are open already: who reads a piece of an image mostly comes back for the next one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from glancetx.runtime.threads import Threads
from glancetx.streams.sources import close_file

KEPT: Final = 1.0
"""Seconds after which a path is opened anew, in case that the open file is not what one finds there."""
MOST: Final = 64


class OpenFile:
    """A regular file, open for so many *readers*, and for those who may come if it is *kept*."""

    kept = False

    def __init__(self, descriptor: int, size: int, threads: Threads) -> None:
        self.descriptor, self.size = descriptor, size
        self.readers = 1
        self._threads = threads

    def look(self) -> bool:
        """Renew *size*; False if the file has no name any more: it was deleted, or replaced."""
        status = os.fstat(self.descriptor)
        self.size = status.st_size
        return status.st_nlink > 0

    def leave(self) -> None:
        """One reader less; the file is closed if he was the last one."""
        self.readers -= 1
        self.close_unused()

    def close_unused(self) -> None:
        if not self.readers and not self.kept:
            closing = Deferred.fromCoroutine(close_file(self._threads, self.descriptor))
            closing.addErrback(lambda _: None)  # nobody is left to be told


class OpenFiles:
    """Keeps files open for some time after they were opened; without a *clock* only as long as they are read.

    A file that is deleted, in whatever process, or replaced, has no new readers. To see that needs no disk; a file that
    has other names is noticed after `KEPT` seconds.
    """

    def __init__(self, threads: Threads, clock: IReactorTime | None) -> None:
        self._threads, self._clock = threads, clock
        self._kept: dict[Path, OpenFile] = {}

    def find(self, path: Path) -> OpenFile | None:
        """The file of that name if it is open; the caller is one more reader."""
        file = self._kept.get(path)
        if file is None:
            return None
        if not file.look():
            self.forget(path)
            return None
        file.readers += 1
        return file

    def share(self, path: Path, descriptor: int, size: int) -> OpenFile:
        """Take over a file that the caller has opened; the caller is its first reader."""
        file = OpenFile(descriptor, size, self._threads)
        if self._clock is not None and path not in self._kept and len(self._kept) < MOST:
            file.kept = True
            self._kept[path] = file
            self._clock.callLater(KEPT, self._expire, path, file)
        return file

    def forget(self, path: Path) -> None:
        """Whoever comes from now on opens the file anew."""
        file = self._kept.pop(path, None)
        if file is not None:
            file.kept = False
            file.close_unused()

    def close(self) -> None:
        """Keep nothing."""
        for path in list(self._kept):
            self.forget(path)

    def _expire(self, path: Path, file: OpenFile) -> None:
        if self._kept.get(path) is file:
            self.forget(path)
