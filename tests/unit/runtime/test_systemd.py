"""What systemd hears of us."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from glancetx.runtime.systemd import Systemd, Watchdog


@pytest.fixture
def heard() -> Iterator[socket.socket]:
    """A datagram socket with an abstract name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind("")
        found.setblocking(False)
        yield found


def environ(heard: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": f"@{heard.getsockname()[1:].decode()}", **more}


def lines(heard: socket.socket) -> list[str]:
    return heard.recv(4096).decode().splitlines()


def test_ready(heard: socket.socket) -> None:
    """Ready, with the process that is."""
    Systemd(environ(heard)).ready()
    assert lines(heard) == ["READY=1", "STATUS=serving", f"MAINPID={os.getpid()}"]


def test_reloading(heard: socket.socket) -> None:
    """The time is told with it, as the protocol wants."""
    before = time.monotonic_ns() // 1000
    Systemd(environ(heard)).reloading()
    first, second = lines(heard)
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_path(tmp_path: Path) -> None:
    """The socket may have a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "s"))
        Systemd({"NOTIFY_SOCKET": str(tmp_path / "s")}).alive()
        assert lines(heard) == ["WATCHDOG=1"]


@pytest.mark.parametrize("told", [{}, {"NOTIFY_SOCKET": "/nobody/there"}, {"NOTIFY_SOCKET": "@nobody-there"}])
def test_nobody_listens(told: dict[str, str]) -> None:
    """That is no error."""
    Systemd(told).ready()


def test_full_queue(heard: socket.socket) -> None:
    """A service manager which does not read is not waited for."""
    systemd = Systemd(environ(heard))
    for _ in range(5000):
        systemd.alive()
    assert lines(heard) == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_watchdog_period(told: dict[str, str], expected: float) -> None:
    """A period for another process, or none that is a number, is none."""
    assert Systemd(told).watchdog == expected


def test_watchdog_beats(heard: socket.socket) -> None:
    """It beats twice in a period, also while the process ends, and tells when that begins."""
    clock = Clock()
    watchdog = Watchdog(clock, Systemd(environ(heard, WATCHDOG_USEC="4000000")))
    watchdog.startService()
    assert lines(heard) == ["WATCHDOG=1"]
    clock.advance(1.9)
    with pytest.raises(BlockingIOError):
        lines(heard)
    clock.advance(0.1)
    assert lines(heard) == ["WATCHDOG=1"]
    watchdog.stopService()
    assert lines(heard)[0] == "STOPPING=1"
    clock.advance(2)
    assert lines(heard) == ["WATCHDOG=1"]


def test_no_watchdog(heard: socket.socket) -> None:
    """Without a period nothing beats; the end is told nevertheless."""
    clock = Clock()
    watchdog = Watchdog(clock, Systemd(environ(heard)))
    watchdog.startService()
    assert clock.getDelayedCalls() == []
    watchdog.stopService()
    assert lines(heard)[0] == "STOPPING=1"
