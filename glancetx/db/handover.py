"""Work on its way to threads, and back, in batches: to wake a thread costs more than a small query does.

What is handed over during one turn of the reactor wakes one thread, and what threads have to say before the reactor
listens again wakes it once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock
from typing import Any, Final

Task = Callable[[], None]
BATCH: Final = 8
"""Tasks for one thread to do one after the other, before a second one is woken."""
PATIENCE: Final = 0.005
"""Seconds after which tasks that still wait are each worth a thread: the one before them takes long."""


class Inbox:
    """Tasks for threads. *want* is called with the number of threads that would be of use; it tells how many there are.

    *gathering*: what comes while a thread is at work waits for that one, as long as `PATIENCE`, since tasks that wait
    together are cheaper.
    """

    def __init__(self, reactor: Any, want: Callable[[int], int], *, gathering: bool = False) -> None:
        self._reactor, self._want, self._gathering = reactor, want, gathering
        self._lock = Lock()
        self._awake = 0  # threads that will look for tasks before they wait again
        self._tasks: deque[Task] = deque()
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._due = self._watching = False

    def put(self, task: Task) -> None:
        """In the reactor's thread."""
        self._tasks.append(task)
        if not self._due:
            self._due = True
            self._reactor.callLater(0, self.flush)

    def flush(self) -> None:
        """Wake as many threads as the waiting tasks are worth."""
        self._due = False
        with self._lock:
            waits = self._gathering and self._awake > 0
        if not waits:
            self._wake((len(self._tasks) + BATCH - 1) // BATCH)
        if self._tasks and not self._watching:
            self._watching = True
            self._reactor.callLater(PATIENCE, self._look_again)

    def _look_again(self) -> None:
        self._watching = False
        self._wake(len(self._tasks))

    def _wake(self, threads: int) -> None:
        if not threads:
            return
        there = self._want(threads)
        with self._lock:
            threads = min(threads, there - self._awake)  # who is awake looks for tasks before he sleeps again
            self._awake += max(0, threads)
        for _ in range(threads):
            self._wakes.put(True)

    def end(self, threads: int) -> None:
        """Let so many threads end when all is done that was put and flushed so far."""
        for _ in range(threads):
            self._wakes.put(False)

    def work(self) -> None:
        """In a thread: do tasks until `end`."""
        while self._wakes.get():
            while self._wanted():
                try:
                    task = self._tasks.popleft()
                except IndexError:
                    continue  # another thread was faster
                task()
                del task  # or the last result would live until the next task comes

    def _wanted(self) -> bool:
        """Whether the thread goes on; under the lock, so that no task comes in between that wakes nobody."""
        with self._lock:
            if self._tasks:
                return True
            self._awake -= 1
            return False


class Outbox:
    """Stands in for the reactor where something calls `callFromThread` for every result."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: deque[Callable[[], None]] = deque()
        self._due = False

    def callFromThread(self, call: Callable[[], None]) -> None:
        """In any thread: have *call* called in the reactor's."""
        self._calls.append(call)
        if not self._due:
            self._due = True
            self._reactor.callFromThread(self._deliver)

    def _deliver(self) -> None:
        self._due = False  # first: what is appended from here on is delivered now, or again
        while self._calls:
            self._calls.popleft()()
