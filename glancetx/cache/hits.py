"""How often images are read, told to an index: who reads an image in pieces would have it written for each of them."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from glancetx.interfaces import ICacheIndex

APART: Final = 0.5
"""Seconds after what was told last in which reads are counted, and not told yet."""


class Hits:
    """Counts what is read, and tells *index*: the first one at once, and what comes soon after that together."""

    def __init__(self, index: ICacheIndex, clock: IReactorTime) -> None:
        self._index, self._clock = index, clock
        self._counted: dict[str, int] = {}  # what was read last is at the end
        self._turn = DeferredLock()
        self._telling = False

    def count(self, image_id: str) -> bool:
        """The image was read. True: nobody tells the index yet, and the caller is to `tell`."""
        self._counted[image_id] = self._counted.pop(image_id, 0) + 1
        began, self._telling = self._telling, True
        return not began

    async def tell(self) -> None:
        """Tell what is counted, until nothing comes any more. :raises Exception: if that fails; it is not told then."""
        try:
            while self._counted:
                await self.told()
                await deferLater(self._clock, APART)
        finally:
            self._telling = False

    async def told(self) -> None:
        """All that was counted until now is told when this returns. :raises Exception: as `tell`."""
        await self._turn.acquire()
        try:
            while self._counted:
                image_id = next(iter(self._counted))
                await self._index.hit(image_id, self._counted.pop(image_id))
        finally:
            self._turn.release()
