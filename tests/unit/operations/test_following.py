"""What a follower of an import is told, and when."""

from __future__ import annotations

from typing import Any, cast

import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from glancetx.domain.context import RequestContext
from glancetx.domain.following import ImportState
from glancetx.domain.task import Task
from glancetx.operations.following import Follower, Following

TASK = Task(id="t", type="api_image_import", owner="red", message="secret", result={"bytes_done": 1})
STATE = ImportState(image_id="i", status="importing", task=TASK)


class Room:
    """Forgets nobody, for there is nobody else."""

    def drop(self, follower: Follower) -> None: ...


def follower(clock: Clock, **caller: Any) -> Follower:
    return Follower(cast(Following, Room()), clock, RequestContext(**caller), "i")


def begin(follower: Follower) -> list[Any]:
    """What `next` ends with."""
    outcome: list[Any] = []
    Deferred.fromCoroutine(follower.next(15)).addBoth(outcome.append)
    return outcome


def test_told_once() -> None:
    """News come at once; what has not changed is none; silence ends after a while."""
    clock = Clock()
    one = follower(clock, is_admin=True)
    one.tell(STATE)
    assert begin(one) == [STATE]
    waiting = begin(one)
    one.tell(STATE)
    assert waiting == []
    clock.advance(15)
    assert waiting == [None]
    waiting = begin(one)
    one.tell(ImportState(image_id="i", status="active"))
    assert [state.status for state in waiting] == ["active"]
    assert clock.getDelayedCalls() == []


def test_only_the_newest() -> None:
    """Who is slow misses what is old."""
    one = follower(Clock(), is_admin=True)
    one.tell(STATE)
    one.tell(None)
    assert [state.status for state in begin(one)] == ["deleted"]


def test_end() -> None:
    """Who waits is told that it is over."""
    one = follower(Clock())
    waiting = begin(one)
    one.end()
    assert (waiting, one.ended, begin(one)) == ([None], True, [None])


@pytest_twisted.ensureDeferred
async def test_cancelled() -> None:
    """Nothing stays behind."""
    clock = Clock()
    waiting = Deferred.fromCoroutine(follower(clock).next(15))
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    await waiting
    assert clock.getDelayedCalls() == []


def test_whose_task_it_is() -> None:
    """What a task says is for its project and for administrators."""
    for caller, shown in (({"project_id": "red"}, True), ({"project_id": "blue"}, False), ({"is_admin": True}, True)):
        one = follower(Clock(), **cast(dict[str, Any], caller))
        one.tell(STATE)
        (state,) = begin(one)
        assert state.going_on
        assert (state.task.message == "secret", state.task.result is not None) == (shown, shown)
