"""Files that are filled while others read them."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from glancetx.cache.files import CacheFolder, Draft
from glancetx.cache.growing import Fill, Follower
from glancetx.domain.cached import Content
from glancetx.domain.errors import CacheLost, DataCorrupt, StoreUnavailable
from glancetx.runtime.threads import Threads
from glancetx.testing.fakes import Recorder, ScriptedSource, turns, until

IMAGE = "0f44c25c-d457-4b7e-bbdb-39a4fdd6ae88"
DATA = bytes(range(256)) * 1000
CONTENT = Content(image_id=IMAGE, size=len(DATA), algorithm="sha256", digest=hashlib.sha256(DATA).hexdigest())


@pytest.fixture
def clock() -> IReactorTime:
    from twisted.internet import reactor

    return cast(IReactorTime, reactor)


@pytest.fixture
def threads(clock: IReactorTime) -> Iterator[Threads]:
    pool = Threads(cast(IReactorFromThreads, clock), "cache", 4)
    pool.start()
    yield pool
    pytest_twisted.blockon(Deferred.fromCoroutine(pool.stop()))


@pytest.fixture
def folder(tmp_path: Path) -> CacheFolder:
    made = CacheFolder(tmp_path)
    made.prepare()
    return made


def begun(folder: CacheFolder, threads: Threads) -> tuple[Draft, Fill]:
    draft = folder.draft(IMAGE)
    assert draft.create()
    return draft, Fill(draft, CONTENT, threads, lambda: None)


@pytest_twisted.ensureDeferred
async def test_last_byte_waits(folder: CacheFolder, threads: Threads, clock: IReactorTime) -> None:
    """A reader has all but the last byte as it comes, and that one when the whole was compared."""
    _, fill = begun(folder, threads)
    source, recorder = ScriptedSource(held=True), Recorder()
    running = ensureDeferred(fill.run(source, threads))
    fill.join()
    reading = ensureDeferred(recorder.receive(Follower(fill, threads)))
    source.send(DATA)
    await until(clock, lambda: len(recorder.data) == len(DATA) - 1)
    await turns(clock)
    assert len(recorder.data) == len(DATA) - 1
    source.end()
    await running
    assert await reading == DATA
    assert folder.whole(IMAGE).read_bytes() == DATA


@pytest_twisted.ensureDeferred
async def test_full_disk(folder: CacheFolder, threads: Threads) -> None:
    """If nothing can be written, readers are told to go on elsewhere, the source is stopped, and nothing is left."""
    draft, fill = begun(folder, threads)
    os.close(draft.descriptor)
    draft.descriptor = os.open("/dev/full", os.O_RDWR)
    source = ScriptedSource(DATA, held=True)
    fill.join()
    reading = ensureDeferred(Recorder().receive(Follower(fill, threads)))
    with pytest.raises(CacheLost, match="No space left"):
        await fill.run(source, threads)
    with pytest.raises(CacheLost):
        await reading
    assert source.stopped
    assert os.listdir(folder.incomplete) == os.listdir(folder.invalid) == []


@pytest.mark.parametrize("wrong", [DATA[:-1], DATA + b"?", DATA[:-1] + b"?"])
@pytest_twisted.ensureDeferred
async def test_wrong_data(folder: CacheFolder, threads: Threads, wrong: bytes) -> None:
    """Too little, too much or other data: no reader has the whole, and it is kept as invalid."""
    _, fill = begun(folder, threads)
    recorder = Recorder()
    fill.join()
    reading = ensureDeferred(recorder.receive(Follower(fill, threads)))
    with pytest.raises(DataCorrupt):
        await fill.run(ScriptedSource(wrong), threads)
    with pytest.raises(DataCorrupt):
        await reading
    assert len(recorder.data) < len(DATA)
    assert os.listdir(folder.invalid) == [IMAGE]
    assert not folder.is_cached(IMAGE)


@pytest_twisted.ensureDeferred
async def test_source_fails(folder: CacheFolder, threads: Threads) -> None:
    """The error of the store is that of the fill; readers go on elsewhere."""
    _, fill = begun(folder, threads)
    fill.join()
    reading = ensureDeferred(Recorder().receive(Follower(fill, threads)))
    with pytest.raises(StoreUnavailable, match="gone"):
        await fill.run(ScriptedSource(DATA[:5], error=StoreUnavailable("gone")), threads)
    with pytest.raises(CacheLost):
        await reading
    assert os.listdir(folder.incomplete) == []


@pytest_twisted.ensureDeferred
async def test_paused_reader(folder: CacheFolder, threads: Threads, clock: IReactorTime) -> None:
    """One who pauses holds up nobody, and goes on when he wants; the file stays readable meanwhile."""
    _, fill = begun(folder, threads)
    slow, quick = Recorder(limit=1), Recorder()
    readers = []
    for recorder in (slow, quick):
        fill.join()
        readers.append(ensureDeferred(recorder.receive(Follower(fill, threads))))
    await fill.run(ScriptedSource(*(DATA[at : at + 1000] for at in range(0, len(DATA), 1000))), threads)
    assert await readers[1] == DATA
    assert len(slow.data) < len(DATA)
    folder.remove(IMAGE)
    slow.resume()
    assert await readers[0] == DATA


@pytest_twisted.ensureDeferred
async def test_used_file_is_not_pruned(folder: CacheFolder, threads: Threads) -> None:
    """What somebody reads stays, also for other processes; afterwards it can go."""
    _, fill = begun(folder, threads)
    await fill.run(ScriptedSource(DATA), threads)
    opened = folder.opened(IMAGE)
    assert opened.open()
    assert not folder.remove_unused(IMAGE)
    opened.close()
    assert folder.remove_unused(IMAGE)
    assert not folder.is_cached(IMAGE)


def test_one_draft(folder: CacheFolder) -> None:
    """While one is being filled there is no second one; neither when it is cached."""
    draft = folder.draft(IMAGE)
    assert draft.create()
    assert not folder.draft(IMAGE).create()
    draft.publish(CONTENT.mark)
    assert not folder.draft(IMAGE).create()
    draft.close()


@pytest.mark.parametrize("call", ["setxattr", "link", "unlink"])
def test_a_disk_that_fails(folder: CacheFolder, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """What could not be begun keeps no lock, for which readers would wait, and is begun the next time."""
    fine, failures = getattr(os, call), [errno.EIO]

    def failing(*args: Any, **more: Any) -> Any:
        if failures:
            raise OSError(failures.pop(), "injected")
        return fine(*args, **more)

    monkeypatch.setattr(os, call, failing)
    draft = folder.draft(IMAGE)
    with pytest.raises(OSError, match="injected"):
        draft.create()
    assert draft.descriptor == -1
    again = folder.draft(IMAGE)
    assert again.create()
    again.drop()
    assert os.listdir(folder.incomplete) == []


def test_strange_names(folder: CacheFolder) -> None:
    """Nothing but images is removed or shown, whatever somebody asks for."""
    (folder.path / "cache.db").touch()
    for name in ("incomplete", "cache.db", "..", ".", "", "../x"):
        assert not folder.remove(name)
        assert not folder.unqueue(name)
        assert not folder.is_cached(name)
    assert folder.cached() == []
    assert (folder.path / "cache.db").exists()


def test_queue(folder: CacheFolder) -> None:
    """The oldest comes first; nobody is on it twice."""
    other = IMAGE.replace("0", "1")
    assert folder.enqueue(other)
    assert folder.enqueue(IMAGE)
    os.utime(folder.queue / other, (1, 1))
    assert not folder.enqueue(IMAGE)
    assert folder.queued() == [other, IMAGE]
    assert folder.unqueue(other)
    assert not folder.unqueue(other)


def test_clean(folder: CacheFolder) -> None:
    """Invalid files go, incomplete ones if they are stale or ours and dead, and not those being filled."""
    draft = folder.draft(IMAGE)
    assert draft.create()
    for name in ("stale", "fresh", "dead"):
        (folder.incomplete / name).write_bytes(b"x")
    (folder.invalid / "wrong").write_bytes(b"x")
    os.utime(folder.incomplete / "stale", (1, 1))
    os.setxattr(folder.incomplete / "dead", "user.glancetx.filling", b"1")
    assert folder.clean(older_than=1000) == 3
    assert sorted(os.listdir(folder.incomplete)) == sorted([IMAGE, "fresh"])
    draft.drop()
    assert os.listdir(folder.incomplete) == ["fresh"]
