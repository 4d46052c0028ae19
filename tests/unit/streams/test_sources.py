"""Sources of bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IBodyProducer
from zope.interface.verify import verifyObject

from glancetx.domain.errors import StoreError
from glancetx.runtime.threads import Threads
from glancetx.streams import BytesSource, FileSource, IFileSource
from glancetx.streams.sources import PIECE
from glancetx.testing.fakes import Recorder, turns, until

CONTENT = os.urandom(3 * PIECE + 5)


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    """A file with the content, open; closed by force if the source did not."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    number = os.open(path, os.O_RDONLY)
    yield number
    if is_open(number):
        os.close(number)


def is_open(number: int) -> bool:
    """Whether the descriptor is."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


@pytest_twisted.ensureDeferred
async def test_bytes_are_delivered() -> None:
    """All bytes come, in pieces."""
    recorder = Recorder()
    assert await recorder.receive(BytesSource(CONTENT)) == CONTENT
    assert len(recorder.chunks) == 4


@pytest_twisted.ensureDeferred
async def test_no_bytes_are_delivered() -> None:
    """An empty body ends at once."""
    assert await Recorder().receive(BytesSource(b"")) == b""


@pytest_twisted.ensureDeferred
async def test_bytes_wait_for_the_consumer() -> None:
    """Paused inside a write, the source stays silent until it is resumed."""
    recorder = Recorder(limit=1)
    receiving = Deferred.fromCoroutine(recorder.receive(BytesSource(CONTENT)))
    assert len(recorder.chunks) == 1
    recorder.resume()
    assert await receiving == CONTENT


@pytest_twisted.ensureDeferred
async def test_stopped_bytes_stay_silent() -> None:
    """After a stop nothing comes and nothing fires."""
    recorder = Recorder(limit=1)
    source = BytesSource(CONTENT)
    receiving = Deferred.fromCoroutine(recorder.receive(source))
    source.stopProducing()
    recorder.resume()
    assert len(recorder.chunks) == 1
    assert not receiving.called


def test_files_provide_their_interfaces(threads: Threads) -> None:
    """A file source is a body producer whose file may be used directly."""
    source = FileSource(threads, 99, 3, 4)
    assert verifyObject(IBodyProducer, source)
    assert verifyObject(IFileSource, source)


@pytest.mark.parametrize(("offset", "length"), [(0, len(CONTENT)), (7, PIECE), (PIECE - 1, 2), (0, 0), (9, 2 * PIECE)])
@pytest_twisted.ensureDeferred
async def test_a_part_of_a_file_is_delivered(threads: Threads, descriptor: int, offset: int, length: int) -> None:
    """Exactly the wanted bytes come, and the descriptor is closed by then."""
    source = FileSource(threads, descriptor, offset, length)
    assert await Recorder().receive(source) == CONTENT[offset : offset + length]
    assert not is_open(descriptor)


@pytest_twisted.ensureDeferred
async def test_a_short_file_fails(threads: Threads, descriptor: int) -> None:
    """A file that ends early never looks whole."""
    recorder = Recorder()
    with pytest.raises(StoreError, match=f"after {len(CONTENT)} of {len(CONTENT) + 1}"):
        await recorder.receive(FileSource(threads, descriptor, 0, len(CONTENT) + 1))
    assert recorder.data == CONTENT
    assert not is_open(descriptor)


@pytest_twisted.ensureDeferred
async def test_a_failing_read_fails_the_transfer(threads: Threads, tmp_path: Path) -> None:
    """An error of the operating system ends the transfer, and the descriptor is closed."""
    number = os.open(tmp_path, os.O_RDONLY)  # a directory cannot be read
    with pytest.raises(IsADirectoryError):
        await Recorder().receive(FileSource(threads, number, 0, 10))
    assert not is_open(number)


@pytest_twisted.ensureDeferred
async def test_a_file_waits_for_the_consumer(clock: IReactorTime, threads: Threads, descriptor: int) -> None:
    """Paused, the source stays silent; resumed, it delivers the rest."""
    recorder = Recorder(limit=1)
    receiving = Deferred.fromCoroutine(recorder.receive(FileSource(threads, descriptor, 0, len(CONTENT))))
    await until(clock, lambda: recorder.paused)
    await turns(clock)
    assert len(recorder.chunks) == 1
    recorder.resume()
    assert await receiving == CONTENT


@pytest_twisted.ensureDeferred
async def test_a_file_may_be_paused_before_the_first_byte(
    clock: IReactorTime, threads: Threads, descriptor: int
) -> None:
    """A pause right after the start holds everything back."""
    recorder = Recorder()
    source = FileSource(threads, descriptor, 0, len(CONTENT))
    receiving = Deferred.fromCoroutine(recorder.receive(source))
    source.pauseProducing()
    await turns(clock)
    assert recorder.chunks == []
    source.resumeProducing()
    assert await receiving == CONTENT


@pytest.mark.parametrize("paused", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_stopped_file_is_closed(clock: IReactorTime, threads: Threads, descriptor: int, paused: bool) -> None:
    """A stop while a read is under way, or in a pause, closes the descriptor; the Deferred never fires."""
    recorder = Recorder(limit=1)
    source = FileSource(threads, descriptor, 0, len(CONTENT))
    receiving = Deferred.fromCoroutine(recorder.receive(source))
    if paused:
        await until(clock, lambda: recorder.paused)
    source.stopProducing()
    source.stopProducing()
    await until(clock, lambda: not is_open(descriptor))
    assert not receiving.called


@pytest_twisted.ensureDeferred
async def test_a_file_never_started_is_closed(clock: IReactorTime, threads: Threads, descriptor: int) -> None:
    """A stop before the start closes the descriptor, once."""
    source = FileSource(threads, descriptor, 0, len(CONTENT))
    source.stopProducing()
    await until(clock, lambda: not is_open(descriptor))
    other = os.dup(2)  # most likely the same number
    source.stopProducing()
    await turns(clock)
    assert is_open(other)
    os.close(other)


@pytest_twisted.ensureDeferred
async def test_a_file_is_closed_without_threads(threads: Threads, descriptor: int) -> None:
    """When the pool has stopped already the descriptor is closed all the same."""
    source = FileSource(threads, descriptor, 0, len(CONTENT))
    await threads.stop()
    source.stopProducing()
    assert not is_open(descriptor)


@pytest_twisted.ensureDeferred
async def test_cancelling_a_file_stops_it(clock: IReactorTime, threads: Threads, descriptor: int) -> None:
    """Cancelling the Deferred raises CancelledError there and closes the descriptor."""
    done = FileSource(threads, descriptor, 0, len(CONTENT)).startProducing(Recorder())
    done.cancel()
    with pytest.raises(CancelledError):
        await done
    await until(clock, lambda: not is_open(descriptor))


@pytest_twisted.ensureDeferred
async def test_a_consumer_that_raises_fails_the_transfer(threads: Threads, descriptor: int) -> None:
    """An error in `write` comes out of the Deferred, and the descriptor is closed."""

    class Broken(Recorder):
        def write(self, data: bytes) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Broken().receive(FileSource(threads, descriptor, 0, len(CONTENT)))
    assert not is_open(descriptor)
