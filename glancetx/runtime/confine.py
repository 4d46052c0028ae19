"""Run as a program of its own: gives up rights, then becomes the program it is told to run.

``python -I -S confine.py BOUNDS PROGRAM ARGUMENT...``; *BOUNDS* is JSON: the limits by their names in `resource`;
``parent``, the process with which this one ends; ``reads`` and ``writes``, the files and folders it may read or write,
beside programs and libraries. What cannot be given up ends it with `CANNOT`; but kernels without Landlock, before Linux
5.13, let it have our rights to files. Nothing of glancetx is imported here.
"""

from __future__ import annotations

import ctypes
import errno
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
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446  # the same on all machines
NO_LANDLOCK: Final = (errno.ENOSYS, errno.EOPNOTSUPP)
EXECUTE, WRITE, READ, LIST, TRUNCATE = 1, 2, 4, 8, 1 << 14
RIGHTS: Final = ((1 << 13) - 1, 1 << 13, TRUNCATE, 0, 1 << 15)  # those that each version of Landlock has added
SYSTEM: Final = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/urandom")
X32: Final = 0x40000000  # calls of x86-64 have other numbers above this


class _Rule(ctypes.Structure):
    _pack_, _layout_ = 1, "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def main(arguments: list[str]) -> None:
    bounds = json.loads(arguments[0])
    try:
        end_with_parent(bounds.pop("parent"))
        reads, writes = bounds.pop("reads"), bounds.pop("writes")
        for name, value in bounds.items():
            resource.setrlimit(getattr(resource, name), (value, value))
        control(PR_SET_NO_NEW_PRIVS, 1)
        keep_to([*SYSTEM, os.path.dirname(os.path.dirname(os.path.realpath(arguments[1]))), *reads], writes)
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


def keep_to(reads: list[str], writes: list[str]) -> None:
    """Have no rights to files but to read these, and what is in them, and to write those.

    :raises OSError: if that fails, but not where there is no Landlock.
    """
    try:
        version = call(LANDLOCK_CREATE, 0, 0, 1)
    except OSError as error:
        if error.errno in NO_LANDLOCK:
            return
        raise
    handled = ctypes.c_uint64(sum(RIGHTS[:version]))
    rules = call(LANDLOCK_CREATE, ctypes.addressof(handled), 8, 0)
    granted = [(path, EXECUTE | READ | LIST) for path in reads]
    granted += [(path, READ | WRITE | TRUNCATE) for path in writes]
    for path, rights in granted:
        if os.path.exists(path):
            place = os.open(path, os.O_PATH)
            within = rights if os.path.isdir(path) else rights & ~LIST
            rule = _Rule(within & handled.value, place)
            call(LANDLOCK_ADD, rules, 1, ctypes.addressof(rule), 0)
            os.close(place)
    call(LANDLOCK_RESTRICT, rules, 0)


def call(number: int, *values: int) -> int:
    """A system call. :raises OSError: if it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(value) for value in values))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result


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
    control(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))


def control(what: int, *values: int) -> None:
    """The system call prctl. :raises OSError: if it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    given = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    if libc.prctl(ctypes.c_int(what), *given) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {what}")


if __name__ == "__main__":
    main(sys.argv[1:])
