"""Child processes of the benchmark: each in a session of its own, stopped by pid whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"


class BenchFailure(Exception):
    """A peer or a client did not do what a measurement needs; the text says what."""


def free_port() -> int:
    """A loopback port nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def family(pid: int) -> list[int]:
    """*pid* and every living descendant of it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry))
    found = [pid]
    for member in found:
        found.extend(children.get(member, ()))
    return found


def tail(path: Path, lines: int = 5) -> str:
    """The last *lines* of a log, for the text of an error."""
    with suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    return ""


class Process:
    """A server in the foreground of its own session, so that a Ctrl-C reaches the benchmark alone.

    Everything it prints goes to *log*.
    """

    def __init__(
        self, arguments: Sequence[str], log: Path, directory: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self.name = Path(arguments[0]).name
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                arguments,
                cwd=directory,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._child.pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._child.poll() is None

    def wait_for_port(self, port: int, seconds: float = 30.0) -> None:
        """Return when *port* accepts connections; BenchFailure when it does not in *seconds*, or the child ends."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.alive():
                break
            with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
                return
            time.sleep(0.01)
        raise BenchFailure(f"{self.name} does not listen on {port}: {tail(self.log)}")

    def stop(self, grace: float = 10.0) -> None:
        """End it and its descendants: SIGTERM, and SIGKILL for those still there after *grace* seconds."""
        members = family(self.pid)
        if self.alive():
            self._child.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(grace)
        for pid in members:
            if self._is_ours(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._child.wait()

    def _is_ours(self, pid: int) -> bool:
        """Whether *pid* still belongs to the child's session: a number may have been given to somebody else."""
        if pid == self.pid:
            return self.alive()
        try:
            return os.getsid(pid) == self.pid
        except ProcessLookupError:
            return False
