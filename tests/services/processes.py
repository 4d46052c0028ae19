"""A server of the tests: its own port on loopback, its own folder, and not root's rights."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.needs import lacking
from tests.ports import free_port

PATIENCE = 180.0
"""Seconds a server has to start or to stop."""


class ServerProcess:
    """One server program. It runs as *user* if we are root, since database servers refuse to be root."""

    def __init__(self, name: str, user: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"glancetx-{name}-"))
        self.port = free_port()
        self._log = self.folder / "log"
        self._rights: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            try:
                account = pwd.getpwnam(user)
            except KeyError:
                lacking(f"the system user {user}")
            self._rights = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self.folder, account.pw_uid, account.pw_gid)

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return None if self._process is None else self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def run(self, command: Sequence[str]) -> None:
        """Run a program to its end, as the server's user. :raises AssertionError: if it fails."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd="/", **self._rights)
        assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"

    def start(self, command: Sequence[str], ready: Callable[[], object]) -> None:
        """Start the server, and wait until *ready* does not raise."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **self._rights,
            )
        deadline = time.monotonic() + PATIENCE
        while not succeeds(ready):
            assert self._process.poll() is None, f"{command[0]} ended: {self.log[-3000:]}"
            assert time.monotonic() < deadline, f"{command[0]} does not answer; the log says: {self.log[-3000:]}"
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self, number: int) -> None:
        """Signal it to end, and wait until it has."""
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Forget all it has kept."""
        shutil.rmtree(self.folder, ignore_errors=True)


def succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except Exception:
        return False
    return True


def find_program(name: str, *places: str) -> str:
    """Where a program of the system lies; without it the test is skipped, or fails."""
    folders = [str(folder) for place in places for folder in sorted(Path("/").glob(place.lstrip("/")), reverse=True)]
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *folders])) or lacking(name)
