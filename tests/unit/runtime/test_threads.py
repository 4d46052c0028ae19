"""The pools of threads."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.python.failure import Failure

from glancetx.runtime.threads import TOGETHER, Threads
from glancetx.testing.fakes import turns, until


def the_reactor() -> IReactorTime:
    """The one pytest-twisted runs."""
    from twisted.internet import reactor

    return cast(IReactorTime, reactor)


@asynccontextmanager
async def pool(size: int = 2) -> AsyncIterator[Threads]:
    """A running pool."""
    threads = Threads(cast(IReactorFromThreads, the_reactor()), "test", size)
    threads.start()
    try:
        yield threads
    finally:
        await threads.stop()


class Worker:
    """Work that goes on until the test lets it end."""

    def __init__(self) -> None:
        self.begun, self.ended = threading.Event(), threading.Event()
        self._free = threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self._free.wait(10)
        self.ended.set()
        return threading.current_thread().name

    def release(self) -> None:
        """Let it end."""
        self._free.set()


@pytest_twisted.ensureDeferred
async def test_returns_the_result() -> None:
    """What the function returns is returned; it ran in a thread of the pool's name."""
    async with pool() as threads:
        assert await threads.run(divmod, 7, 2) == (3, 1)
        assert (await threads.run(lambda: threading.current_thread().name)).startswith("test-")


@pytest_twisted.ensureDeferred
async def test_raises_the_error() -> None:
    """What the function raises is raised."""
    async with pool() as threads:
        with pytest.raises(ZeroDivisionError):
            await threads.run(divmod, 1, 0)


@pytest_twisted.ensureDeferred
async def test_is_bounded() -> None:
    """No more than *size* calls run at a time; the others wait, and both are counted."""
    async with pool(2) as threads:
        workers = [Worker() for _ in range(5)]
        running = [Deferred.fromCoroutine(threads.run(worker)) for worker in workers]
        await until(the_reactor(), lambda: workers[0].begun.is_set() and workers[1].begun.is_set())
        await turns(the_reactor())
        assert [worker.begun.is_set() for worker in workers] == [True, True, False, False, False]
        assert (threads.working, threads.waiting) == (2, 3)
        for worker in workers:
            worker.release()
        assert len({await each for each in running}) <= 2
        assert (threads.working, threads.waiting) == (0, 0)


@pytest_twisted.ensureDeferred
async def test_cancelling_waits_for_the_end() -> None:
    """Cancelled work that has begun is waited for; only then CancelledError comes."""
    async with pool() as threads:
        worker = Worker()
        running = Deferred.fromCoroutine(threads.run(worker))
        await until(the_reactor(), worker.begun.is_set)
        ends: list[Failure] = []
        running.addErrback(ends.append)
        running.cancel()
        running.cancel()
        await turns(the_reactor())
        assert ends == []
        worker.release()
        await running
        assert ends[0].check(CancelledError)
        assert worker.ended.is_set()


@pytest_twisted.ensureDeferred
async def test_cancelling_hides_an_error() -> None:
    """Cancelled work that fails raises CancelledError like any other."""
    async with pool() as threads:
        worker = Worker()

        def fail() -> None:
            worker()
            raise ZeroDivisionError

        running = Deferred.fromCoroutine(threads.run(fail))
        await until(the_reactor(), worker.begun.is_set)
        running.cancel()
        worker.release()
        with pytest.raises(CancelledError):
            await running


@pytest_twisted.ensureDeferred
async def test_cancelling_drops_what_waits() -> None:
    """Cancelled work that waits for a thread ends at once and never begins."""
    async with pool(1) as threads:
        first, second = Worker(), Worker()
        running = Deferred.fromCoroutine(threads.run(first))
        waiting = Deferred.fromCoroutine(threads.run(second))
        await until(the_reactor(), first.begun.is_set)
        waiting.cancel()
        with pytest.raises(CancelledError):
            await waiting
        first.release()
        await running
        assert await threads.run(int, "3") == 3
        assert not second.begun.is_set()


@pytest_twisted.ensureDeferred
async def test_stop_waits_for_the_work() -> None:
    """What was accepted is done, and the threads have gone, when `stop` returns."""
    async with pool(1) as threads:
        workers = [Worker(), Worker()]
        running = [Deferred.fromCoroutine(threads.run(worker)) for worker in workers]
        stopping = Deferred.fromCoroutine(threads.stop())
        await turns(the_reactor())
        assert not stopping.called
        for worker in workers:
            worker.release()
        await stopping
        assert all(each.called for each in running)
        assert not [thread for thread in threading.enumerate() if thread.name == "test-0"]


@pytest_twisted.ensureDeferred
async def test_refuses_work_when_stopped() -> None:
    """Before `start` and after `stop` there is no work; a pool may be started again."""
    async with pool() as threads:
        await threads.run(int)
        await threads.stop()
        with pytest.raises(RuntimeError):
            await threads.run(int)
        threads.start()
        assert await threads.run(int, "4") == 4


@pytest_twisted.ensureDeferred
async def test_what_has_time_is_done_together() -> None:
    """One thread does it, in its order; each hears of its own result or error; other work does not wait for it."""
    async with pool(3) as threads:
        done: list[tuple[int, str]] = []

        def work(number: int) -> int:
            done.append((number, threading.current_thread().name))
            return 12 // number

        soon = [Deferred.fromCoroutine(threads.run_soon(work, number)) for number in (3, 0, 2)]
        assert await threads.run(int, "7") == 7
        assert done == []
        assert [await soon[0], await soon[2]] == [4, 6]
        with pytest.raises(ZeroDivisionError):
            await soon[1]
        assert [number for number, _ in done] == [3, 0, 2]
        assert len({name for _, name in done}) == 1
        assert threads.working == 0


@pytest_twisted.ensureDeferred
async def test_what_has_time_may_be_cancelled() -> None:
    """What waits is dropped, and the rest is done."""
    async with pool() as threads:
        first, second = (Deferred.fromCoroutine(threads.run_soon(int, text)) for text in ("1", "2"))
        first.cancel()
        with pytest.raises(CancelledError):
            await first
        assert await second == 2


@pytest_twisted.ensureDeferred
async def test_much_that_has_time_does_not_wait() -> None:
    """When there is enough of it a thread begins."""
    async with pool() as threads:
        began = threading.Event()
        work = [Deferred.fromCoroutine(threads.run_soon(began.set)) for _ in range(TOGETHER)]
        assert began.wait(10)
        for each in work:
            await each


@pytest_twisted.ensureDeferred
async def test_stop_does_not_forget_what_has_time() -> None:
    """It was accepted, so it is done."""
    async with pool() as threads:
        work = Deferred.fromCoroutine(threads.run_soon(int, "3"))
        await threads.stop()
        assert await work == 3
        with pytest.raises(RuntimeError):
            await threads.run_soon(int)
