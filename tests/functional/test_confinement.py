"""Programs that work on data of strangers can do little, and end when they should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError

from glancetx.runtime.children import Bounds, ChildFailed, Outcome, run_child
from glancetx.runtime.confine import LANDLOCK_CREATE, call
from glancetx.runtime.stoppable import Stop
from tests.functional.test_serving import lives
from tests.needs import unable

MIB = 1024 * 1024


def run(
    code: str,
    stop: Stop | None = None,
    patience: float = 600.0,
    reads: Sequence[Path] = (),
    writes: Sequence[Path] = (),
) -> Outcome:
    """Python itself, confined."""
    bounds = Bounds(
        memory=512 * MIB,
        cpu=1,
        file_size=MIB,
        files=16,
        patience=patience,
        reads=tuple(map(str, reads)),
        writes=tuple(map(str, writes)),
    )
    return run_child([sys.executable, "-I", "-S", "-c", code], bounds, stop or Stop())


def test_what_it_says() -> None:
    """Its outputs and its status come back; it has no input and none of our variables."""
    os.environ["GLANCETX_SECRET"] = "x"
    done = run("import os, sys; print(sys.stdin.read(), os.environ.get('GLANCETX_SECRET')); sys.exit('bad')")
    assert (done.code, done.output, done.errors) == (1, b" None\n", b"bad\n")


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX"])
def test_no_network(family: str) -> None:
    done = run(f"import socket; socket.socket(socket.{family})")
    assert b"PermissionError" in done.errors


@pytest.mark.parametrize(
    ("code", "sign"),
    [
        ("x = bytes(10**10)", b"MemoryError"),
        ("x = [open('/dev/null') for _ in range(99)]", b"Too many open files"),
        ("while True: pass", None),
    ],
)
def test_bounds(code: str, sign: bytes | None) -> None:
    """More than it may have ends it: it is told, or, if it takes too much time, killed."""
    done = run(code)
    if sign is None:
        assert -done.code in (signal.SIGKILL, signal.SIGXCPU)
    else:
        assert sign in done.errors


def test_file_size(tmp_path: Path) -> None:
    """No file of it grows further than it may."""
    (tmp_path / "x").touch()
    done = run(f"open({str(tmp_path / 'x')!r}, 'wb').write(bytes(2 * {MIB}))", writes=[tmp_path / "x"])
    assert done.code != 0
    assert 0 < (tmp_path / "x").stat().st_size <= MIB


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("open('read').read()", False),
        ("open('write', 'r+').write('x')", False),
        ("open('write', 'w').write('x')", False),
        ("open('other').read()", True),
        ("open('read', 'w')", True),
        ("open('new', 'w')", True),
        ("import os; os.unlink('write')", True),
        ("import os; os.rename('write', 'new')", True),
        ("open('/etc/passwd').read()", True),
        ("open('/proc/self/environ').read()", True),
    ],
)
def test_files(tmp_path: Path, code: str, refused: bool) -> None:
    """It has what it was given, and nothing else."""
    if not landlock():
        unable("a kernel with Landlock")
    for name in ("read", "write", "other"):
        (tmp_path / name).write_text("x")
    code = code.replace("open('/", "OPEN").replace("'read'", repr(str(tmp_path / "read")))
    for name in ("write", "other", "new"):
        code = code.replace(f"'{name}'", repr(str(tmp_path / name)))
    done = run(code.replace("OPEN", "open('/"), reads=[tmp_path / "read"], writes=[tmp_path / "write"])
    assert (b"PermissionError" in done.errors) == refused, done.errors
    assert (done.code != 0) == refused


def landlock() -> bool:
    """Whether the kernel has it."""
    try:
        return call(LANDLOCK_CREATE, 0, 0, 1) > 0
    except OSError:
        return False


def test_too_slow_and_too_loud() -> None:
    with pytest.raises(ChildFailed, match="too long"):
        run("import time; time.sleep(60)", patience=0.5)
    with pytest.raises(ChildFailed, match="too much"):
        run("print('x' * 10**6)")


def test_stopped() -> None:
    """It is killed at once."""
    stop = Stop()
    threading.Timer(0.5, stop.want).start()
    with pytest.raises(CancelledError):
        run("import time; time.sleep(600)", stop)


def test_it_dies_with_us(tmp_path: Path) -> None:
    """A process that is killed takes it along."""
    child = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    code = f"""
from glancetx.runtime.children import Bounds, run_child
from glancetx.runtime.stoppable import Stop
import sys
bounds = Bounds(memory=2**29, cpu=60, file_size=2**20, patience=600, writes=({str(tmp_path / "pid")!r},))
run_child([sys.executable, "-I", "-S", "-c", {child!r}], bounds, Stop())
"""
    (tmp_path / "pid").touch()
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.wait()
    pid = int((tmp_path / "pid").read_text())
    while lives(pid):
        assert time.monotonic() < deadline + 60
        time.sleep(0.02)
