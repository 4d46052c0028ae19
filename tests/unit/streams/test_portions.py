"""A stream is cut into bodies."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from glancetx.domain.errors import SizeMismatch
from glancetx.streams import Intake
from glancetx.streams.portions import Portions
from glancetx.testing.fakes import Recorder, ScriptedSource

DATA = bytes(range(256)) * 40


async def cut(source: ScriptedSource, announced: Any, most: int) -> list[bytes]:
    """All portions of *most* bytes, as a store would take them."""
    found = []
    async with Intake(source, block=1000) as intake:
        portions = Portions(intake, announced)
        while await portions.more():
            found.append(await Recorder().receive(portions.portion(most)))
        assert portions.size == sum(map(len, found))
    return found


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("most", [1, 999, 1000, 4096, len(DATA), len(DATA) + 1])
@pytest_twisted.ensureDeferred
async def test_bodies(most: int, known: bool) -> None:
    """Each has *most* bytes, but for the last, wherever the source's own chunks end."""
    data = DATA[:300] if most == 1 else DATA
    pieces = [data[i : i + 700] for i in range(0, len(data), 700)]
    found = await cut(ScriptedSource(*pieces), len(data) if known else None, most)
    assert b"".join(found) == data
    assert {len(each) for each in found[:-1]} <= {most}


@pytest.mark.parametrize("most", [1, 1000, len(DATA)])
@pytest_twisted.ensureDeferred
async def test_blocks(most: int) -> None:
    """Blocks in memory are cut the same way."""
    data = DATA[:300] if most == 1 else DATA
    async with Intake(ScriptedSource(data)) as intake:
        portions = Portions(intake, None)
        found = []
        while block := await portions.block(most):
            found.append(b"".join(block))
    assert b"".join(found) == data
    assert {len(each) for each in found[:-1]} <= {most}


@pytest.mark.parametrize("announced", [len(DATA) - 1, len(DATA) + 1])
@pytest_twisted.ensureDeferred
async def test_wrong_size(announced: int) -> None:
    """Neither more nor less than announced passes."""
    with pytest.raises(SizeMismatch):
        await cut(ScriptedSource(DATA), announced, 4096)


@pytest_twisted.ensureDeferred
async def test_holds_the_end_back() -> None:
    """The last bytes are handed out when the source has ended, not before: whoever has them all may act on it."""
    source = ScriptedSource(DATA, held=True)
    async with Intake(source, block=1000) as intake:
        recorder = Recorder()
        receiving = Deferred.fromCoroutine(recorder.receive(Portions(intake, len(DATA)).portion(len(DATA))))
        assert len(recorder.data) < len(DATA)
        source.end()
        assert await receiving == DATA


@pytest_twisted.ensureDeferred
async def test_fails_with_its_source() -> None:
    """The error of the source is the portion's, and the last bytes before it stay here."""
    source = ScriptedSource(DATA, error=ValueError("no"))
    async with Intake(source, block=1000) as intake:
        recorder = Recorder()
        with pytest.raises(ValueError, match="no"):
            await recorder.receive(Portions(intake, len(DATA)).portion(len(DATA)))
    assert len(recorder.data) < len(DATA)


@pytest_twisted.ensureDeferred
async def test_pauses_and_stops() -> None:
    """A portion obeys its consumer."""
    pieces = [DATA[i : i + 1000] for i in range(0, len(DATA), 1000)]
    async with Intake(ScriptedSource(*pieces), block=1000) as intake:
        recorder = Recorder(limit=1)
        portion = Portions(intake, None).portion(len(DATA))
        receiving = Deferred.fromCoroutine(recorder.receive(portion))
        assert len(recorder.chunks) == 1
        portion.stopProducing()
        recorder.resume()
        assert len(recorder.chunks) == 1
        assert not receiving.called
