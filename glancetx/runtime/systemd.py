"""Telling systemd how we are (the sd_notify protocol): one datagram to a socket named by the environment."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall


class Systemd:
    """Sends states to the service manager, if there is one. To say something never fails and never waits."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._path = "\0" + path[1:] if path.startswith("@") else path
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog = int(usec) / 1_000_000 if ours and usec.isdigit() else 0.0  # seconds; 0: not wanted

    def ready(self, status: str = "serving") -> None:
        self.send("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self.send("STOPPING=1", "STATUS=draining")

    def alive(self) -> None:
        self.send("WATCHDOG=1")

    def send(self, *states: str) -> None:
        if not self._path:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as datagrams:
            datagrams.setblocking(False)
            with suppress(OSError):  # nobody listens, which is no reason to stop serving
                datagrams.sendto("\n".join(states).encode(), self._path)


class Watchdog(Service):
    """Tells systemd that the reactor turns, twice in each period it allows; and when we stop, that we do."""

    def __init__(self, reactor: Any, systemd: Systemd) -> None:
        self._systemd = systemd
        self._beat = LoopingCall(systemd.alive)
        self._beat.clock = reactor

    def startService(self) -> None:
        super().startService()
        if self._systemd.watchdog:
            self._beat.start(self._systemd.watchdog / 2)

    def stopService(self) -> None:
        """The beat goes on: draining takes time, and the process ends with it anyway."""
        super().stopService()
        self._systemd.stopping()
