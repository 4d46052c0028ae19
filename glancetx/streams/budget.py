"""Memory that the transfers of one store share, so that many of them do not take many times as much."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred


class Budget:
    """*most* bytes for what all transfers have sent and the store has not taken yet, or have asked it for.

    Each may have one piece under way in any case; and what it only gathers does not count, so that many slow ones do
    not slow down others.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self._waiting: deque[tuple[Share, int, Deferred[None]]] = deque()

    def share(self) -> Share:
        """For one transfer."""
        return Share(self)

    def fits(self, share: Share, size: int) -> bool:
        return not share.held or self.held + size <= self.most

    async def wait(self, share: Share, size: int) -> None:
        turn: Deferred[None] = Deferred(lambda _: self._waiting.remove(entry))
        entry = (share, size, turn)
        self._waiting.append(entry)
        await turn

    def changed(self) -> None:
        """Something was given back."""
        for entry in list(self._waiting):
            share, size, news = entry
            if entry in self._waiting and self.fits(share, size):
                self._waiting.remove(entry)
                news.callback(None)


class Share:
    """What one transfer has under way: *held* bytes."""

    def __init__(self, budget: Budget) -> None:
        self.held = 0
        self._budget = budget

    def fits(self, size: int) -> bool:
        """Whether there is room for *size* bytes more, or nothing of this transfer is under way."""
        return self._budget.fits(self, size)

    async def room(self, size: int) -> None:
        """Wait until it fits."""
        while not self.fits(size):
            await self._budget.wait(self, size)

    def take(self, size: int) -> None:
        """So many bytes more are under way."""
        self.held += size
        self._budget.held += size

    def give(self, size: int) -> None:
        """So many bytes are not under way any more."""
        self.take(-size)
        self._budget.changed()
