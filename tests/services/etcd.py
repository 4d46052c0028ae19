"""A real etcd on loopback: one member, with all it keeps in a folder of the test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.needs import lacking
from tests.ports import free_port
from tests.services.programs import Processes


class Etcd:
    """One server. It can be stopped and started again on the same port, with what it had.

    With *tls* (certificate, key and authority) it speaks TLS.
    """

    def __init__(self, folder: Path, tls: tuple[Path, Path, Path] | None = None) -> None:
        program = shutil.which("etcd") or lacking("etcd (the package etcd-server)")
        self.port = free_port()
        self._scheme = "http" if tls is None else "https"
        client, peer = f"{self._scheme}://127.0.0.1:{self.port}", f"http://127.0.0.1:{free_port()}"
        self._processes = Processes(folder)
        self._command = [
            program, "--name", "one", "--data-dir", f"{folder}/etcd", "--unsafe-no-fsync",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"one={peer}",
        ]  # fmt: skip
        self._tls = tls
        if tls is not None:
            self._command += ["--cert-file", str(tls[0]), "--key-file", str(tls[1])]

    @property
    def url(self) -> str:
        """For ``[coordination] backend_url``."""
        options = "" if self._tls is None else f"?ca_cert={self._tls[2]}"
        return f"etcd3+{self._scheme}://127.0.0.1:{self.port}{options}"

    def start(self) -> None:
        self._processes.start("etcd", self._command, self._answers)

    def stop(self) -> None:
        self._processes.stop()

    def _answers(self) -> bool:
        place = f"{self._scheme}://127.0.0.1:{self.port}/v3/kv/range"
        trust = [] if self._tls is None else ["--cacert", str(self._tls[2])]
        command = ["curl", "-fsS", "-m", "10", place, "-d", '{"key":"eA=="}', *trust]
        return subprocess.run(command, capture_output=True).returncode == 0
