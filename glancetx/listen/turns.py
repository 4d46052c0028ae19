"""Whose turn it is to accept, among processes that accept from the same sockets.

The kernel wakes all of them for a client and gives it to the fastest, which may have most of the clients already: of 16
that stay, one of two processes got from 0 to 16.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Final

AWAY: Final = -1
SIZE: Final = 4  # bytes of a count
SLACK: Final = 8
"""Who has one client in so many more than another process may take the next one even so."""


class Turns:
    """How many clients each of some processes has, in memory that all of them have.

    A process that does not accept counts as `AWAY`. Each writes its own count only, at its *place*; what it reads of
    others may be of a moment ago.
    """

    def __init__(self, descriptor: int, place: int) -> None:
        self._counts = memoryview(mmap.mmap(descriptor, 0)).cast("i")
        self._place = place

    def tell(self, count: int) -> None:
        """So many clients we have now."""
        self._counts[self._place] = count

    def leave(self) -> None:
        """We accept no more; or the process at our place has ended."""
        self.tell(AWAY)

    def is_ours(self) -> bool:
        """Whether no other has clearly fewer clients than we have."""
        mine = self._counts[self._place]
        least = min((count for count in self._counts if count != AWAY), default=mine)
        return mine <= least + least // SLACK


def shared_counts(processes: int) -> int:
    """A descriptor of memory for the `Turns` of so many *processes*, which are all away."""
    descriptor = os.memfd_create("glancetx-turns")
    os.write(descriptor, AWAY.to_bytes(SIZE, sys.byteorder, signed=True) * processes)
    return descriptor
