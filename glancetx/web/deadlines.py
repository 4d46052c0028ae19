"""Time limits of connections, cheap for thousands of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from txaio._common import _BatchedTimer

from glancetx.config.settings import HttpSettings

BUCKET: Final = 1.0
"""Seconds. All calls that are due in the same second share one timer of the reactor."""


class Timers:
    """txaio's batched timers on a clock of our choice; calls come up to two seconds late, and never early.

    txaio's public way, ``with_config(loop=...)``, knows one reactor for the whole process, and so no test's clock.
    """

    def __init__(self, clock: Any) -> None:
        self._batches = _BatchedTimer(
            BUCKET * 1000, 100, seconds_provider=clock.seconds, delayed_call_creator=clock.callLater
        )

    def call_later(self, delay: float, call: Callable[[], None]) -> Any:
        """Returns what has ``cancel()``. A cancelled call may still come if its second has begun."""
        return self._batches.call_later(delay + BUCKET, call)


def check_interval(settings: HttpSettings) -> float:
    """How often a connection looks at its deadlines: seconds by which it may miss them."""
    shortest = min(settings.header_timeout, settings.idle_timeout, settings.rate_window)
    return max(1.0, min(5.0, shortest / 4))


def patient_interval(settings: HttpSettings) -> float:
    """The same while all that is looked for is whether a client takes any more of its answer: of thousands at once."""
    return max(1.0, min(15.0, settings.idle_timeout / 4))


class Pace:
    """How fast a client sends a body, while it may: time in which our own side pauses does not count."""

    __slots__ = ("_active", "_bytes", "_heard", "_since", "_window")

    def __init__(self) -> None:
        self._active = 0.0  # seconds spent waiting for the client, before `_since`
        self._since: float | None = None
        self._heard = 0.0  # these two are points on the scale of active seconds
        self._window = 0.0
        self._bytes = 0

    def _waited(self, now: float) -> float:
        return self._active + (now - self._since if self._since is not None else 0.0)

    def go(self, now: float) -> None:
        if self._since is None:
            self._since = now

    def halt(self, now: float) -> None:
        self._active, self._since = self._waited(now), None

    def count(self, size: int, now: float) -> None:
        self._bytes += size
        self._heard = self._waited(now)

    def doubtful(self, now: float, settings: HttpSettings) -> bool:
        """Whether bytes that nobody has read yet might change what `too_slow` says."""
        waited = self._waited(now)
        return waited - self._heard >= check_interval(settings) or waited - self._window >= settings.rate_window

    def too_slow(self, now: float, settings: HttpSettings) -> bool:
        """Whether the client was silent for too long, or sent too little in the last full window."""
        waited = self._waited(now)
        if waited - self._heard >= settings.idle_timeout:
            return True
        elapsed = waited - self._window
        if elapsed < settings.rate_window:
            return False
        slow = self._bytes < settings.min_body_rate * elapsed
        self._window, self._bytes = waited, 0
        return slow
