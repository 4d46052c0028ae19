"""Files that are open already: who reads a piece of an image mostly comes back for the next one."""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from glancetx.runtime.threads import Threads
from glancetx.streams.sources import close_file

KEPT: Final = 1.0
"""Seconds after which a file is opened anew, in case that the open one is not what one finds there."""
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


F = TypeVar("F", bound=OpenFile)


class OpenFiles(Generic[F]):
    """Keeps files open for some time after they were opened; without a *clock* only as long as they are read.

    A file that is deleted, in whatever process, or replaced, has no new readers. To see that needs no disk; a file that
    has other names is noticed after `KEPT` seconds. A *name* is whatever its owner calls the file.
    """

    def __init__(self, clock: IReactorTime | None) -> None:
        self._clock = clock
        self._kept: dict[Hashable, F] = {}

    def find(self, name: Hashable) -> F | None:
        """The file of that name if it is open; the caller is one more reader."""
        file = self._kept.get(name)
        if file is None:
            return None
        try:
            usable = file.look()
        except OSError:  # NFS, which has lost it (ESTALE)
            usable = False
        if not usable:
            self.forget(name)
            return None
        file.readers += 1
        return file

    def share(self, name: Hashable, file: F) -> F:
        """Take over a file that the caller has opened; the caller is its first reader."""
        if self._clock is not None and name not in self._kept and len(self._kept) < MOST:
            file.kept = True
            self._kept[name] = file
            self._clock.callLater(KEPT, self._expire, name, file)
        return file

    def forget(self, name: Hashable) -> None:
        """Whoever comes from now on opens the file anew."""
        file = self._kept.pop(name, None)
        if file is not None:
            file.kept = False
            file.close_unused()

    def close(self) -> None:
        """Keep nothing."""
        for name in list(self._kept):
            self.forget(name)

    def _expire(self, name: Hashable, file: F) -> None:
        if self._kept.get(name) is file:
            self.forget(name)
