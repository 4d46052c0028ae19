"""What every implementation of ILeases does; run by whoever has the fixture `parties`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest_twisted
from attrs import frozen
from twisted.internet.defer import gatherResults

NAMES = ("auditor", "replicator", "scrubber")


@frozen
class Parties:
    """Two processes, and what lets what *there* holds run out while *here* lives on."""

    here: Any
    there: Any
    run_out: Callable[[], Awaitable[None]]


@pytest_twisted.ensureDeferred
async def test_one_holds_it(parties: Parties) -> None:
    """Who comes first has it, each time it asks, for some time; another lease is another matter."""
    held = await parties.here.hold(["auditor"])
    assert held.names == {"auditor"}
    assert held.seconds > 0
    assert (await parties.there.hold(["auditor"])).names == set()
    assert (await parties.here.hold(["auditor"])).names == {"auditor"}
    assert (await parties.there.hold(["scrubber"])).names == {"scrubber"}


@pytest_twisted.ensureDeferred
async def test_several_at_once(parties: Parties) -> None:
    """What another has is left to it; the rest is taken, and kept."""
    await parties.there.hold(["replicator"])
    for _ in range(2):
        assert (await parties.here.hold(NAMES)).names == {"auditor", "scrubber"}
        assert (await parties.there.hold(NAMES)).names == {"replicator"}
    assert (await parties.here.hold([])).names == set()


@pytest_twisted.ensureDeferred
async def test_at_the_same_time(parties: Parties) -> None:
    """Of two that want the same at the same time, one gets it."""
    for number in range(10):
        name = f"lease {number}"
        held = await gatherResults([_deferred(each.hold([name])) for each in (parties.here, parties.there)])
        assert sorted(len(each.names) for each in held) == [0, 1]


@pytest_twisted.ensureDeferred
async def test_given_back(parties: Parties) -> None:
    """Who gives it back leaves it to others; giving back what is another's changes nothing."""
    await parties.here.hold(NAMES)
    await parties.there.release(["auditor"])
    assert (await parties.there.hold(["auditor"])).names == set()
    await parties.here.release(["auditor", "unknown"])
    assert (await parties.there.hold(NAMES)).names == {"auditor"}
    assert (await parties.here.hold(NAMES)).names == {"replicator", "scrubber"}


@pytest_twisted.ensureDeferred
async def test_run_out(parties: Parties) -> None:
    """The lease of a process that says no more that it lives is anybody's; if it wakes up then, it learns so."""
    await parties.there.hold(NAMES)
    await parties.run_out()
    assert (await parties.here.hold(["auditor"])).names == {"auditor"}
    assert "auditor" not in (await parties.there.hold(NAMES)).names
    await parties.there.release(NAMES)
    assert (await parties.here.hold(["auditor"])).names == {"auditor"}


def _deferred(work: Any) -> Any:
    from twisted.internet.defer import ensureDeferred

    return ensureDeferred(work)
