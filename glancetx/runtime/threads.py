"""Where blocking work runs: named pools of threads, each with a bound.

A thread cannot be stopped. So whoever cancels work that has begun waits for its end: what it did is known then, and
can be undone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Final, ParamSpec, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred, DeferredList, fail
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads

P = ParamSpec("P")
T = TypeVar("T")

MOMENT: Final = 0.05
"""Seconds that work which has time waits for more of its kind."""
TOGETHER: Final = 32
"""Pieces of such work that one thread takes at once."""


class _Job(Deferred[Any]):
    """One call on its way through a pool.

    Differs from other Deferreds in `cancel`: if the function runs already, nothing fires before it has ended.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work
        self._ticket = Lock()  # taken once: by the thread that runs the job, or by the cancel that forestalls it
        self._cancelled = False

    def perform(self) -> Callable[[], None] | None:
        """In a thread: do the work; returns how to tell the reactor thread, or None if cancelled before."""
        if not self._ticket.acquire(blocking=False):
            return None
        try:
            result = self._work()
        except BaseException as error:
            return partial(self._end, self.errback, error)
        return partial(self._end, self.callback, result)

    def _end(self, fire: Callable[[Any], None], result: Any) -> None:
        if self._cancelled:
            self.errback(CancelledError())
        else:
            fire(result)

    def cancel(self) -> None:
        if self.called:
            super().cancel()
        elif self._ticket.acquire(blocking=False):
            self.errback(CancelledError())
        else:
            self._cancelled = True


class _Jobs:
    """Some that one thread does, one after the other; *done* is told of their end."""

    def __init__(self, jobs: list[_Job], done: Callable[[], None]) -> None:
        self._jobs, self._done = jobs, done

    def perform(self) -> Callable[[], None]:
        """As that of one. What goes wrong with one concerns only who asked for it."""
        return partial(self._end, [tell for job in self._jobs if (tell := job.perform()) is not None])

    def _end(self, ends: list[Callable[[], None]]) -> None:
        self._done()
        for tell in ends:
            tell()


class Threads:
    """At most *size* threads, started as they are needed, for blocking work of one kind.

    Work waits in the order of its arrival. *name* shows up in the names of the threads. *running* tells whether work is
    accepted.
    """

    def __init__(self, reactor: IReactorFromThreads, name: str, size: int) -> None:
        self.name, self.size = name, size
        self._reactor: Any = reactor
        self._queue: SimpleQueue[_Job | _Jobs | None] = SimpleQueue()
        self._gathered: list[_Job] = []
        self._moment: IDelayedCall | None = None
        self._threads: list[Thread] = []
        self._exits: list[Deferred[None]] = []
        self._open = 0  # calls begun and not ended
        self.running = False

    @property
    def working(self) -> int:
        """How many threads are busy."""
        return min(self._open, self.size)

    def seconds(self) -> float:
        """The time of the reactor that hears from the threads."""
        return float(self._reactor.seconds())

    @property
    def idle(self) -> int:
        """How many threads have nothing to do, or are not needed yet."""
        return self.size - self.working

    @property
    def waiting(self) -> int:
        """How many calls wait for a free thread."""
        return self._open - self.working

    def start(self) -> None:
        """Accept work from now on; costs nothing until there is some."""
        self.running = True

    async def stop(self) -> None:
        """Refuse new work, wait until all that was accepted has ended, and end the threads."""
        self.running = False
        self._hand_over()
        for _ in self._threads:
            self._queue.put(None)
        await DeferredList(self._exits)
        for thread in self._threads:
            thread.join()  # each has said that it leaves, so this does not wait
        self._threads, self._exits = [], []

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a thread; its result or error becomes ours.

        Cancelling work that still waits for a thread drops it. Cancelling work that has begun waits for its end and
        then raises CancelledError, whatever the result was.

        :raises RuntimeError: if the pool is not running.
        """
        return cast(T, await self.begin(partial(function, *args, **kwargs)))

    def begin(self, work: Callable[[], T]) -> Deferred[T]:
        """The same without a coroutine around it, for what does so again and again; errors come by the Deferred."""
        try:
            self._check()
        except RuntimeError:
            return fail()
        job = _Job(work)
        self._put(job)
        return job.addBoth(self._ended)

    async def run_soon(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for a little work that has time: what is asked for in `MOMENT` seconds one thread does, in order.

        Many hops cost more than what is done, and each that ends takes the interpreter from the reactor thread.
        """
        self._check()
        job = _Job(partial(function, *args, **kwargs))
        self._gathered.append(job)
        if len(self._gathered) >= TOGETHER:
            self._hand_over()
        elif self._moment is None:
            self._moment = self._reactor.callLater(MOMENT, self._hand_over)
        return cast(T, await job)

    def _check(self) -> None:
        if not self.running:
            raise RuntimeError(f"The thread pool {self.name} is not running")

    def _hand_over(self) -> None:
        if self._moment is not None and self._moment.active():
            self._moment.cancel()
        self._moment = None
        jobs, self._gathered = self._gathered, []
        if jobs:
            self._put(_Jobs(jobs, partial(self._ended, None)))

    def _ended(self, result: T) -> T:
        self._open -= 1
        return result

    def _put(self, job: _Job | _Jobs) -> None:
        self._open += 1
        if len(self._threads) < min(self._open, self.size):
            self._add_thread()
        self._queue.put(job)

    def _add_thread(self) -> None:
        left: Deferred[None] = Deferred()
        # Daemons: a program that ends without stopping the pool must end. What it loses, a crash would lose too.
        name = f"{self.name}-{len(self._threads)}"
        thread = Thread(target=self._work, args=(left,), name=name, daemon=True)
        self._threads.append(thread)
        self._exits.append(left)
        thread.start()

    def _work(self, left: Deferred[None]) -> None:
        while (job := self._queue.get()) is not None:
            tell = job.perform()
            del job  # or the last job's data lives until the next one comes
            if tell is not None:
                self._reactor.callFromThread(tell)
                del tell
        self._reactor.callFromThread(left.callback, None)
