"""What the process tells its event loop: to look up often."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.epollreactor import EPollReactor

EVENTS: Final = 16
"""Connections the loop deals with before it looks at its timers, and at what threads have ended."""


def take_short_turns(reactor: Any) -> None:
    """Let *reactor* deal with `EVENTS` events in a turn at most, if it is Twisted's for Linux; others stay as they are.

    It would deal with all that are ready, and of 5,500 slow clients hundreds may be: timers, and what comes of
    threads, would wait for all of them. The kernel goes round: who has to wait comes first in the next turn.
    """
    if isinstance(reactor, EPollReactor):
        reactor._poller = _Few(reactor._poller)


class _Few:
    """A `select.epoll` that tells of few events at once."""

    def __init__(self, poller: Any) -> None:
        self._poll = poller.poll
        self.register, self.modify, self.unregister = poller.register, poller.modify, poller.unregister
        self.close, self.fileno = poller.close, poller.fileno

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = self._poll(timeout, min(most, EVENTS))
        return found
