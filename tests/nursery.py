"""Programs without their start, most of which is loading modules: one process has loaded them, and forks.

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
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO

DAEMON = "import sys; from twisted.scripts.twistd import run; sys.exit(run())"
LOADED = (
    "alembic.command", "jsonschema", "oslo_policy.policy", "prometheus_client", "sqlalchemy.dialects.sqlite",
    "treq", "twisted.scripts.twistd", "glancetx.assembly.stores", "glancetx.cli.cache", "glancetx.cli.manage",
    "glancetx.cli.replicator", "glancetx.cli.scrubber", "glancetx.cli.status", "glancetx.db.migrations",
    "glancetx.imports.runner", "glancetx.notifications.messaging", "glancetx.operations.images",
    "glancetx.process", "glancetx.runtime.failpoints", "glancetx.services.auditor", "glancetx.tap",
    "glancetx.transfer.upload", "glancetx.web.request",
)  # fmt: skip
FRESH = ("glancetx.runtime.failpoints",)

# Reads orders from a socket, one a message: a program, its words, folder and environment; with them come a pipe for
# its status, and its standard input, output and errors.
RUNNER = """
import gc, importlib, json, os, signal, socket, sys

number, loaded, fresh = json.loads(sys.argv[1])
for name in loaded:
    importlib.import_module(name)
assert "twisted.internet.reactor" not in sys.modules
gc.collect()
gc.freeze()
orders = socket.socket(fileno=number)
pipes = {}

def told(*_):
    for child in list(pipes):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            with open(pipes.pop(child), "wb") as pipe:
                pipe.write(str(os.waitstatus_to_exitcode(status)).encode())

def begin(order, descriptors):
    orders.detach()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.closerange(3, 1024)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environ"])
    for name in fresh:
        importlib.reload(sys.modules[name])
    sys.argv = order["words"]
    exec(order["program"], {"__name__": "__main__"})
    sys.exit()

signal.signal(signal.SIGCHLD, told)
while True:
    message, descriptors, _, _ = socket.recv_fds(orders, 1 << 20, 4)
    if not message:
        break
    pipe, *descriptors = descriptors
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    child = os.fork()
    if not child:
        begin(json.loads(message), descriptors)
    pipes[child] = pipe
    for descriptor in descriptors:
        os.close(descriptor)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    orders.send(str(child).encode())
"""


class Child:
    """A program that was forked; like a `subprocess.Popen`."""

    def __init__(self, words: Sequence[str], pid: int, pipe: int) -> None:
        self.args = list(words)
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
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
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
    """Forks programs from a *python* that has *loaded* modules; of these, each child has the *fresh* ones anew.

    It ends when nobody has it any more.
    """

    def __init__(self, python: str | Path, loaded: Sequence[str], fresh: Sequence[str] = ()) -> None:
        self._lock = Lock()
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [str(python), "-c", RUNNER, json.dumps([theirs.fileno(), loaded, fresh])],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def start(
        self,
        program: str,
        words: Sequence[str],
        folder: Path,
        environ: Mapping[str, str],
        output: IO[bytes],
        errors: IO[bytes] | None = None,
        source: IO[bytes] | None = None,
    ) -> Child:
        """Begin the Python *program*, whose ``sys.argv`` are *words*; *errors* is *output* if not told."""
        order = {"program": program, "words": list(words), "folder": str(folder), "environ": dict(environ)}
        pipe, theirs = os.pipe()
        with ExitStack() as stack:
            stack.callback(os.close, theirs)
            source = source or stack.enter_context(open(os.devnull, "rb"))
            handed = [theirs, source.fileno(), output.fileno(), (errors or output).fileno()]
            with self._lock:
                socket.send_fds(self._orders, [json.dumps(order).encode()], handed)
                return Child(words, int(self._orders.recv(16)), pipe)

    def run(
        self,
        program: str,
        words: Sequence[str],
        environ: Mapping[str, str],
        folder: Path = Path("/"),
        data: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end with *data* as its input; what it has printed."""
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            source.write(data.encode())
            source.seek(0)
            child = self.start(program, words, folder, environ, output, errors, source)
            try:
                status = child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
                raise
            said = []
            for file in (output, errors):
                file.seek(0)
                said.append(file.read().decode())
        return subprocess.CompletedProcess(child.args, status, *said)


PATIENCE = 300.0
"""Seconds a program has that ends by itself."""


@cache
def nursery() -> Nursery:
    """That of this process for our own programs."""
    return Nursery(sys.executable, LOADED, FRESH)


def run_command(
    name: str,
    *words: object,
    data: str = "",
    folder: Path = Path("/"),
    environ: Mapping[str, str] | None = None,
    whole: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run one of our commands, ``glancetx-manage`` or another, to its end; a *whole* one begins as it is installed."""
    command = [str(Path(sys.executable).parent / name), *map(str, words)]
    settings = {**os.environ, **(environ or {})}
    if whole:
        return subprocess.run(
            command, input=data, cwd=folder, env=settings, capture_output=True, text=True, timeout=PATIENCE
        )
    module = "status" if name == "glancetx" else name.removeprefix("glancetx-")
    program = f"import sys; from glancetx.cli.{module} import main; sys.exit(main())"
    return nursery().run(program, command, settings, folder, data)
