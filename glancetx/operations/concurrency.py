"""Changes of what others change at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

from glancetx.domain.errors import ImageChanged

P = ParamSpec("P")
T = TypeVar("T")

TRIES: Final = 50
"""Each time somebody succeeded; so many changes of one image at once are no use to anybody."""


async def until_unchanged(change: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run *change* again while others change the image between its read and its save: nobody's change is lost.

    :raises ImageChanged: if that does not end.
    """
    for _ in range(TRIES - 1):
        try:
            return await change(*args, **kwargs)
        except ImageChanged:
            continue
    return await change(*args, **kwargs)
