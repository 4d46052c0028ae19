"""Whole files that stay open for who reads the next piece. Pruning sees those that are being read, and only these."""

from __future__ import annotations

import fcntl
import os

from glancetx.cache.files import Opened, identity_of
from glancetx.runtime.threads import Threads
from glancetx.streams.open_files import OpenFile


class WholeFile(OpenFile):
    """A whole file that was *opened*, and found to be what *mark* says. It is locked while it has readers."""

    def __init__(self, opened: Opened, mark: str, threads: Threads) -> None:
        super().__init__(opened.descriptor, opened.size, threads)
        self.mark = mark
        self._identity = opened.identity

    def look(self) -> bool:
        """Lock it; False if it was removed, written to or condemned, or is just being removed, in whatever process."""
        if not self.readers:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        status = os.fstat(self.descriptor)
        return status.st_nlink > 0 and identity_of(status) == self._identity

    def leave(self) -> None:
        if self.readers == 1 and self.kept:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        super().leave()
