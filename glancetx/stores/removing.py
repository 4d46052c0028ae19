"""Looking whose data it is before it is removed, in stores that cannot do both in one step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from twisted.internet.interfaces import IReactorTime

from glancetx.domain.errors import RemovalUnknown, StoreUnavailable

T = TypeVar("T")

PROMPT: Final = 2.0
"""Seconds in which nobody else takes this process for dead, and stores something else there."""
LOOKS: Final = 3


@contextmanager
def removal() -> Iterator[None]:
    """A block that asks a store which has just answered to remove data: for want of an answer now, that is unknown."""
    try:
        yield
    except StoreUnavailable as error:
        raise RemovalUnknown(str(error)) from error


async def just_seen(clock: IReactorTime, look: Callable[[], Awaitable[T]]) -> T:
    """What *look* finds, and found a moment ago: it looks again if the answer came late, or this process slept.

    :raises StoreUnavailable: if it came late each time.
    """
    for _ in range(LOOKS):
        asked = clock.seconds()
        found = await look()
        if clock.seconds() - asked < PROMPT:
            return found
    raise StoreUnavailable("The store takes too long to say whose data it has: nothing is removed now")
