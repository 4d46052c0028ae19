"""Digests, the size limit and the inspection."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from glancetx.config.settings import FormatSettings
from glancetx.domain.errors import FormatMismatch, LimitExceeded
from glancetx.runtime.threads import Threads
from glancetx.streams import Digest, Inspection, SizeLimit, Tap
from glancetx.streams.observers import BEHIND, HOP, SMALL, Follower
from glancetx.streams.slowness import BURST, SPAN
from glancetx.testing.fakes import Recorder, ScriptedSource, until

CONTENT = os.urandom(1024 * 1024 + 3)
PIECES = [CONTENT[i : i + 70_000] for i in range(0, len(CONTENT), 70_000)]


@pytest.mark.parametrize("algorithm", ["md5", "sha512"])
@pytest.mark.parametrize("size", [70_000, 5_000])
@pytest_twisted.ensureDeferred
async def test_digest(threads: Threads, algorithm: str, size: int) -> None:
    """The digest of all bytes is known at the end, whether they come in large pieces or in small ones."""
    digest = Digest(algorithm, threads)
    pieces = [CONTENT[i : i + size] for i in range(0, len(CONTENT), size)]
    await Recorder().receive(Tap(ScriptedSource(*pieces), digest))
    assert digest.hexdigest == hashlib.new(algorithm, CONTENT).hexdigest()


@pytest_twisted.ensureDeferred
async def test_digest_of_nothing(threads: Threads) -> None:
    """No bytes have a digest, too."""
    digest = Digest("md5", threads)
    await Recorder().receive(Tap(ScriptedSource(), digest))
    assert digest.hexdigest == "d41d8cd98f00b204e9800998ecf8427e"


def test_unknown_algorithm(threads: Threads) -> None:
    """A digest that does not exist is noticed before any byte flows."""
    with pytest.raises(ValueError, match="nonsense"):
        Digest("nonsense", threads)


@pytest_twisted.ensureDeferred
async def test_a_follower_may_fall_behind_only_so_far(clock: IReactorTime, threads: Threads) -> None:
    """While its thread is busy it takes a bounded number of bytes, then asks to wait until the thread has them."""
    free = threading.Event()

    def work(chunks: list[bytes]) -> None:
        free.wait(10)

    follower = Follower(threads, work)
    assert follower.observe(bytes(HOP)) is None  # the thread is busy with these
    accepted = 0
    waiting: Deferred[None] | None = None
    while waiting is None:
        waiting = follower.observe(bytes(HOP))
        accepted += HOP
        assert accepted <= BEHIND + HOP
    assert not waiting.called
    free.set()
    await until(clock, lambda: bool(waiting.called))
    await follower.finish()


@pytest_twisted.ensureDeferred
async def test_a_follower_works_in_order(threads: Threads) -> None:
    """The bytes reach the work in order, never two calls at a time."""
    seen = bytearray()
    lock = threading.Lock()

    def work(chunks: list[bytes]) -> None:
        assert lock.acquire(blocking=False)
        seen.extend(b"".join(chunks))
        lock.release()

    follower = Follower(threads, work, hop=100)
    for start in range(0, 100_000, 50):
        follower.observe(CONTENT[start : start + 50])
    await follower.finish()
    assert seen == CONTENT[:100_000]


@pytest_twisted.ensureDeferred
async def test_works_share_out_what_is_idle(clock: IReactorTime, timed_threads: Threads) -> None:
    """Two works have a thread each if nobody else wants one; else one thread does both, in their order."""
    at_once, busy, free = threading.Barrier(2), threading.Event(), threading.Event()
    seen: list[tuple[str, int, str]] = []

    def work(name: str, chunks: list[bytes]) -> None:
        if not busy.is_set():
            at_once.wait(10)
        seen.append((name, sum(map(len, chunks)), threading.current_thread().name))

    follower = Follower(timed_threads, partial(work, "a"), partial(work, "b"), hop=1)
    follower.observe(b"xy")
    await until(clock, lambda: timed_threads.idle == 2)
    busy.set()
    crowd = timed_threads.begin(partial(free.wait, 10))
    follower.observe(b"z")
    await follower.finish()
    free.set()
    await crowd
    assert sorted(each[:2] for each in seen[:2]) == [("a", 2), ("b", 2)]
    assert [each[:2] for each in seen[2:]] == [("a", 1), ("b", 1)]
    assert [len({thread for *_, thread in part}) for part in (seen[:2], seen[2:])] == [2, 1]


@pytest_twisted.ensureDeferred
async def test_no_work_waits_for_another(clock: IReactorTime, threads: Threads) -> None:
    """While threads are idle a work goes on, however far another one has fallen behind."""
    free = threading.Event()
    seen: list[bytes] = []

    def linger(chunks: list[bytes]) -> None:
        assert free.wait(10)

    follower = Follower(threads, linger, seen.extend, hop=1)
    for chunk in (b"x", b"y", b"z"):
        follower.observe(chunk)
        await until(clock, partial(seen.__contains__, chunk))
    assert not free.is_set()
    free.set()
    await follower.finish()
    assert seen == [b"x", b"y", b"z"]


@pytest_twisted.ensureDeferred
async def test_one_of_two_works_that_fails(threads: Threads) -> None:
    """The error comes out when both have ended."""
    seen: list[bytes] = []

    def fail(chunks: list[bytes]) -> None:
        raise ZeroDivisionError

    follower = Follower(threads, fail, seen.extend)
    follower.observe(b"x")
    with pytest.raises(ZeroDivisionError):
        await follower.finish()
    assert seen == [b"x"]


@pytest_twisted.ensureDeferred
async def test_work_that_fails_fails_the_transfer(threads: Threads) -> None:
    """An error in the thread comes out of `finish`, and of any `observe` after it."""

    def work(chunks: list[bytes]) -> None:
        raise ZeroDivisionError

    follower = Follower(threads, work)
    follower.observe(b"x")
    with pytest.raises(ZeroDivisionError):
        await follower.finish()
    with pytest.raises(ZeroDivisionError):
        follower.observe(b"x")


@pytest_twisted.ensureDeferred
async def test_work_that_fails_tells_who_waits(threads: Threads) -> None:
    """A tap that waits for the follower to catch up learns of the error at once."""
    free = threading.Event()

    def work(chunks: list[bytes]) -> None:
        free.wait(10)
        raise ZeroDivisionError

    follower = Follower(threads, work)
    follower.observe(bytes(HOP))
    waiting = follower.observe(bytes(BEHIND))
    free.set()
    assert waiting is not None
    with pytest.raises(ZeroDivisionError):
        await waiting


@pytest_twisted.ensureDeferred
async def test_size_limit() -> None:
    """One byte more than the limit stops the transfer; the limit itself does not."""
    limit = SizeLimit(10)
    await Recorder().receive(Tap(ScriptedSource(b"12345", b"67890"), limit))
    assert limit.received == 10
    source = ScriptedSource(b"12345", b"678901", b"more")
    with pytest.raises(LimitExceeded):
        await Recorder().receive(Tap(source, SizeLimit(10)))
    assert source.stopped


@pytest_twisted.ensureDeferred
async def test_no_size_limit() -> None:
    """Without a limit bytes are only counted."""
    limit = SizeLimit(None)
    await Recorder().receive(Tap(ScriptedSource(*PIECES), limit))
    assert limit.received == len(CONTENT)


@pytest.mark.parametrize("threaded", [False, True])
@pytest_twisted.ensureDeferred
async def test_inspection_learns_the_size(threads: Threads, threaded: bool) -> None:
    """With threads and without, the virtual size is known at the end."""
    found = Inspection("raw", "bare", FormatSettings(), threads if threaded else None)
    await Recorder().receive(Tap(ScriptedSource(*PIECES), found))
    assert found.virtual_size == len(CONTENT)


@pytest.mark.parametrize("threaded", [False, True])
@pytest_twisted.ensureDeferred
async def test_inspection_refuses_other_content(threads: Threads, threaded: bool) -> None:
    """Content that is not of the declared format fails the transfer, when all of it was seen."""
    recorder = Recorder()
    found = Inspection("qcow2", "bare", FormatSettings(), threads if threaded else None)
    with pytest.raises(FormatMismatch, match="disk_format qcow2"):
        await recorder.receive(Tap(ScriptedSource(*PIECES), found))
    assert recorder.data == CONTENT


@pytest_twisted.ensureDeferred
async def test_inspection_leaves_containers_alone(threads: Threads) -> None:
    """Only bare images are looked into."""
    found = Inspection("qcow2", "ova", FormatSettings(), threads)
    await Recorder().receive(Tap(ScriptedSource(*PIECES), found))
    assert found.virtual_size is None


class Timed:
    """The reactor, but it is as late as *now* says."""

    def __init__(self, reactor: Any) -> None:
        self.callFromThread, self.now = reactor.callFromThread, 0.0

    def seconds(self) -> float:
        return self.now


@pytest.fixture
def timed(clock: Any) -> Timed:
    return Timed(clock)


@pytest.fixture
def timed_threads(timed: Any) -> Iterator[Threads]:
    pool = Threads(timed, "timed", 2)
    pool.start()
    yield pool
    pytest_twisted.blockon(Deferred.fromCoroutine(pool.stop()))


@pytest_twisted.ensureDeferred
async def test_little_of_a_slow_transfer_is_not_kept(timed: Timed, timed_threads: Threads) -> None:
    """It is worked on where it comes, with what waits since before; more of it goes to a thread, but not later."""
    seen: list[tuple[int, bool]] = []

    def work(chunks: list[bytes]) -> None:
        seen.append((sum(map(len, chunks)), threading.current_thread() is threading.main_thread()))

    follower = Follower(timed_threads, work, small=SMALL)
    fast = 2 * BURST
    for seconds, size in ((2 * SPAN, 5), (SPAN / 2, 6), (0, fast), (SPAN, 1), (2 * SPAN, 1), (2 * SPAN, 1)):
        timed.now += seconds
        assert follower.observe(bytes(size)) is None
    await follower.finish()
    assert seen == [(5, True), (6, True), (fast + 1, False), (2, False)]


@pytest_twisted.ensureDeferred
async def test_work_on_little_may_fail(threads: Threads) -> None:
    """Then that is the end, as anywhere else."""

    def work(chunks: list[bytes]) -> None:
        raise FormatMismatch("no")

    follower = Follower(threads, work, small=SMALL)
    with pytest.raises(FormatMismatch):
        follower.observe(b"x")


@pytest_twisted.ensureDeferred
async def test_digest_of_a_transfer_that_is_slow_now_and_then(timed: Timed, timed_threads: Threads) -> None:
    """Wherever they are computed, all bytes count, in their order."""
    digest = Digest("sha512", timed_threads)
    for number, start in enumerate(range(0, len(CONTENT), 9000)):
        timed.now += 1 if number % 40 < 5 else 0
        if (behind := digest.observe(CONTENT[start : start + 9000])) is not None:
            await behind
    await digest.finish()
    assert digest.hexdigest == hashlib.sha512(CONTENT).hexdigest()
