"""A real OpenStack service under uWSGI, on loopback, with its files in a folder of the test."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.nursery import Child, Nursery
from tests.ports import free_port
from tests.services.programs import environment

USUAL = "--need-app --lazy-apps --enable-threads --master --processes 1 --threads 4 --die-on-term --buffer-size 65535"
USUAL += " --socket-timeout 120"  # seconds, where 4 are too few on a busy machine
PATIENCE = 120  # seconds
UWSGI = "import sys; from pyuwsgi import run; sys.exit(run())"

LOADED = {
    "glance": ("pyuwsgi", "glance.api.v2.router", "glance.cmd.manage", "glance.housekeeping"),
    "glance_store": (
        "boto3",
        "glance_store._drivers.filesystem",
        "glance_store._drivers.http",
        "glance_store._drivers.s3",
        "glance_store._drivers.swift",
        "glance_store._drivers.vmware_datastore",
        "glance_store.multi_backend",
    ),
    "keystone": ("pyuwsgi", "keystone.cmd.manage", "keystone.server.flask.application"),
}
"""What programs of a service use. Two services in one process would have their options in one."""


def glance_venv(*programs: str) -> Path:
    """The environment of the real Glance and Keystone; without one of the *programs* the test ends here."""
    places = [environment("GLANCETX_GLANCE_VENV", "glance-venv", program) for program in programs]
    return places[0].parent


@cache
def nursery(venv: Path, service: str) -> Nursery:
    """Forks programs of one of the services in the environment *venv*."""
    return Nursery(venv / "bin/python", LOADED[service])


def run_manage(
    venv: Path, service: str, arguments: Sequence[str], environ: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """Run ``glance-manage`` or ``keystone-manage`` to its end."""
    program = f"import sys; from {service}.cmd.manage import main; sys.exit(main())"
    return nursery(venv, service).run(program, [str(venv / f"bin/{service}-manage"), *arguments], environ)


class UwsgiServer:
    """One *service*, ``glance`` or ``keystone``, with its configuration in *folder*."""

    def __init__(self, venv: Path, folder: Path, service: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._venv, self._service = venv, service
        self._log = folder / "uwsgi.log"
        self._process: Child | None = None
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

    def manage(self, *arguments: str) -> None:
        """Run its administrator's program. :raises AssertionError: if that fails."""
        done = run_manage(self._venv, self._service, arguments, self._environ())
        assert done.returncode == 0, done.stderr

    def serve(self, kind: str, options: Sequence[str], answers: Callable[[], bool]) -> None:
        """Start with a socket of this *kind* and *options* beside the usual ones; wait until it *answers*."""
        command = [str(self._venv / "bin" / "uwsgi"), "--virtualenv", str(self._venv)]
        command += [kind, f"127.0.0.1:{self.port}", *USUAL.split(), *options]
        with self._log.open("ab") as log:
            self._process = nursery(self._venv, self._service).start(UWSGI, command, self.folder, self._environ(), log)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.running:
            if answers():
                return
            time.sleep(0.1)
        raise AssertionError(f"{self._service}: no answer; its log says: {self.log()[-3000:]}")

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OS_"))}
        return kept | {f"OS_{self._service.upper()}_CONFIG_DIR": str(self.folder)}
