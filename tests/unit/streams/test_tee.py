"""One source, two consumers."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from glancetx.domain.errors import ClientVanished
from glancetx.streams import Tee
from glancetx.testing.fakes import Recorder, ScriptedSource


@pytest_twisted.ensureDeferred
async def test_both_get_everything() -> None:
    """The source waits until both are there; then both get all bytes."""
    source = ScriptedSource(b"a", b"b")
    tee = Tee(source)
    main = Deferred.fromCoroutine(Recorder().receive(tee.main))
    assert not source.started
    branch = Deferred.fromCoroutine(Recorder().receive(tee.branch))
    assert await main == b"ab"
    assert await branch == b"ab"


@pytest.mark.parametrize("slow", ["main", "branch"])
@pytest_twisted.ensureDeferred
async def test_the_slower_one_sets_the_pace(slow: str) -> None:
    """A pause of either holds the source."""
    source = ScriptedSource(b"a", b"b")
    tee = Tee(source)
    recorders = {"main": Recorder(), "branch": Recorder()}
    recorders[slow].limit = 1
    ends = [Deferred.fromCoroutine(recorders[name].receive(getattr(tee, name))) for name in recorders]
    assert source.paused
    assert [each.data for each in recorders.values()] == [b"a", b"a"]
    recorders[slow].resume()
    assert [await end for end in ends] == [b"ab", b"ab"]


@pytest_twisted.ensureDeferred
async def test_a_branch_that_stops_is_dropped() -> None:
    """The rest goes on without it, and its pause is forgotten."""
    source, slow = ScriptedSource(b"a", b"b"), Recorder(limit=1)
    tee = Tee(source)
    branch = Deferred.fromCoroutine(slow.receive(tee.branch))
    main = Deferred.fromCoroutine(Recorder().receive(tee.main))
    tee.branch.stopProducing()
    assert await main == b"ab"
    assert slow.data == b"a"
    assert not branch.called


@pytest_twisted.ensureDeferred
async def test_a_branch_may_refuse_to_start() -> None:
    """Stopped before the start, it does not keep the source waiting."""
    tee = Tee(ScriptedSource(b"a"))
    main = Deferred.fromCoroutine(Recorder().receive(tee.main))
    tee.branch.stopProducing()
    assert await main == b"a"


@pytest_twisted.ensureDeferred
async def test_a_branch_that_raises_is_dropped() -> None:
    """An error in its `write` goes to the branch alone."""

    class Broken(Recorder):
        def write(self, data: bytes) -> None:
            raise ZeroDivisionError

    tee = Tee(ScriptedSource(b"a", b"b"))
    branch = Deferred.fromCoroutine(Broken().receive(tee.branch))
    assert await Recorder().receive(tee.main) == b"ab"
    with pytest.raises(ZeroDivisionError):
        await branch


@pytest_twisted.ensureDeferred
async def test_stopping_main_stops_all() -> None:
    """The source is stopped, and the branch learns that it has not got everything."""
    source = ScriptedSource(b"a", held=True)
    tee = Tee(source)
    branch = Deferred.fromCoroutine(Recorder().receive(tee.branch))
    main = tee.main.startProducing(Recorder())
    tee.main.stopProducing()
    assert source.stopped
    assert not main.called
    with pytest.raises(ClientVanished):
        await branch


@pytest_twisted.ensureDeferred
async def test_an_error_goes_to_both() -> None:
    """A failing source fails both."""
    tee = Tee(ScriptedSource(b"a", error=ZeroDivisionError()))
    branch = Deferred.fromCoroutine(Recorder().receive(tee.branch))
    with pytest.raises(ZeroDivisionError):
        await Recorder().receive(tee.main)
    with pytest.raises(ZeroDivisionError):
        await branch


def test_never_started() -> None:
    """Stopping main before the start releases the source."""
    source = ScriptedSource(b"a")
    Tee(source).main.stopProducing()
    assert source.stopped
