"""Servers that tests start, each on loopback with its data in a folder of its own, and stop by their process ids."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.needs import lacking


def environment(variable: str, default: str, program: str) -> Path:
    """The folder of programs of a virtual environment that `.ci/run` makes; without *program* the test ends here."""
    place = Path(os.environ.get(variable) or Path.home() / ".cache" / "glancetx" / default) / "bin"
    return place if (place / program).exists() else lacking(f"{program} (in {place}; see .ci/run)")


class Processes:
    """Processes with their logs in *folder*; `stop` ends all of them.

    Those that need not wait for each other are begun together.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        ready: Callable[[], bool],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Start and wait until it is *ready*."""
        self.begin(name, command, environ)
        self.wait(name, ready)

    def begin(self, name: str, command: Sequence[str | Path], environ: Mapping[str, str] | None = None) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=self.folder,
                env={**os.environ, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._running[name] = process

    def wait(self, name: str, ready: Callable[[], bool]) -> None:
        """Wait until one that has begun is *ready*."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self._running[name].poll() is not None:
                break
            if ready():
                return
            time.sleep(0.05)
        raise AssertionError(f"{name} does not answer: {(self.folder / f'{name}.log').read_text()[-3000:]}")

    def stop(self) -> None:
        """End them, the last one first."""
        for process in reversed(self._running.values()):
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()


def answers(port: int, path: str = "/") -> Callable[[], bool]:
    """Whether an HTTP server answers there, whatever it says but for faults of its own."""

    def ready() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return ready
