"""A real OpenStack service under uWSGI, on loopback, with its files in a folder of the test."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.ports import free_port
from tests.services.programs import environment

USUAL = "--need-app --lazy-apps --enable-threads --master --processes 1 --threads 4 --die-on-term --buffer-size 65535"
PATIENCE = 120  # seconds


def glance_venv(*programs: str) -> Path:
    """The environment of the real Glance and Keystone; without one of the *programs* the test ends here."""
    places = [environment("GLANCETX_GLANCE_VENV", "glance-venv", program) for program in programs]
    return places[0].parent


class UwsgiServer:
    """One service. *variable* names the environment variable that tells it where its configuration is: *folder*."""

    def __init__(self, venv: Path, folder: Path, variable: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._venv, self._variable = venv, variable
        self._log = folder / "uwsgi.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it, and all its workers; it can be started again on the same port."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    def manage(self, program: str, *arguments: str) -> None:
        """Run a program of its environment. :raises AssertionError: if that fails."""
        command = [str(self._venv / "bin" / program), *arguments]
        done = subprocess.run(command, env=self._environ(), capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr

    def serve(self, kind: str, options: Sequence[str], answers: Callable[[], bool]) -> None:
        """Start with a socket of this *kind* and *options* beside the usual ones; wait until it *answers*."""
        command = [str(self._venv / "bin" / "uwsgi"), "--virtualenv", str(self._venv)]
        command += [kind, f"127.0.0.1:{self.port}", *USUAL.split(), *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environ(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.running:
            if answers():
                return
            time.sleep(0.1)
        raise AssertionError(f"{self._variable}: no answer; its log says: {self.log()[-3000:]}")

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OS_"))}
        return kept | {self._variable: str(self.folder)}
