"""One call, several who wait for it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


class SharedCall(Generic[T]):
    """Runs *call* at once and tells the result to everybody who asks while it runs.

    Cancelling a waiter's Deferred leaves the call and the other waiters alone. When nobody waits any more, the call
    still goes on to its end, and its error is dropped: there is nobody whom it would concern.
    """

    def __init__(self, call: Coroutine[Deferred[Any], Any, T]) -> None:
        self.running = True
        self._waiting: list[Deferred[T]] = []
        self._outcome: T | Failure
        Deferred.fromCoroutine(call).addBoth(self._end)

    def result(self) -> Deferred[T]:
        """A new Deferred of the call's result or error."""
        deferred: Deferred[T] = Deferred(self._leave)
        if self.running:
            self._waiting.append(deferred)
        else:
            deferred.callback(self._outcome)
        return deferred

    def _leave(self, deferred: Deferred[T]) -> None:
        self._waiting.remove(deferred)

    def _end(self, outcome: T | Failure) -> None:
        self.running, self._outcome = False, outcome
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(outcome)
