"""Work that has begun and not ended, so that whoever stops a service can end it first."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class Ongoing:
    """The calls under way."""

    def __init__(self) -> None:
        self._calls: set[Deferred[Any]] = set()
        self._emptied: Deferred[None] | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def run(self, call: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        """Begin *call*; the Deferred has its outcome."""
        deferred = Deferred.fromCoroutine(call)
        self._calls.add(deferred)
        return deferred.addBoth(self._end, deferred)

    async def cancel(self) -> None:
        """Cancel every call and wait until the last one has ended, what it undoes included."""
        for call in list(self._calls):
            call.cancel()
        while self._calls:
            self._emptied = self._emptied or Deferred()
            await self._emptied

    def _end(self, outcome: Any, call: Deferred[Any]) -> Any:
        self._calls.discard(call)
        if self._emptied is not None and not self._calls:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)
        return outcome
