"""A notifier for those who want no events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from glancetx.interfaces import INotifier


@implementer(INotifier)
class NoNotifier:
    """Tells nobody."""

    def notify(self, event_type: str, priority: str, payload: Mapping[str, Any] | str) -> None:
        """Nothing happens."""
