"""A notifier that writes each event to the log: one line of JSON, for people and for log shippers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from glancetx.interfaces import INotifier


@implementer(INotifier)
class LogNotifier:
    """Writes to *log*, so that an embedding application chooses where it goes."""

    def __init__(self, log: Logger | None = None) -> None:
        self._log = log or Logger(namespace="glancetx.notifications")

    def notify(self, event_type: str, priority: str, payload: Mapping[str, Any] | str) -> None:
        """One line at the level that fits the priority; the event's parts are also fields of the log event."""
        write = self._log.error if priority == "error" else self._log.info
        write(
            "{event_type} {text}",
            event_type=event_type,
            priority=priority,
            payload=payload,
            text=json.dumps(payload, default=str),
        )
