"""What the process does on SIGHUP, SIGTERM, and on a second SIGTERM while it ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

ENDING = (signal.SIGTERM, signal.SIGINT)


class Hangup(Service):
    """While it runs, SIGHUP calls each of *reloads* in the reactor. One which raises is logged; the others are called.

    *before* and *after* surround them, to tell the service manager.
    """

    def __init__(
        self,
        reactor: Any,
        reloads: Sequence[Callable[[], object]],
        before: Callable[[], object] = lambda: None,
        after: Callable[[], object] = lambda: None,
    ) -> None:
        self._log = Logger()
        self._reactor = reactor
        self._reloads = reloads
        self._before, self._after = before, after

    def startService(self) -> None:
        super().startService()
        signal.signal(signal.SIGHUP, self._received)

    def stopService(self) -> None:
        """From now on SIGHUP does nothing: who drains has nothing to reload, and must not die of a late one."""
        super().stopService()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _received(self, number: int, frame: FrameType | None) -> None:
        """Runs between any two instructions: nothing but callFromThread is safe here."""
        self._reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """What SIGHUP does."""
        self._before()
        for reload in self._reloads:
            try:
                reload()
            except Exception:
                self._log.failure("reloading failed; the old state stays")
        self._log.info("reloaded")
        self._after()


class Termination(Service):
    """SIGTERM stops the reactor and the process ends with status 0; left to Twisted it would end by the signal."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def startService(self) -> None:
        super().startService()
        self._reactor.callWhenRunning(signal.signal, signal.SIGTERM, self._received)  # after the reactor's own

    def _received(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.end)

    def end(self) -> None:
        """What SIGTERM does; the second one while the process ends is a matter of `Impatience`."""
        if self.running:
            self._reactor.stop()


class Impatience:
    """A context in which SIGTERM or SIGINT calls *hurry* in the reactor; once more, and the process ends by it."""

    def __init__(self, reactor: Any, hurry: Callable[[], object]) -> None:
        self._reactor = reactor
        self._hurry = hurry
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        self._previous = {number: signal.signal(number, self._received) for number in ENDING}

    def __exit__(self, *error: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous or signal.SIG_DFL)

    def _received(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self._reactor.callFromThread(self._hurry)
