"""Files that stay open for those who read the next piece."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import pytest
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock

from glancetx.runtime.threads import Threads
from glancetx.streams.open_files import KEPT, MOST, OpenFile, OpenFiles


class Room:
    """Open files of a folder. The threads do not run, so what is closed is closed at once."""

    def __init__(self, folder: Path, clock: Clock | None) -> None:
        self._folder = folder
        self._threads = Threads(cast(IReactorFromThreads, None), "files", 1)
        self.files = OpenFiles[OpenFile](clock)

    def path(self, name: str = "image") -> Path:
        return self._folder / name

    def open(self, name: str = "image") -> OpenFile:
        self.path(name).write_bytes(name.encode())
        descriptor = os.open(self.path(name), os.O_RDONLY)
        return self.files.share(self.path(name), OpenFile(descriptor, len(name), self._threads))


def is_open(file: OpenFile, path: Path) -> bool:
    """Whether the descriptor is that of the file, or of one of that name that is deleted."""
    try:
        return os.readlink(f"/proc/self/fd/{file.descriptor}").removesuffix(" (deleted)") == str(path)
    except FileNotFoundError:
        return False


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def room(tmp_path: Path, clock: Clock) -> Room:
    return Room(tmp_path, clock)


def test_is_found_for_some_time(room: Room, clock: Clock) -> None:
    """Nobody who comes in that time opens it again, and then it is closed."""
    file = room.open()
    file.leave()
    assert room.files.find(room.path()) is file
    file.leave()
    assert is_open(file, room.path())
    clock.advance(KEPT)
    assert room.files.find(room.path()) is None
    assert not is_open(file, room.path())


@pytest.mark.parametrize("forgotten", [False, True])
def test_the_last_reader_closes(room: Room, clock: Clock, forgotten: bool) -> None:
    """The time is over, or the file deleted, while it is read."""
    file = room.open()
    assert room.files.find(room.path()) is file
    if forgotten:
        room.files.forget(room.path())
    clock.advance(KEPT)
    assert room.files.find(room.path()) is None
    file.leave()
    assert is_open(file, room.path())
    file.leave()
    assert not is_open(file, room.path())


def test_what_cannot_be_looked_at_is_not_found(room: Room) -> None:
    """Who asks opens it anew, and hears then what is wrong."""
    file = room.open()
    file.leave()
    os.close(file.descriptor)
    assert room.files.find(room.path()) is None
    anew = room.open()
    assert room.files.find(room.path()) is anew


def test_without_a_name_it_is_not_found(room: Room) -> None:
    """It was deleted, in whatever process."""
    file = room.open()
    file.leave()
    room.path().unlink()
    assert room.files.find(room.path()) is None
    assert not is_open(file, room.path())


def test_the_size_is_that_of_now(room: Room) -> None:
    """It is cut off while it is open."""
    file = room.open()
    os.truncate(room.path(), 2)
    found = room.files.find(room.path())
    assert found is file
    assert found.size == 2
    room.files.close()


def test_opened_twice(room: Room, clock: Clock) -> None:
    """Two open it at the same time: one of the files is kept, the time of the other one ends nothing."""
    first, second = room.open(), room.open()
    second.leave()
    assert not is_open(second, room.path())
    first.leave()
    assert room.files.find(room.path()) is first
    room.files.forget(room.path())
    first.leave()
    clock.advance(KEPT / 2)
    third = room.open()
    clock.advance(KEPT / 2)
    assert room.files.find(room.path()) is third
    room.files.close()


def test_is_bounded(room: Room) -> None:
    """No more files stay open than that; all are closed with the store."""
    opened = [room.open(str(number)) for number in range(MOST + 1)]
    for file in opened:
        file.leave()
    assert [is_open(file, room.path(str(number))) for number, file in enumerate(opened)] == [True] * MOST + [False]
    room.files.close()
    assert not any(is_open(file, room.path(str(number))) for number, file in enumerate(opened))


def test_without_a_clock_nothing_is_kept(tmp_path: Path) -> None:
    """As where a file system may stop to answer."""
    room = Room(tmp_path, None)
    file = room.open()
    assert room.files.find(room.path()) is None
    file.leave()
    assert not is_open(file, room.path())
