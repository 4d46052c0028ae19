"""How late the event loop is: a timer that notices."""

from __future__ import annotations

from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from glancetx.runtime.metrics import Metrics

INTERVAL: Final = 0.1


class Pulse(Service):
    """Ten times a second, tells how much later than it should it was called."""

    def __init__(self, reactor: IReactorTime, metrics: Metrics) -> None:
        self._reactor, self._metrics = reactor, metrics
        self._due = 0.0
        self._next: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._wait()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._metrics.pour()
        return succeed(None)

    def _wait(self) -> None:
        self._due = self._reactor.seconds() + INTERVAL
        self._next = self._reactor.callLater(INTERVAL, self._beat)

    def _beat(self) -> None:
        self._metrics.late(max(0.0, self._reactor.seconds() - self._due))
        self._metrics.pour()
        self._wait()
