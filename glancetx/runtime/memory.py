"""What the process tells the garbage collector and the C library once it has started."""

from __future__ import annotations

import ctypes
import gc
import linecache
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

BLOCK: Final = 1024 * 1024
"""Bytes; what transfers hold at once is mostly smaller."""

THRESHOLDS: Final = (2_000, 5, 1_000)
"""New objects that are looked at, how many times until they are looked at again, and how many times until all are.

The collector stops everything else: for a millisecond at 2,000 objects, for a tenth of a second at 200,000. Little is
left for it, since connections and transfers make no circles when they end.
"""


@contextmanager
def loading() -> Iterator[None]:
    """The collector rests: modules stay, and it would look at all that is there again and again as more are loaded.

    It looks at what was loaded once, when all is settled.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def settle() -> None:
    """What is in memory now stays: keep the garbage collector from looking at it again with every few requests.

    What starting took beyond that goes back to the kernel. Later a thread keeps some of what it frees: one that reads
    pieces of 256 KiB would else give them back and get them anew, page by page, for a third of a second for each GiB.
    """
    linecache.clearcache()  # of which most is what attrs wrote; a traceback reads what it shows
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    with suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)
    bytes(BLOCK)  # glibc learns from what is freed: blocks of this size will come again, and are kept
