"""What a background service tells of itself, in words for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

COMMON: Final = frozenset(["running", "runs", "failures", "last_error", "seconds_since", "leads"])
"""What all of them tell, which has columns of its own."""


def in_words(status: Mapping[str, Any]) -> list[str]:
    """The facts of a `PeriodicService.status`; what there is of each store is a fact of its own."""
    found = []
    for name, value in status.items():
        if name in COMMON or value is None:
            continue
        parts = value.items() if isinstance(value, Mapping) else [("", value)]
        found += [_one(name, part, each) for part, each in parts if each != []]
    return found


def _one(name: str, part: str, value: Any) -> str:
    words = (name, part, f"{value:,}" if isinstance(value, int) else str(value))
    return " ".join(word for word in words if word)
