"""Worker processes on one listening socket: the parent starts them, restarts those which die, and ends them gently.

The parent binds and hands the sockets down; it reads no byte of a client. A worker is ``twistd glancetx`` again, told
by its environment what its descriptors are. It ends when its standard input does, so it never outlives its parent.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, Final, TextIO

from attrs import frozen
from prometheus_client.multiprocess import mark_process_dead
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol, Protocol
from twisted.internet.stdio import StandardIO
from twisted.logger import FileLogObserver, ILogObserver, LogEvent, Logger, formatEvent
from twisted.python.failure import Failure

from glancetx.listen import Ports, Turns, shared_counts
from glancetx.runtime.log import CHOICE, format_json
from glancetx.runtime.metrics import SHARED
from glancetx.runtime.signals import Impatience

ENVIRON: Final = "GLANCETX_DESCRIPTORS"
PLACE: Final = "GLANCETX_PLACE"
READY: Final = 3  # the descriptor on which a worker says that it serves
COUNTS: Final = 4  # that of the memory in which workers count their clients; the sockets follow it
SHORTEST, LONGEST = 0.1, 30.0  # seconds until a dead worker is replaced; doubled each time, if it was short-lived
SETTLED: Final = 10.0  # seconds after which a worker counts as long-lived
LINE: Final = 64 * 1024  # bytes of a worker's output after which a line is taken to end
GRACE: Final = 10.0  # seconds beyond the drain time until a worker that does not end is killed


def worker_command(arguments: Sequence[str]) -> list[str]:
    """How to start a worker with these options of ``twistd glancetx``."""
    twistd = "from twisted.scripts.twistd import run; run()"
    general = ["--nodaemon", "--pidfile=", "--logger=glancetx.workers.plain_log"]
    return [sys.executable, "-c", twistd, *general, "glancetx", "--workers=0", *arguments]


def plain_log(output: TextIO | None = None) -> ILogObserver:
    """The log of a worker: JSON, or plain lines to which the parent adds time and number when it writes its own."""
    chosen = format_json if os.environ.get(CHOICE) == "json" else _format
    return FileLogObserver(output or sys.stdout, chosen)


def _format(event: LogEvent) -> str | None:
    text = formatEvent(event)
    failure = event.get("log_failure")
    if failure is not None:
        text = f"{text}\n{failure.getTraceback()}"
    return f"{text}\n" if text else None


@frozen
class Parent:
    """What a worker is told by who started it: the sockets, in the order of the addresses, and its *place*."""

    descriptors: tuple[int, ...]
    place: int

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Parent | None:
        """None in a process that is no worker. What is read is taken out, so that it is not inherited."""
        told, place = environ.pop(ENVIRON, None), environ.pop(PLACE, None)
        if told is None or place is None:
            return None
        os.setpgid(0, 0)  # the parent passes on what is typed at its terminal; a worker must not hear it twice
        return cls(tuple(int(number) for number in told.split(",")), int(place))

    def turns(self) -> Turns:
        """Which of its workers should have the next client."""
        turns = Turns(COUNTS, self.place)
        os.close(COUNTS)
        return turns

    def tell_ready(self) -> None:
        os.write(READY, b"ready")
        os.close(READY)

    def watch(self, reactor: Any) -> Service:
        """A service which stops the process gently when the parent has died."""
        return _Watch(reactor)


class _Watch(Service):
    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def startService(self) -> None:
        super().startService()
        watch: Any = StandardIO  # whose types are those of Windows
        self._input = watch(_UntilEnd(self._parent_died), stdout=os.open(os.devnull, os.O_WRONLY))

    def _parent_died(self) -> None:
        if self.running:
            self._reactor.stop()


class _UntilEnd(Protocol):
    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def connectionLost(self, reason: Any = None) -> None:
        self._call()


class Workers(Service):
    """*count* worker processes accepting from *ports*. *ready* is called each time when all of them serve."""

    def __init__(
        self,
        reactor: Any,
        ports: Ports,
        count: int,
        command: Sequence[str],
        drain_timeout: float,
        ready: Callable[[], None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._log = Logger()
        self._reactor = reactor
        self._ports = ports
        self._command = list(command)
        self._patience = drain_timeout + GRACE
        self._ready = ready
        self._environ = environ
        self._counters: str | None = None  # where all workers count, see runtime.metrics
        self._counts = -1  # and what they are doing now, see `Turns`; a descriptor once they are started
        self._workers = [_Worker(self, number) for number in range(count)]
        self._impatience = Impatience(reactor, lambda: self._signal(signal.SIGTERM))

    def privilegedStartService(self) -> None:
        self._ports.bind()

    def startService(self) -> None:
        super().startService()
        self._counters = mkdtemp(prefix="glancetx-metrics-")
        self._counts = shared_counts(len(self._workers))
        for worker in self._workers:
            worker.start()

    def reload(self) -> None:
        """Have every worker read its certificates and mutable options again; one that still starts does so later."""
        for worker in self._workers:
            worker.reload()

    def spawn(self, protocol: ProcessProtocol, place: int) -> Any:
        """Start one process for *protocol*, which has that *place* among the workers."""
        sockets = dict(enumerate(self._ports.descriptors(), COUNTS + 1))
        environ = {**self._environ, ENVIRON: ",".join(map(str, sockets)), PLACE: str(place)}
        if self._counters is not None:
            environ[SHARED] = self._counters
        environ.pop("NOTIFY_SOCKET", None)  # it is the parent who speaks to systemd
        handed: dict[int, Any] = {0: "w", 1: "r", 2: "r", READY: "r", COUNTS: self._counts, **sockets}
        return self._reactor.spawnProcess(protocol, self._command[0], self._command, environ, childFDs=handed)

    def forget(self, pid: int, place: int) -> None:
        """A process has ended: what it is doing now counts no more; what it has done still does."""
        Turns(self._counts, place).leave()
        if self._counters is not None:
            mark_process_dead(pid, self._counters)

    def delay(self, lived: float, last: float) -> float:
        """Seconds until a worker which lived so long is replaced, if it was *last* so many the time before."""
        return SHORTEST if lived >= SETTLED else min(LONGEST, max(SHORTEST, 2 * last))

    def now_ready(self) -> None:
        if self.running and all(worker.serves for worker in self._workers):
            self._ready()

    def stopService(self) -> Deferred[None]:
        """Fires when every worker has ended: by itself, after its transfers, or killed when it took too long."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        ends = [worker.stop() for worker in self._workers]
        self._ports.close()
        kill = self._reactor.callLater(self._patience, self._signal, signal.SIGKILL)
        with self._impatience:
            await DeferredList(ends)
        if kill.active():
            kill.cancel()
        if self._counters is not None:
            rmtree(self._counters, ignore_errors=True)
            os.close(self._counts)
            self._counters = None

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.signal(number)


class _Worker:
    """One place among the workers, and the process that has it now."""

    def __init__(self, workers: Workers, number: int) -> None:
        self._log = Logger(namespace=f"worker-{number}")
        self._workers = workers
        self._number = number
        self._reactor = workers._reactor
        self._process: Any = None
        self._again: IDelayedCall | None = None
        self._pid = 0
        self._started = self._delay = 0.0
        self._ended: Deferred[None] = Deferred()
        self.serves = self._stale = False

    def start(self) -> None:
        self._again, self._started, self._stale = None, self._reactor.seconds(), False
        self._process = self._workers.spawn(_Lines(self), self._number)
        self._pid = self._process.pid
        self._log.info("worker {number} is process {pid}", number=self._number, pid=self._process.pid)

    def says(self, line: str) -> None:
        self._log.info("{line}", line=line)

    def ready(self) -> None:
        self.serves = True
        if self._stale:
            self.reload()
        self._workers.now_ready()

    def reload(self) -> None:
        """A worker hears SIGHUP only when it serves; before, it would die of it."""
        self._stale = not self.serves
        if self.serves:
            self.signal(signal.SIGHUP)

    def ended(self, reason: Failure) -> None:
        self._workers.forget(self._pid, self._number)
        self._process, self.serves = None, False
        if not self._workers.running:
            self._ended.callback(None)
            return
        how = "ended" if reason.check(ProcessDone) else reason.getErrorMessage()
        self._delay = self._workers.delay(self._reactor.seconds() - self._started, self._delay)
        self._log.error("worker: {how}; a new one comes in {delay} s", how=how, delay=self._delay)
        self._again = self._reactor.callLater(self._delay, self.start)

    def stop(self) -> Deferred[None]:
        """Fires when the process has ended."""
        if self._again is not None:
            self._again.cancel()
        if self._process is None:
            self._ended.callback(None)
        self.signal(signal.SIGTERM)
        return self._ended

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            try:
                self._process.signalProcess(number)
            except ProcessExitedAlready:
                self._log.debug("the process has ended already")


class _Lines(ProcessProtocol):
    """Hears of one process, and its lines."""

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker
        self._rest = {1: b"", 2: b""}

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if childFD == READY:
            self._worker.ready()
        else:
            *lines, rest = (self._rest[childFD] + data).split(b"\n")
            self._rest[childFD] = rest if len(rest) < LINE else b""
            self._tell(*lines, b"" if len(rest) < LINE else rest)

    def processEnded(self, reason: Failure) -> None:
        self._tell(*self._rest.values())
        self._worker.ended(reason)

    def _tell(self, *lines: bytes) -> None:
        for line in lines:
            if line.strip():
                self._worker.says(line.decode(errors="replace"))
