"""Run as a program of its own: gives up rights, then becomes the program it is told to run.

``python -I -S confine.py BOUNDS PROGRAM ARGUMENT...``; *BOUNDS* is JSON: the limits by their names in `resource`, and
``parent``, the process with which this one ends. What cannot be given up ends it with `CANNOT`. Nothing of glancetx is
imported here.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
from typing import Final

CANNOT: Final = 126
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SECCOMP_MODE_FILTER: Final = 2
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of the kernel's packet filter language
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000
IO_URING_SETUP: Final = 425  # it could make sockets, too

# By machine: its name in the kernel, and the system calls that make sockets, look into other processes, or mount.
MACHINES: Final = {
    "x86_64": (0xC000003E, (41, 53, 101, 310, 311, 165, IO_URING_SETUP)),
    "aarch64": (0xC00000B7, (198, 199, 117, 270, 271, 40, IO_URING_SETUP)),
}
X32: Final = 0x40000000  # calls of x86-64 have other numbers above this


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def main(arguments: list[str]) -> None:
    bounds = json.loads(arguments[0])
    try:
        end_with_parent(bounds.pop("parent"))
        for name, value in bounds.items():
            resource.setrlimit(getattr(resource, name), (value, value))
        refuse_calls()
    except (OSError, KeyError, ValueError) as error:
        print(f"cannot be confined: {error!r}", file=sys.stderr)
        sys.exit(CANNOT)
    os.nice(5)
    os.closerange(3, 1024)
    environ = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
    os.execve(arguments[1], arguments[1:], environ)  # noqa: S606 - there is no shell


def end_with_parent(parent: int) -> None:
    """Be killed when the parent dies. :raises OSError: if it is dead already."""
    control(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise OSError("the parent is gone")


def refuse_calls() -> None:
    """Make the calls of `MACHINES` fail with EPERM, for this process and all that come of it.

    :raises KeyError, OSError: if that is not possible here.
    """
    machine, calls = MACHINES[platform.machine()]
    count = len(calls)
    steps = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, machine), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    steps.append((AT_LEAST, count + 1, 0, X32))
    steps += [(EQUAL, count - at, 0, call) for at, call in enumerate(calls)]
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.cast(code, ctypes.c_void_p))
    control(PR_SET_NO_NEW_PRIVS, 1)
    control(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))


def control(what: int, *values: int) -> None:
    """The system call prctl. :raises OSError: if it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    given = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    if libc.prctl(ctypes.c_int(what), *given) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {what}")


if __name__ == "__main__":
    main(sys.argv[1:])
