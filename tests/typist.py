"""Real clients without their start, which takes a second or two each time: one process has loaded them, and forks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock

# Reads commands from standard input, one a line as JSON, runs each in a child of its own, and writes what became of it.
RUNNER = """
import json, os, sys, tempfile
from glanceclient import shell as glance
from glanceclient.v2 import shell as _
from openstackclient import shell as openstack
from openstackclient.image.v2 import image as _

def run(program, arguments):
    sys.argv = [program, *arguments]
    return glance.main() if program == "glance" else openstack.main(arguments)

for line in sys.stdin:
    order = json.loads(line)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            code = 1
            try:
                os.chdir(order["folder"])
                os.environ.clear()
                os.environ.update(order["environ"])
                os.dup2(os.open(order["input"], os.O_RDWR | os.O_NOCTTY), 0)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                code = run(*order["words"]) or 0
            except SystemExit as leaving:
                code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    print(json.dumps([code, *said]), flush=True)
"""


class Typist:
    """Types one command of ``openstack`` or ``glance`` after the other; ends when nobody has it any more."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", RUNNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def type(
        self, words: Sequence[str], folder: Path, environ: Mapping[str, str], source: str
    ) -> subprocess.CompletedProcess[str]:
        """Exit status, output and errors of a command in *folder*, whose standard input is the terminal *source*."""
        program, *arguments = words
        order = {"words": [Path(program).name, arguments], "folder": str(folder), "environ": dict(environ)}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            stdin.write(json.dumps({**order, "input": source}) + "\n")
            stdin.flush()
            code, output, errors = json.loads(stdout.readline())
        return subprocess.CompletedProcess(list(words), code, output, errors)


@cache
def typist() -> Typist:
    """The one of this process."""
    return Typist()
