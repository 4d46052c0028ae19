"""A RabbitMQ broker of one's own: Debian's package, started in a folder of the test, on loopback only."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.needs import lacking
from tests.ports import free_port

HOST = "127.0.0.1"
PROGRAMS = Path("/usr/lib/rabbitmq/bin")  # the commands in PATH insist on becoming user rabbitmq


class RabbitMQ:
    """One broker with all its files in *folder*; user and password are ``test``.

    With *tls* (certificate, key and authority) it speaks TLS on *tls_port*. It may be stopped and started again: what
    is durable stays.
    """

    def __init__(self, folder: Path, tls: tuple[Path, Path, Path] | None = None) -> None:
        if not (PROGRAMS / "rabbitmq-server").exists() or not shutil.which("epmd"):
            lacking("RabbitMQ (the package rabbitmq-server)")
        self.folder = folder
        self.port, self.tls_port, self._distribution, self._mapper_port = [free_port() for _ in range(4)]
        self._processes: list[subprocess.Popen[bytes]] = []
        for name in ("data", "log", "home"):
            (folder / name).mkdir(parents=True)
        cookie = folder / "home" / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(10))
        cookie.chmod(0o400)
        (folder / "plugins").write_text("[].")
        (folder / "rabbitmq.conf").write_text(self._settings(tls))

    @property
    def url(self) -> str:
        """For ``transport_url``."""
        return f"rabbit://test:test@{HOST}:{self.port}/"

    @property
    def tls_url(self) -> str:
        return f"rabbit://test:test@{HOST}:{self.tls_port}/?ssl=true"

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        # The node would start a port mapper of its own, which outlives it.
        self._spawn("epmd", "-address", HOST, "-port", str(self._mapper_port))
        node = self._spawn(str(PROGRAMS / "rabbitmq-server"))
        deadline = time.monotonic() + 120
        while not self._listens():
            if node.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"RabbitMQ does not start; its log says: {self._log()[-3000:]}")
            time.sleep(0.1)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the broker (SIGKILL: at once) and its port mapper."""
        for process in reversed(self._processes):
            if process.poll() is None:
                os.killpg(process.pid, number)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        self._processes.clear()

    def control(self, *command: str) -> str:
        """What ``rabbitmqctl`` says."""
        program = [str(PROGRAMS / "rabbitmqctl"), "-q", *command]
        return subprocess.run(
            program, env=self._environ(), capture_output=True, text=True, timeout=300, check=True
        ).stdout

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log" / "output").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=self._environ(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _environ(self) -> dict[str, str]:
        folder = self.folder
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
        }

    def _settings(self, tls: tuple[Path, Path, Path] | None) -> str:
        lines = [
            f"listeners.tcp.1 = {HOST}:{self.port}",
            "default_user = test",
            "default_pass = test",
            "vm_memory_high_watermark.absolute = 1GB",
            "disk_free_limit.absolute = 50MB",
        ]
        if tls is not None:
            certificate, key, authority = tls
            lines += [
                f"listeners.ssl.1 = {HOST}:{self.tls_port}",
                f"ssl_options.certfile = {certificate}",
                f"ssl_options.keyfile = {key}",
                f"ssl_options.cacertfile = {authority}",
            ]
        return "\n".join([*lines, ""])

    def _listens(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=5).close()
        except OSError:
            return False
        return True

    def _log(self) -> str:
        return (self.folder / "log" / "output").read_text(errors="replace")
