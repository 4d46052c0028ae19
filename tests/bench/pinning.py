"""Which core a process runs on, for measurements in which clients must not take from the server what they measure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from tests.bench.processes import BenchFailure, family


@contextmanager
def apart(server: int, others: Sequence[int] = ()) -> Iterator[None]:
    """*server* and its children on one core; *others*, this process and what it starts meanwhile on the rest.

    :raises BenchFailure: if there is one core only.
    """
    every = os.sched_getaffinity(0)
    if len(every) < 2:
        raise BenchFailure("one core for the server and one for its clients are needed")
    mine = {max(every)}
    rest = [os.getpid(), *others]
    try:
        for pid, cores in ((server, mine), *((pid, every - mine) for pid in rest)):
            _move(pid, cores)
        yield
    finally:
        for pid in (server, *rest):
            _move(pid, every)


def _move(pid: int, cores: set[int]) -> None:
    """All threads of it, and of its children; those that are started later go where their parent is."""
    for member in family(pid) if pid != os.getpid() else [pid]:
        with suppress(OSError):
            for task in os.listdir(f"/proc/{member}/task"):
                os.sched_setaffinity(int(task), cores)
