"""The first copy that can be opened is read, whatever the stores of the others do."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.web.iweb import IBodyProducer

from glancetx.domain.errors import DataNotFound, StoreUnavailable
from glancetx.domain.image import Location
from glancetx.runtime.troubles import Troubles
from glancetx.runtime.undo import Shielded
from glancetx.testing.fakes import ScriptedSource
from glancetx.transfer import failover as module
from glancetx.transfer.failover import PATIENCE, REST, Candidate, Failover

Found = tuple[Candidate, IBodyProducer]


class Cluster:
    """Stores that open a copy when they are told to; *asked* are those that were asked, in this order."""

    def __init__(self, *stores: str) -> None:
        self.clock = Clock()
        self.troubles = Troubles()
        self.failover = Failover(self.clock, self.troubles)
        self.copies = [Candidate(Location(url=f"{store}://x"), store) for store in stores]
        self.asked: list[str] = []
        self.waiting: dict[str, Deferred[IBodyProducer]] = {}
        self.cancelled: list[str] = []
        self.left: deque[Candidate] = deque()

    def open(self) -> Deferred[Found]:
        self.left = deque(self.failover.order(self.copies))
        self.asked.clear()
        return Deferred.fromCoroutine(self.failover.open(self.left, self._opening))

    async def _opening(self, candidate: Candidate) -> IBodyProducer:
        store = candidate.store
        self.asked.append(store)
        self.waiting[store] = Deferred(lambda _: self.cancelled.append(store))
        return await self.waiting[store]

    def opens(self, store: str) -> ScriptedSource:
        source = ScriptedSource(b"data")
        self.waiting.pop(store).callback(source)
        return source

    def fails(self, store: str, error: Exception) -> None:
        self.waiting.pop(store).errback(error)

    def result(self, opening: Deferred[Found]) -> Any:
        assert opening.called
        return opening.result


def test_best_copy() -> None:
    """A store that answers is the only one that is asked."""
    cluster = Cluster("a", "b")
    opening = cluster.open()
    cluster.clock.advance(PATIENCE / 2)
    source = cluster.opens("a")
    assert cluster.result(opening) == (cluster.copies[0], source)
    assert (cluster.asked, list(cluster.left)) == (["a"], [cluster.copies[1]])
    assert cluster.clock.getDelayedCalls() == []


@pytest.mark.parametrize("error", [StoreUnavailable("down"), DataNotFound("gone")])
def test_fails(error: Exception) -> None:
    """A copy that cannot be opened is followed by the next at once, and is not tried again."""
    cluster = Cluster("a", "b", "c")
    opening = cluster.open()
    cluster.fails("a", error)
    assert cluster.asked == ["a", "b"]
    source = cluster.opens("b")
    assert cluster.result(opening) == (cluster.copies[1], source)
    assert list(cluster.left) == [cluster.copies[2]]
    assert cluster.clock.getDelayedCalls() == []


def test_slow() -> None:
    """One that takes long has others beside it; those that lose are given up, and stay for later."""
    cluster = Cluster("a", "b", "c")
    opening = cluster.open()
    cluster.clock.advance(PATIENCE)
    assert cluster.asked == ["a", "b"]
    cluster.clock.advance(PATIENCE)
    assert cluster.asked == ["a", "b", "c"]
    source = cluster.opens("b")
    assert cluster.result(opening) == (cluster.copies[1], source)
    assert cluster.cancelled == ["a", "c"]
    assert list(cluster.left) == [cluster.copies[0], cluster.copies[2]]
    assert cluster.failover.beside == 0


def test_trouble() -> None:
    """While a store tries again, the next copy is opened at once; trouble of others is none of ours."""
    cluster = Cluster("a", "b", "c")
    opening = cluster.open()
    cluster.troubles.tell("c")
    assert cluster.asked == ["a"]
    cluster.troubles.tell("a")
    cluster.troubles.tell("a")
    assert cluster.asked == ["a", "b"]
    source = cluster.opens("b")
    assert cluster.result(opening)[1] is source
    cluster.troubles.tell("b")
    assert cluster.cancelled == ["a"]
    assert cluster.clock.getDelayedCalls() == []


def test_slow_but_first() -> None:
    """The first one may win yet."""
    cluster = Cluster("a", "b")
    opening = cluster.open()
    cluster.clock.advance(PATIENCE)
    source = cluster.opens("a")
    assert cluster.result(opening)[1] is source
    assert cluster.cancelled == ["b"]


def test_late_source_is_closed() -> None:
    """A store that cannot be cancelled, and opens when nobody wants it, is told to stop."""
    cluster = Cluster("a", "b")
    source, pending = ScriptedSource(b"data"), Deferred[None]()

    async def stubborn(candidate: Candidate) -> IBodyProducer:
        if candidate.store == "b":
            return ScriptedSource(b"other")
        await Shielded(pending)
        return source

    opening = Deferred.fromCoroutine(cluster.failover.open(deque(cluster.copies), stubborn))
    cluster.clock.advance(PATIENCE)
    assert cluster.result(opening)[0] is cluster.copies[1]
    assert not source.stopped
    pending.callback(None)
    assert source.stopped


@pytest_twisted.ensureDeferred
async def test_all_fail() -> None:
    """What the last one failed with is raised; a single copy has all the time it needs."""
    cluster = Cluster("a", "b")
    opening = cluster.open()
    cluster.clock.advance(PATIENCE)
    cluster.fails("b", DataNotFound("gone"))
    assert not opening.called
    cluster.clock.advance(100 * PATIENCE)
    cluster.fails("a", StoreUnavailable("down"))
    with pytest.raises(StoreUnavailable, match="down"):
        await opening
    single = Cluster("a")
    opening = single.open()
    assert single.clock.getDelayedCalls() == []
    single.opens("a")
    assert (await opening)[0] is single.copies[0]


def test_remembers() -> None:
    """A store that did not answer is tried last for some seconds; then by one, and by all as soon as it answers."""
    cluster = Cluster("a", "b")
    cluster.open()
    cluster.clock.advance(PATIENCE)
    cluster.opens("b")
    for _ in range(2):
        cluster.open()
        assert cluster.asked == ["b"]
        cluster.opens("b")
    cluster.clock.advance(REST)
    trying = cluster.open()
    assert cluster.asked == ["a"]
    first = cluster.waiting.pop("a")
    cluster.open()
    assert cluster.asked == ["b"]
    cluster.opens("b")
    first.callback(ScriptedSource(b"data"))
    assert cluster.result(trying)[0] is cluster.copies[0]
    cluster.open()
    assert cluster.asked == ["a"]
    cluster.opens("a")


def test_missing_data_is_no_outage() -> None:
    """A store that answers, but has nothing, is asked first again."""
    cluster = Cluster("a", "b")
    for _ in range(2):
        cluster.open()
        assert cluster.asked == ["a"]
        cluster.fails("a", DataNotFound("gone"))
        cluster.opens("b")


@pytest_twisted.ensureDeferred
async def test_client_leaves() -> None:
    """All that is being opened is given up."""
    cluster = Cluster("a", "b")
    opening = cluster.open()
    cluster.clock.advance(PATIENCE)
    opening.cancel()
    assert cluster.cancelled == ["a", "b"]
    with pytest.raises(CancelledError):
        await opening
    assert cluster.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_defect() -> None:
    """An error that is no store's ends the search."""
    cluster = Cluster("a", "b")
    opening = cluster.open()
    cluster.clock.advance(PATIENCE)
    cluster.fails("b", ValueError("odd"))
    assert cluster.cancelled == ["a"]
    with pytest.raises(ValueError, match="odd"):
        await opening


def test_everything_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many copies are opened beside others: a machine that is slow gets no more work for it."""
    monkeypatch.setattr(module, "MOST_BESIDE", 1)
    cluster = Cluster("a", "b")
    first, second = cluster.open(), cluster.open()
    cluster.clock.advance(PATIENCE)
    assert cluster.asked == ["a", "b"]
    assert cluster.failover.beside == 1
    first.addErrback(lambda _: None)
    first.cancel()
    assert cluster.failover.beside == 0
    second.addErrback(lambda _: None)
    second.cancel()
