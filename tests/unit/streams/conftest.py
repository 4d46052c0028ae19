"""Threads for the tests of streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from glancetx.runtime.threads import Threads


@pytest.fixture
def clock() -> IReactorTime:
    """The reactor pytest-twisted runs: what happens in threads cannot be waited for by a Clock."""
    from twisted.internet import reactor

    return cast(IReactorTime, reactor)


@pytest.fixture
def threads(clock: IReactorTime) -> Iterator[Threads]:
    """A running pool, stopped after the test: then nothing may be left in it."""
    pool = Threads(cast(IReactorFromThreads, clock), "streams", 4)
    pool.start()
    yield pool
    pytest_twisted.blockon(Deferred.fromCoroutine(pool.stop()))
