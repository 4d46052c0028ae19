"""A stream whose end waits for approval."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError
from twisted.web.iweb import IBodyProducer
from zope.interface.verify import verifyObject

from glancetx.streams import HeldBack, Tap
from glancetx.testing.fakes import Recorder, ScriptedSource
from tests.unit.streams.test_tap import Witness


class Refuses(Witness):
    async def finish(self) -> None:
        raise ValueError("not what it should be")


@pytest_twisted.ensureDeferred
async def test_delivers_what_was_approved() -> None:
    """Everything, in order; and it is a body producer of the same length."""
    consumer = Recorder()
    held = HeldBack(ScriptedSource(b"a", b"bc", b"d"))
    assert verifyObject(IBodyProducer, held)
    assert held.length == 4
    await held.startProducing(consumer)
    assert b"".join(consumer.chunks) == b"abcd"


@pytest_twisted.ensureDeferred
async def test_keeps_the_end_of_what_was_refused() -> None:
    """The last chunk never comes."""
    consumer = Recorder()
    held = HeldBack(Tap(ScriptedSource(b"a", b"bc", b"d"), Refuses()))
    with pytest.raises(ValueError, match="not what it should be"):
        await held.startProducing(consumer)
    assert b"".join(consumer.chunks) == b"abc"


@pytest_twisted.ensureDeferred
async def test_a_single_chunk_is_the_end() -> None:
    """Nothing of it is delivered, if it is refused."""
    consumer = Recorder()
    with pytest.raises(ValueError, match="not what"):
        await HeldBack(Tap(ScriptedSource(b"all"), Refuses())).startProducing(consumer)
    assert consumer.chunks == []


@pytest_twisted.ensureDeferred
async def test_nothing_at_all() -> None:
    """A source of no bytes ends well."""
    consumer = Recorder()
    await HeldBack(ScriptedSource()).startProducing(consumer)
    assert b"".join(consumer.chunks) == b""


@pytest_twisted.ensureDeferred
async def test_cancelled() -> None:
    """The source stops."""
    source = ScriptedSource(b"a", b"b", held=True, length=4)
    done = HeldBack(source).startProducing(Recorder())
    done.cancel()
    with pytest.raises(CancelledError):
        await done
    assert source.stopped
