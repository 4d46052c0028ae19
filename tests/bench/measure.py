"""What a process and its descendants use: CPU seconds, memory, wall time."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from attrs import frozen

from tests.bench.processes import family

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ESTABLISHED = "01"


def cpu_seconds(pid: int) -> float:
    """User and system time of *pid*, its living descendants and those already waited for."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(field) for field in fields[11:15])
    return total * _TICK


def running_seconds(pid: int) -> float:
    """Of *pid* and its living descendants, to the nanosecond: enough for single requests."""
    total = 0
    for member in family(pid):
        for task in Path(f"/proc/{member}/task").glob("*/schedstat"):
            with suppress(OSError):
                total += int(task.read_text().split()[0])
    return total / 1e9


def connections(pid: int, port: int) -> int:
    """How many clients of a TCP *port* of IPv4 the process itself has."""
    names = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            names.add(os.readlink(link))
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    mine = [row for row in rows if f"socket:[{row[9]}]" in names and row[3] == _ESTABLISHED]
    return sum(int(row[1].rpartition(":")[2], 16) == port for row in mine)


def proportional_memory(pid: int) -> int:
    """Bytes of the whole family; pages that several processes share are counted once (PSS)."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def resident_memory(pid: int) -> int:
    """Bytes of the whole family; shared pages are counted once for each process (RSS)."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            total += int(Path(f"/proc/{member}/statm").read_text().split()[1]) * _PAGE
    return total


@frozen(kw_only=True)
class Usage:
    """What was used while a `Watch` was open. *pss* and *rss* are peaks in bytes, seen every tenth of a second.

    *beside* are the CPU seconds of the database server.
    """

    wall: float
    cpu: float
    pss: int
    rss: int
    beside: float = 0.0


class Watch:
    """Observe the family of *pid* for as long as the ``with`` block lasts; then `usage` is set.

    *beside*: the database server, whose CPU time counts for itself.
    """

    usage: Usage

    def __init__(self, pid: int, interval: float = 0.1, beside: int | None = None) -> None:
        self._pid, self._beside = pid, beside
        self._interval = interval
        self._over = threading.Event()
        self._pss = 0
        self._rss = 0
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Watch:
        self._sampler.start()
        self._cpu, self._database = cpu_seconds(self._pid), self._cpu_beside()
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall = time.monotonic() - self._began
        cpu, beside = cpu_seconds(self._pid) - self._cpu, self._cpu_beside() - self._database
        self._over.set()
        self._sampler.join()
        self.usage = Usage(wall=wall, cpu=cpu, pss=self._pss, rss=self._rss, beside=beside)

    def _cpu_beside(self) -> float:
        return 0.0 if self._beside is None else cpu_seconds(self._beside)

    def _sample(self) -> None:
        while True:
            self._pss = max(self._pss, proportional_memory(self._pid))
            self._rss = max(self._rss, resident_memory(self._pid))
            if self._over.wait(self._interval):
                return
