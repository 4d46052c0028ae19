"""One source, several consumers of equal rank."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from glancetx.domain.errors import StoreFull
from glancetx.streams.fan import Fan
from glancetx.testing.fakes import Recorder, ScriptedSource


def receive(fan: Fan, *recorders: Any) -> list[Deferred[bytes]]:
    pairs = zip(recorders, fan.outlets, strict=True)
    return [Deferred.fromCoroutine(recorder.receive(outlet)) for recorder, outlet in pairs]


@pytest_twisted.ensureDeferred
async def test_all_get_everything() -> None:
    """The source waits until all are there; then each gets all bytes."""
    source = ScriptedSource(b"a", b"b")
    fan = Fan(source, 3)
    first = receive(fan, Recorder(), Recorder(), Recorder())
    assert [await each for each in first] == [b"ab"] * 3
    assert [outlet.length for outlet in fan.outlets] == [2] * 3


@pytest_twisted.ensureDeferred
async def test_waits_for_the_last() -> None:
    source = ScriptedSource(b"a")
    fan = Fan(source, 2)
    one = Deferred.fromCoroutine(Recorder().receive(fan.outlets[0]))
    assert not source.started
    two = Deferred.fromCoroutine(Recorder().receive(fan.outlets[1]))
    assert [await one, await two] == [b"a", b"a"]


@pytest.mark.parametrize("slow", [0, 1, 2])
@pytest_twisted.ensureDeferred
async def test_the_slowest_sets_the_pace(slow: int) -> None:
    """A pause of any holds the source."""
    source = ScriptedSource(b"a", b"b")
    recorders = [Recorder() for _ in range(3)]
    recorders[slow].limit = 1
    ends = receive(Fan(source, 3), *recorders)
    assert source.paused
    assert [each.data for each in recorders] == [b"a"] * 3
    recorders[slow].resume()
    assert [await end for end in ends] == [b"ab"] * 3


@pytest_twisted.ensureDeferred
async def test_one_stops() -> None:
    """The others go on without it, and its pause is forgotten."""
    source, slow = ScriptedSource(b"a", b"b"), Recorder(limit=1)
    fan = Fan(source, 2)
    stopped, other = receive(fan, slow, Recorder())
    fan.outlets[0].stopProducing()
    assert await other == b"ab"
    assert slow.data == b"a"
    assert not stopped.called


@pytest_twisted.ensureDeferred
async def test_one_never_starts() -> None:
    """An outlet stopped before the start keeps nobody waiting."""
    fan = Fan(ScriptedSource(b"a"), 2)
    fan.outlets[0].stopProducing()
    assert await Recorder().receive(fan.outlets[1]) == b"a"


@pytest_twisted.ensureDeferred
async def test_one_raises() -> None:
    """A consumer that raises is told its own error; the others go on."""

    class Full(Recorder):
        def write(self, data: bytes) -> None:
            raise StoreFull("full")

    one, two = receive(Fan(ScriptedSource(b"a", b"b"), 2), Full(), Recorder())
    with pytest.raises(StoreFull):
        await one
    assert await two == b"ab"


@pytest.mark.parametrize("started", [False, True])
def test_all_stop(started: bool) -> None:
    """With nobody left the source is stopped, started or not."""
    source = ScriptedSource(held=True)
    fan = Fan(source, 2)
    if started:
        receive(fan, Recorder(), Recorder())
    for outlet in fan.outlets:
        assert not source.stopped
        outlet.stopProducing()
    assert source.stopped
    assert source.started == started


@pytest_twisted.ensureDeferred
async def test_the_source_fails() -> None:
    """Its error comes out of every outlet."""
    fan = Fan(ScriptedSource(b"a", error=StoreFull("gone")), 2)
    for end in receive(fan, Recorder(), Recorder()):
        with pytest.raises(StoreFull, match="gone"):
            await end
