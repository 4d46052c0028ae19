"""Batches of work for threads, and of what they have to say."""

from __future__ import annotations

from threading import Thread
from typing import Any

from twisted.internet.task import Clock

from glancetx.db.handover import BATCH, PATIENCE, Inbox, Outbox


def inbox(clock: Clock, wanted: list[int], *, gathering: bool = False) -> Inbox:
    """One for ten threads."""

    def want(threads: int) -> int:
        wanted.append(threads)
        return 10

    return Inbox(clock, want, gathering=gathering)


def test_one_turn_wakes_one_thread() -> None:
    """What is put in one turn of the reactor is done by one thread, in its order."""
    clock, wanted, done = Clock(), list[int](), list[int]()
    box = inbox(clock, wanted)
    for number in range(BATCH):
        box.put(lambda number=number: done.append(number))  # type: ignore[misc]
    clock.advance(0)
    box.end(1)
    box.work()
    assert wanted == [1]
    assert done == list(range(BATCH))


def test_more_work_more_threads() -> None:
    """Beyond a batch a second thread is worth it."""
    clock, wanted = Clock(), list[int]()
    box = inbox(clock, wanted)
    for _ in range(BATCH + 1):
        box.put(lambda: None)
    clock.advance(0)
    assert wanted == [2]


def test_waiting_work_gets_threads_of_its_own() -> None:
    """Tasks behind a slow one are not left to it."""
    clock, wanted = Clock(), list[int]()
    box = inbox(clock, wanted)
    for _ in range(3):
        box.put(lambda: None)
    clock.advance(0)
    clock.advance(PATIENCE)
    assert wanted == [1, 3]
    clock.advance(1)
    assert wanted == [1, 3]


def test_gathering() -> None:
    """What comes while a thread is at work is left to it, but not for long; what comes later wakes it again."""
    clock, wanted, done = Clock(), list[int](), list[str]()
    box = inbox(clock, wanted, gathering=True)

    def more() -> None:
        done.append("a")
        box.put(lambda: done.append("b"))
        clock.advance(0)

    box.put(more)
    clock.advance(0)
    box.end(1)
    box.work()
    assert (wanted, done) == ([1], ["a", "b"])
    box.put(lambda: done.append("c"))
    clock.advance(0)
    assert wanted == [1, 1]
    box.put(lambda: done.append("d"))
    clock.advance(0)
    assert wanted == [1, 1]
    clock.advance(PATIENCE)
    assert wanted == [1, 1, 2]


def test_end_comes_after_the_work() -> None:
    """Nothing that was put is lost when the threads are told to end."""
    clock, done = Clock(), list[int]()
    box = inbox(clock, [])
    for number in range(100):
        box.put(lambda number=number: done.append(number))  # type: ignore[misc]
    box.flush()
    box.end(3)
    threads = [Thread(target=box.work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(100))


class Turning:
    """A reactor which turns when the test says."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def callFromThread(self, call: Any) -> None:
        self.calls.append(call)


def test_results_wake_the_reactor_once() -> None:
    """Until it has turned, that is; what comes afterwards wakes it again."""
    reactor, heard = Turning(), list[str]()
    box = Outbox(reactor)
    box.callFromThread(lambda: heard.append("a"))
    box.callFromThread(lambda: heard.append("b"))
    assert len(reactor.calls) == 1
    reactor.calls.pop()()
    assert heard == ["a", "b"]
    box.callFromThread(lambda: heard.append("c"))
    assert len(reactor.calls) == 1
