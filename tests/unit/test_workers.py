"""How the parent treats its workers: replaces, reloads, ends and kills them. No process is started here."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from glancetx.listen import Ports, Turns
from glancetx.listen.turns import SIZE
from glancetx.runtime.metrics import SHARED
from glancetx.workers import (
    COUNTS,
    ENVIRON,
    GRACE,
    LINE,
    LONGEST,
    PLACE,
    READY,
    SETTLED,
    SHORTEST,
    Parent,
    Workers,
    worker_command,
)

DRAIN = 60.0


class Process:
    """What spawnProcess gives back: hears signals, and ends when the test says so."""

    def __init__(self, protocol: Any, pid: int, environ: dict[str, str], descriptors: dict[int, Any]) -> None:
        self.protocol, self.pid, self.environ, self.descriptors = protocol, pid, environ, descriptors
        self.signals: list[int] = []
        self.ended = False

    def signalProcess(self, number: int) -> None:
        if self.ended:
            raise ProcessExitedAlready
        self.signals.append(number)

    def serves(self) -> None:
        self.protocol.childDataReceived(READY, b"ready")

    def says(self, data: bytes, descriptor: int = 1) -> None:
        self.protocol.childDataReceived(descriptor, data)

    def end(self, status: int = 0) -> None:
        self.ended = True
        self.protocol.processEnded(Failure(ProcessTerminated(status) if status else ProcessDone(0)))


class Spawning(Clock):
    """A reactor with time and processes, and without signals."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []

    def spawnProcess(
        self, protocol: Any, program: str, arguments: list[str], environ: dict[str, str], childFDs: dict[int, Any]
    ) -> Process:
        assert program == arguments[0]
        self.processes.append(Process(protocol, 1000 + len(self.processes), environ, childFDs))
        return self.processes[-1]


class Crew:
    """Two workers of a running parent."""

    def __init__(self) -> None:
        self.reactor = Spawning()
        self.ready = 0
        environ = {"NOTIFY_SOCKET": "/x", "PATH": "/bin"}
        ports = Ports(self.reactor, [])
        self.workers = Workers(self.reactor, ports, 2, ["twistd"], DRAIN, self._now_ready, environ)
        self.workers.privilegedStartService()
        self.workers.startService()

    def _now_ready(self) -> None:
        self.ready += 1

    @property
    def processes(self) -> list[Process]:
        return self.reactor.processes


@pytest.fixture
def crew() -> Crew:
    return Crew()


def test_started(crew: Crew) -> None:
    """Each worker is told its descriptors, and systemd's socket is kept from it."""
    assert [process.pid for process in crew.processes] == [1000, 1001]
    for process in crew.processes:
        environ, descriptors = dict(process.environ), dict(process.descriptors)
        assert Path(environ.pop(SHARED)).is_dir()
        assert environ == {"PATH": "/bin", ENVIRON: "", PLACE: str(process.pid - 1000)}
        assert os.fstat(descriptors.pop(COUNTS)).st_size == 2 * SIZE
        assert descriptors == {0: "w", 1: "r", 2: "r", READY: "r"}


def test_a_dead_one_has_no_turn(crew: Crew) -> None:
    """Clients are not left to a worker that has died."""
    first, second = (Turns(crew.processes[0].descriptors[COUNTS], place) for place in (0, 1))
    first.tell(1)
    second.tell(0)
    assert not first.is_ours()
    crew.processes[1].end(1)
    assert first.is_ours()


def test_ready_when_all_are(crew: Crew) -> None:
    """Ready is told when the last one serves, and again when a lost one is replaced."""
    first, second = crew.processes
    first.serves()
    assert crew.ready == 0
    second.serves()
    assert crew.ready == 1
    first.end(1)
    crew.reactor.advance(SHORTEST)
    assert crew.ready == 1
    crew.processes[2].serves()
    assert crew.ready == 2


def test_restart_delays(crew: Crew) -> None:
    """A worker that dies at once comes back later each time, up to a limit."""
    crew.processes[1].serves()
    expected = SHORTEST
    for _ in range(12):
        count = len(crew.processes)
        crew.processes[-1].end(1)
        crew.reactor.advance(expected - 0.001)
        assert len(crew.processes) == count
        crew.reactor.advance(0.002)
        assert len(crew.processes) == count + 1
        expected = min(LONGEST, 2 * expected)


def test_settled_worker_restarts_soon(crew: Crew) -> None:
    """One that has lived long is replaced without much delay, whatever was before."""
    for _ in range(5):
        crew.processes[-1].end(1)
        crew.reactor.advance(LONGEST)
    crew.reactor.advance(SETTLED)
    count = len(crew.processes)
    crew.processes[-1].end(1)
    crew.reactor.advance(SHORTEST)
    assert len(crew.processes) == count + 1


def test_reload(crew: Crew) -> None:
    """A worker which serves hears of it now; one that starts as soon as it serves."""
    first, second = crew.processes
    first.serves()
    crew.workers.reload()
    assert (first.signals, second.signals) == ([signal.SIGHUP], [])
    second.serves()
    assert second.signals == [signal.SIGHUP]
    crew.workers.reload()
    assert second.signals == [signal.SIGHUP] * 2


def test_stop(crew: Crew) -> None:
    """All are told to end, and waited for; nobody is replaced or killed then."""
    stopping: Any = crew.workers.stopService()
    assert isinstance(stopping, Deferred)
    assert [process.signals for process in crew.processes] == [[signal.SIGTERM]] * 2
    crew.processes[0].end()
    crew.reactor.advance(1)
    assert not stopping.called
    crew.processes[1].end()
    assert stopping.called
    assert stopping.result is None
    assert crew.reactor.getDelayedCalls() == []
    assert len(crew.processes) == 2


def test_stop_kills(crew: Crew) -> None:
    """Who has not ended some time after his transfers must have is killed."""
    stopping: Any = crew.workers.stopService()
    crew.processes[0].end()
    crew.reactor.advance(DRAIN + GRACE - 0.1)
    assert crew.processes[1].signals == [signal.SIGTERM]
    crew.reactor.advance(0.2)
    assert crew.processes[1].signals == [signal.SIGTERM, signal.SIGKILL]
    crew.processes[1].end(9)
    assert stopping.called
    assert stopping.result is None


def test_stop_without_processes(crew: Crew) -> None:
    """Workers which wait for their restart do not come back."""
    for process in crew.processes:
        process.end(1)
    stopping: Any = crew.workers.stopService()
    assert stopping.called
    assert stopping.result is None
    crew.reactor.advance(LONGEST)
    assert len(crew.processes) == 2


def test_output(crew: Crew) -> None:
    """What a worker writes is logged line by line, however it arrives, also without an end and when it is not UTF-8."""
    process = crew.processes[0]
    with capturedLogs() as events:
        process.says(b"on")
        process.says(b"other stream\n", 2)
        process.says(b"e\n\ntwo\nthr")
        process.says(b"ee\xff")
        process.end()
    said = [event["line"] for event in events if "line" in event]
    assert said == ["other stream", "one", "two", "three�"]


def test_endless_line(crew: Crew) -> None:
    """A line without an end is not kept without a bound."""
    with capturedLogs() as events:
        for _ in range(4):
            crew.processes[0].says(b"x" * (LINE // 2))
    assert [len(event["line"]) for event in events if "line" in event] == [LINE, LINE]


def test_command() -> None:
    """A worker gets the same options and never starts workers of its own."""
    command = worker_command(["--config-file=/c"])
    assert command[-3:] == ["glancetx", "--workers=0", "--config-file=/c"]


def test_no_parent() -> None:
    """A process that was not started as a worker is none."""
    environ = {"PATH": "/bin"}
    assert Parent.from_environ(environ) is None
    assert environ == {"PATH": "/bin"}
