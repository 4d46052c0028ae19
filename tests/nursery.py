"""Daemons without their start, most of which is loading modules: one process has loaded them, and forks.

What it must not have loaded is the reactor, which is made when it is first imported: each child makes its own.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock

LOADED = (
    "alembic.command", "oslo_policy.policy", "prometheus_client", "sqlalchemy.dialects.sqlite", "treq",
    "werkzeug.routing", "glancetx.assembly.stores", "glancetx.db.migrations", "glancetx.imports.runner",
    "glancetx.notifications.messaging", "glancetx.operations.images", "glancetx.services.auditor", "glancetx.tap",
    "glancetx.transfer.upload", "glancetx.web.request",
)  # fmt: skip

# Reads orders from a socket, one a message: a daemon's words, folder, environment and log, and a pipe for its status.
RUNNER = """
import gc, importlib, json, os, signal, socket, sys
from twisted.scripts import twistd
from glancetx.runtime import failpoints

for name in sys.argv[2:]:
    importlib.import_module(name)
assert "twisted.internet.reactor" not in sys.modules
gc.collect()
gc.freeze()
orders = socket.socket(fileno=int(sys.argv[1]))
pipes = {}

def told(*_):
    for child in list(pipes):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            with open(pipes.pop(child), "wb") as pipe:
                pipe.write(str(os.waitstatus_to_exitcode(status)).encode())

def begin(order):
    orders.detach()
    os.closerange(3, 1024)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environ"])
    importlib.reload(failpoints)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    sys.argv = order["words"]
    sys.exit(twistd.run())

signal.signal(signal.SIGCHLD, told)
while True:
    message, descriptors, _, _ = socket.recv_fds(orders, 1 << 20, 1)
    if not message:
        break
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    child = os.fork()
    if not child:
        begin(json.loads(message))
    pipes[child] = descriptors[0]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    orders.send(str(child).encode())
"""


class Child:
    """A daemon that was forked; like a `subprocess.Popen`."""

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pipe = pipe

    def poll(self) -> int | None:
        """Its exit status once it has ended, else None."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. :raises subprocess.TimeoutExpired: if it has not ended after so many seconds."""
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(["twistd"], timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._pipe], [], [], timeout)[0]:
            self.returncode = int(os.read(self._pipe, 16))
            os.close(self._pipe)
        return self.returncode


class Nursery:
    """Forks daemons; ends when nobody has it any more."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", RUNNER, str(theirs.fileno()), *LOADED],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def start(self, words: Sequence[str], folder: Path, environ: Mapping[str, str], log: Path) -> Child:
        """Begin a daemon of these *words* in *folder*, which writes to the end of *log*."""
        order = {"words": list(words), "folder": str(folder), "environ": dict(environ), "log": str(log)}
        pipe, theirs = os.pipe()
        with self._lock:
            socket.send_fds(self._orders, [json.dumps(order).encode()], [theirs])
            os.close(theirs)
            return Child(int(self._orders.recv(16)), pipe)


@cache
def nursery() -> Nursery:
    """The one of this process."""
    return Nursery()
