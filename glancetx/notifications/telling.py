"""Telling a notifier."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from twisted.logger import Logger

from glancetx.interfaces import INotifier

_log = Logger()


class Teller:
    """Says to *notifier* what happened, unless *disabled* names the event's type or its first part (``image``).

    A notifier that raises is reported in the log; what happened stays done.
    """

    def __init__(self, notifier: INotifier, disabled: Collection[str] = ()) -> None:
        self._notifier, self._disabled = notifier, frozenset(disabled)

    def _tell(self, event_type: str, payload: Mapping[str, Any] | str, priority: str = "info") -> None:
        if event_type in self._disabled or event_type.partition(".")[0] in self._disabled:
            return
        try:
            self._notifier.notify(event_type, priority, payload)
        except Exception:
            _log.failure("the notifier failed with {event}", event=event_type)
