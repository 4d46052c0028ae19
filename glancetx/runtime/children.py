"""Running a program on data of strangers, in a process that has few rights and bounded means."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from glancetx.runtime import confine
from glancetx.runtime.stoppable import Stop

MOST_OUTPUT: Final = 256 * 1024  # bytes; what says more is killed
LOOK: Final = 0.2  # seconds between two looks whether it should be stopped


@frozen(kw_only=True)
class Bounds:
    """What the process may use: bytes of memory, seconds of a processor, bytes of each file, open files; and in all

    *patience* seconds. Beside programs and libraries, it has rights to read *reads*, and to read and write *writes*,
    which have to exist: files or folders.
    """

    memory: int
    cpu: int
    file_size: int
    files: int = 64
    patience: float
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


@frozen
class Outcome:
    """How it ended: *code* is negative if a signal ended it."""

    code: int
    output: bytes
    errors: bytes


class ChildFailed(Exception):
    """It did not end as it should; the text tells why."""


def run_child(
    command: Sequence[str], bounds: Bounds, stop: Stop, heard: Callable[[bytes], None] = lambda output: None
) -> Outcome:
    """In a thread: run the program to its end; *heard* gets what it writes to its standard output as it comes.

    It has no network, no input, few of our rights, and dies with us. Stopping kills it.

    :raises ChildFailed: if it takes too long, or says too much.
    :raises CancelledError: if it was stopped.
    """
    limits = {
        "parent": os.getpid(),
        "RLIMIT_AS": bounds.memory,
        "RLIMIT_CPU": bounds.cpu,
        "RLIMIT_FSIZE": bounds.file_size,
        "RLIMIT_NOFILE": bounds.files,
        "RLIMIT_CORE": 0,
        "reads": bounds.reads,
        "writes": bounds.writes,
    }
    wrapped = [sys.executable, "-I", "-S", str(Path(confine.__file__)), json.dumps(limits), *command]
    with subprocess.Popen(  # noqa: S603 - that is what this is for
        wrapped, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/"
    ) as child:
        try:
            return _watch(child, bounds, stop, heard)
        finally:
            child.kill()


def _watch(child: subprocess.Popen[bytes], bounds: Bounds, stop: Stop, heard: Callable[[bytes], None]) -> Outcome:
    latest = time.monotonic() + bounds.patience
    said: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
    with selectors.DefaultSelector() as selector:
        for name, pipe in (("out", child.stdout), ("err", child.stderr)):
            assert pipe is not None
            selector.register(pipe, selectors.EVENT_READ, name)
        while selector.get_map():
            stop.check()
            if time.monotonic() > latest:
                raise ChildFailed("it took too long")
            for key, _ in selector.select(LOOK):
                piece = os.read(key.fd, 65536)
                if not piece:
                    selector.unregister(key.fileobj)
                said[key.data] += piece
                if key.data == "out" and piece:
                    heard(piece)
            if sum(map(len, said.values())) > MOST_OUTPUT:
                raise ChildFailed("it said too much")
    return Outcome(_wait(child, latest, stop), bytes(said["out"]), bytes(said["err"]))


def _wait(child: subprocess.Popen[bytes], latest: float, stop: Stop) -> int:
    """It has closed its outputs, which is not yet its end."""
    while True:
        stop.check()
        try:
            return child.wait(LOOK)
        except subprocess.TimeoutExpired:
            if time.monotonic() > latest:
                raise ChildFailed("it took too long") from None
