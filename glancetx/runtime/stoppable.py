"""Work in a thread that can be told to stop: it looks, now and then, whether it should."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from glancetx.runtime.threads import Threads

T = TypeVar("T")


class Stop:
    """Tells a thread whether it should stop."""

    def __init__(self) -> None:
        self._event = Event()

    @property
    def wanted(self) -> bool:
        return self._event.is_set()

    def want(self) -> None:
        self._event.set()

    def check(self) -> None:
        """:raises CancelledError: if it should stop."""
        if self._event.is_set():
            raise CancelledError


class Stoppable(Deferred[T]):
    """Fires with the outcome of *work*, which runs in a thread of *threads* and gets a `Stop`.

    Differs from other Deferreds in `cancel`: it makes the work stop, and fires with CancelledError when it has.
    """

    def __init__(self, threads: Threads, work: Callable[[Stop], T]) -> None:
        super().__init__()
        self._stop = Stop()
        self._job = Deferred.fromCoroutine(threads.run(work, self._stop))
        self._job.addCallbacks(self.callback, self._fail)

    def _fail(self, failure: Failure) -> None:
        self.errback(failure)

    def cancel(self) -> None:
        self._stop.want()
        self._job.cancel()
