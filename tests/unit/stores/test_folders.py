"""A file store's directories: priorities, mount points and what is told of them, holes; disks that do not answer.

Contract rows S-023, S-025, S-027, S-030.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from glancetx.config.settings import FilesystemSettings
from glancetx.domain.errors import ConfigurationError, Conflict, DataNotFound, StoreFull, StoreUnavailable
from glancetx.runtime.threads import Threads
from glancetx.stores.filesystem import FilesystemStore
from glancetx.stores.folders import Folders
from glancetx.stores.lookups import Lookups
from glancetx.stores.zeros import written_parts
from glancetx.testing.stores import keep, new_attempt, new_id, read, the_reactor

KIB = 1024


@asynccontextmanager
async def opened(multiple: bool = False, **settings: Any) -> AsyncIterator[FilesystemStore]:
    """A started store."""
    reactor: Any = the_reactor()
    threads = Threads(reactor, "files", 2)
    threads.start()
    store = FilesystemStore(FilesystemSettings(identifier="fast", **settings), threads, multiple)
    try:
        await store.start()
        yield store
    finally:
        await store.stop()
        await threads.stop()


@frozen
class Room:
    """What `os.statvfs` tells of a disk with so many bytes free."""

    f_bavail: int
    f_frsize: int = 1


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Bytes free in directories by their names."""
    free: dict[str, int] = {}
    monkeypatch.setattr(os, "statvfs", lambda path: Room(free.get(Path(path).name, 0)))
    return free


def folders(tmp_path: Path, **priorities: int) -> Folders:
    found = Folders(FilesystemSettings(datadirs=tuple((tmp_path / name, rank) for name, rank in priorities.items())))
    found.prepare()
    return found


@pytest.mark.parametrize(
    ("free", "size", "chosen"),
    [
        ({"a": 100, "b": 900, "c": 50, "d": 999}, 10, "b"),  # the highest priority, and there the most room
        ({"a": 100, "b": 100, "c": 500, "d": 999}, 10, "a"),  # the same room: the first one
        ({"a": 100, "b": 90, "c": 500, "d": 999}, 200, "c"),  # no room there: the next priority
        ({"a": 100, "b": 90, "c": 500, "d": 999}, 0, "a"),  # nobody knows the size
        ({"a": 0, "b": 0, "c": 0, "d": 999}, 0, "d"),
    ],
)
def test_priorities(tmp_path: Path, rooms: dict[str, int], free: dict[str, int], size: int, chosen: str) -> None:
    """Which directory takes an image."""
    rooms.update(free)
    assert folders(tmp_path, d=-1, a=9, c=0, b=9).choose("x", size) == tmp_path / chosen


def test_no_room(tmp_path: Path, rooms: dict[str, int]) -> None:
    """If none has room the store is full."""
    rooms.update({"a": 100, "b": 100})
    with pytest.raises(StoreFull):
        folders(tmp_path, a=1, b=2).choose("x", 101)


def test_elsewhere(tmp_path: Path, rooms: dict[str, int]) -> None:
    """An image in one of the directories gets no second file in another."""
    rooms.update({"a": 100, "b": 100})
    found = folders(tmp_path, a=1, b=2)
    (tmp_path / "a" / "x").touch()
    with pytest.raises(Conflict):
        found.choose("x", 1)


@pytest_twisted.ensureDeferred
async def test_several(tmp_path: Path) -> None:
    """Locations tell the directory; what lies in any of them is read, discarded and deleted."""
    names = [tmp_path / name for name in ("low", "high")]
    async with opened(datadirs=((names[0], 1), (names[1], 2))) as store:
        image_id, attempt = new_id(), new_attempt()
        stored = await keep(store, b"content", image_id)
        assert stored.url == f"file://{tmp_path}/high/{image_id}"
        assert store.url_prefix == f"file://{tmp_path}/high/"
        (names[0] / "old").write_bytes(b"old")
        assert await read(store, f"file://{tmp_path}/low/old") == b"old"
        await store.delete(f"file://{tmp_path}/low/old")
        (names[0] / f".{image_id}.{attempt}.part").touch()
        await store.discard(image_id, attempt)
        assert os.listdir(names[0]) == []
        assert await read(store, stored.url) == b"content"


@pytest_twisted.ensureDeferred
async def test_metadata(tmp_path: Path) -> None:
    """Locations tell of their mount point, and nothing where none is known."""
    entries: list[dict[str, Any]] = [
        {"id": "one", "mountpoint": f"{tmp_path}/one", "share": ["nfs", {"export": "/x"}]},
        {"id": "two", "mountpoint": f"{tmp_path}/two"},
    ]
    file = tmp_path / "metadata.json"
    file.write_text(json.dumps(entries))
    async with opened(multiple=True, datadir=tmp_path / "one" / "images", metadata_file=file) as store:
        assert (await keep(store, b"x")).metadata == {**entries[0], "store": "fast"}
    file.write_text(json.dumps(entries[1]))
    async with opened(datadir=tmp_path / "two", metadata_file=file) as store:
        assert (await keep(store, b"x")).metadata == entries[1]
    async with opened(datadir=tmp_path / "elsewhere", metadata_file=file) as store:
        assert (await keep(store, b"x")).metadata == {}


@pytest.mark.parametrize(
    "text", [None, "", "{}", "[1]", '{"id": "a"}', '{"id": 1, "mountpoint": "/"}', '{"id":"","mountpoint":"/","n":1}']
)
@pytest_twisted.ensureDeferred
async def test_bad_metadata(tmp_path: Path, text: str | None) -> None:
    """A file that is not as it has to be is said at the start."""
    file = tmp_path / "metadata.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"metadata\.json"):
        async with opened(datadir=tmp_path / "images", metadata_file=file):
            raise AssertionError("it starts")


@pytest_twisted.ensureDeferred
async def test_not_mounted(tmp_path: Path) -> None:
    """Where the marker is missing nothing is written, made or taken for deleted; when it is back, all is well."""
    folder = tmp_path / "mount"
    async with opened(datadir=folder, marker=".mounted") as store:
        assert not folder.exists()
        folder.mkdir()
        url = f"file://{folder}/x"
        for call in (keep(store, b"x"), read(store, url), store.size(url), store.delete(url)):
            with pytest.raises(StoreUnavailable, match="not mounted"):
                await call
        with pytest.raises(StoreUnavailable, match="not mounted"):
            await store.discard(new_id(), new_attempt())
        assert os.listdir(folder) == []
        (folder / ".mounted").touch()
        assert await read(store, (await keep(store, b"x")).url) == b"x"
        with pytest.raises(DataNotFound):
            await store.size(url)


@pytest_twisted.ensureDeferred
async def test_one_is_not_mounted(tmp_path: Path) -> None:
    """Another directory takes what was to go there."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "b" / "here").touch()
    async with opened(datadirs=((tmp_path / "a", 2), (tmp_path / "b", 1)), marker="here") as store:
        assert (await keep(store, b"x")).url.startswith(f"file://{tmp_path}/b/")


@pytest.mark.parametrize(("perm", "mode"), [(0o600, 0o700), (0o640, 0o710), (0o644, 0o711), (0, 0o700)])
@pytest_twisted.ensureDeferred
async def test_directory_mode(tmp_path: Path, perm: int, mode: int) -> None:
    """Whoever may read the files gets into the directory."""
    folder = tmp_path / "images"
    folder.mkdir(mode=0o700)
    async with opened(datadir=folder, file_perm=perm):
        assert folder.stat().st_mode & 0o777 == mode


def allocated(url: str) -> int:
    """Bytes that a file takes on its disk."""
    return os.stat(url.removeprefix("file://")).st_blocks * 512


@pytest.mark.parametrize(
    "content",
    [
        bytes(1024 * KIB),
        bytes(512 * KIB) + b"x" + bytes(600 * KIB),
        b"x" * 70_000 + bytes(900 * KIB) + b"end",
        b"",
        b"\0",
    ],
    ids=["zeros", "middle", "ends", "empty", "one"],
)
@pytest_twisted.ensureDeferred
async def test_holes(tmp_path: Path, content: bytes) -> None:
    """Zeros take no room on the disk, and are there when the file is read."""
    async with opened(datadir=tmp_path, thin=True) as store:
        url = (await keep(store, content)).url
        assert await read(store, url) == content
        assert allocated(url) <= len(content) - content.count(b"\0") + 4 * 64 * KIB
    async with opened(datadir=tmp_path) as store:
        assert allocated((await keep(store, content)).url) >= len(content)


@given(st.lists(st.sampled_from([bytes(3), bytes(8), b"ab", b"\0a\0"])), st.integers(0, 9), st.integers(1, 9))
def test_written_parts(pieces: list[bytes], position: int, chunk: int) -> None:
    """What is left out is zero, what is written is in order, and whole chunks of zeros are left out."""
    data = b"".join(pieces)
    found = bytearray(len(data))
    last = -1
    for begin, end in written_parts(data, position, chunk):
        assert last < begin < end
        found[begin:end] = data[begin:end]
        if (begin + position) % chunk == 0:
            assert any(data[begin : begin + chunk])
        last = end
    assert found == data


@pytest_twisted.ensureDeferred
async def test_does_not_answer(tmp_path: Path) -> None:
    """Who waits too long for a file system is told so; the call goes on, and what it opens is closed."""
    reactor: Any = the_reactor()
    clock, answer = Clock(), threading.Event()
    settings = FilesystemSettings(datadir=tmp_path, timeout=5, lookups=1)
    files = Threads(reactor, "files", 2)
    files.start()
    lookups = Lookups(settings, clock, Threads(reactor, "lookups", 1))
    store = FilesystemStore(settings, files, False, lookups)
    await store.start()
    url = (await keep(store, b"content")).url
    stuck = Deferred.fromCoroutine(lookups.run(answer.wait))
    sizes = Deferred.fromCoroutine(store.size(url))
    reading = Deferred.fromCoroutine(store.get(url))
    clock.advance(5.1)
    for each in (stuck, sizes, reading):
        with pytest.raises(StoreUnavailable):
            await each
    before = set(os.listdir("/proc/self/fd"))
    answer.set()
    assert await store.size(url) == 7  # behind the others, with one thread
    assert set(os.listdir("/proc/self/fd")) <= before
    await store.stop()
    await files.stop()
