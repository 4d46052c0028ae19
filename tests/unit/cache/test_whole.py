"""Whole files that stay open, and reads that are counted together."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock

from glancetx.cache.files import CacheFolder
from glancetx.cache.hits import APART, Hits
from glancetx.cache.index_xattr import AttributeIndex
from glancetx.cache.whole import WholeFile
from glancetx.runtime.threads import Threads
from glancetx.streams.open_files import OpenFiles

IMAGE = "0f44c25c-d457-4b7e-bbdb-39a4fdd6ae88"
STOPPED = Threads(cast(IReactorFromThreads, None), "files", 1)  # what is closed is closed at once


@pytest.fixture
def folder(tmp_path: Path) -> CacheFolder:
    made = CacheFolder(tmp_path)
    made.prepare()
    made.whole(IMAGE).write_bytes(b"content")
    return made


@pytest.fixture
def files() -> Iterator[OpenFiles[WholeFile]]:
    opened = OpenFiles[WholeFile](Clock())
    yield opened
    opened.close()


def read(folder: CacheFolder, files: OpenFiles[WholeFile]) -> WholeFile:
    """A file with its first reader."""
    opened = folder.opened(IMAGE)
    assert opened.open()
    return files.share(IMAGE, WholeFile(opened, "md5:0", STOPPED))


def test_only_what_is_read_stays(folder: CacheFolder, files: OpenFiles[WholeFile]) -> None:
    """A file that is open for who may come is pruned, one with a reader is not; also when it was found open."""
    file = read(folder, files)
    assert not folder.remove_unused(IMAGE)
    assert files.find(IMAGE) is file
    file.leave()
    assert not folder.remove_unused(IMAGE)
    file.leave()
    assert files.find(IMAGE) is file
    assert not folder.remove_unused(IMAGE)
    file.leave()
    assert folder.remove_unused(IMAGE)
    assert files.find(IMAGE) is None


def written_to(folder: CacheFolder) -> None:
    with folder.whole(IMAGE).open("r+b") as file:
        file.write(b"another")


def replaced(folder: CacheFolder) -> None:
    other = folder.path / "other"
    other.write_bytes(b"content")
    other.rename(folder.whole(IMAGE))


@pytest.mark.parametrize(
    "done", [lambda each: each.condemn(IMAGE), lambda each: each.remove(IMAGE), written_to, replaced]
)
@pytest.mark.parametrize("reading", [False, True])
def test_is_not_found_again(
    folder: CacheFolder, files: OpenFiles[WholeFile], done: Callable[[CacheFolder], object], reading: bool
) -> None:
    """Whatever another process or program did to it, who comes next opens what is there; who reads goes on."""
    os.utime(folder.whole(IMAGE), (0, 0))
    file = read(folder, files)
    if not reading:
        file.leave()
    done(CacheFolder(folder.path))
    assert files.find(IMAGE) is None
    if reading:
        assert len(os.pread(file.descriptor, 10, 0)) == 7
        file.leave()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.descriptor)


def test_who_prunes_comes_first(folder: CacheFolder, files: OpenFiles[WholeFile]) -> None:
    """A file that is just being removed is not found, and not waited for."""
    read(folder, files).leave()
    with folder.whole(IMAGE).open() as pruning:
        fcntl.flock(pruning, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert files.find(IMAGE) is None


@pytest_twisted.ensureDeferred
async def test_reads_are_told_together(folder: CacheFolder) -> None:
    """The first one at once; of those that come soon after it none is lost, and who asks has them before."""
    from twisted.internet import reactor

    threads = Threads(cast(IReactorFromThreads, reactor), "cache", 1)
    threads.start()
    clock, index = Clock(), AttributeIndex(folder, threads)
    hits = Hits(index, clock)

    async def known() -> int:
        return (await index.entries())[0].hits

    assert hits.count(IMAGE)
    telling = Deferred.fromCoroutine(hits.tell())
    await hits.told()
    assert await known() == 1
    assert not any(hits.count(IMAGE) for _ in range(3))
    assert await known() == 1
    await hits.told()
    assert await known() == 4
    assert not hits.count(IMAGE)
    clock.advance(APART)
    await hits.told()
    assert await known() == 5
    clock.advance(APART)
    await telling
    assert hits.count(IMAGE)
    await threads.stop()
