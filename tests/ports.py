"""Ports on loopback for servers that tests start, none of which two test processes get."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

BLOCK = 64
LOWEST = 10_000


def free_port() -> int:
    """A port on which nothing listens, and which nobody else is given: no other test, and no outgoing connection.

    So a server can be stopped, and later be started again on the same port.
    """
    with _LOCK:
        return next(_PORTS)


def _ports() -> Iterator[int]:
    """Blocks of ports, each of them ours for as long as this process lives."""
    local = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    blocks = list(range(LOWEST, min(32_768, int(local.split()[0])) - BLOCK, BLOCK))
    random.shuffle(blocks)
    claims = []
    for first in blocks:
        claim = _bound(socket.SOCK_DGRAM, first)
        if claim is not None:
            claims.append(claim.detach())  # a UDP port that is bound tells other test processes, and TCP does not care
            yield from (port for port in range(first, first + BLOCK) if _is_free(port))
    raise AssertionError("all ports are in use")


def _is_free(port: int) -> bool:
    found = _bound(socket.SOCK_STREAM, port)
    if found is not None:
        found.close()
    return found is not None


def _bound(kind: socket.SocketKind, port: int) -> socket.socket | None:
    """A socket on this port, if it is free."""
    tried = socket.socket(socket.AF_INET, kind)
    try:
        tried.bind(("127.0.0.1", port))
    except OSError:
        tried.close()
        return None
    return tried


_PORTS = _ports()
_LOCK = threading.Lock()
