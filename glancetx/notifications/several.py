"""A notifier that passes events on to others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from glancetx.interfaces import INotifier

_log = Logger()


@implementer(INotifier)
class SeveralNotifiers:
    """Tells each of *notifiers*; if one raises, the others are told all the same."""

    def __init__(self, notifiers: Sequence[INotifier]) -> None:
        self._notifiers = tuple(notifiers)

    def notify(self, event_type: str, priority: str, payload: Mapping[str, Any] | str) -> None:
        for notifier in self._notifiers:
            try:
                notifier.notify(event_type, priority, payload)
            except Exception:
                _log.failure("a notifier failed with {event}", event=event_type)
