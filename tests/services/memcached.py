"""A real memcached on loopback."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from tests.needs import lacking
from tests.running import free_port
from tests.services.programs import Processes


class RealMemcached:
    """One server; its log lies in *folder*. It can be stopped and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("memcached")
        if program is None:
            lacking("memcached")
        self.port = free_port()
        self._processes = Processes(folder)
        self._command = [str(program), "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-u", "nobody"]

    def start(self) -> None:
        self._processes.start("memcached", self._command, self._answers)

    def stop(self) -> None:
        self._processes.stop()

    def dump(self) -> bytes:
        """What it has, as far as its keys tell; and how much of it."""
        return self._ask(b"stats items\r\n") + self._ask(b"stats\r\n")

    def flush(self) -> None:
        self._ask(b"flush_all\r\n")

    def _answers(self) -> bool:
        try:
            return self._ask(b"version\r\n").startswith(b"VERSION")
        except OSError:
            return False

    def _ask(self, command: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(command)
            return connection.recv(65536)
