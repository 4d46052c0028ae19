"""Which texts an image can have."""

from __future__ import annotations

from typing import Any


def is_wide(text: str) -> bool:
    """Whether *text* has characters that take four bytes, which Glance's tables in MySQL cannot hold (A-016)."""
    return not text.isascii() and max(text) > "\uffff"


def has_wide(document: Any) -> bool:
    """Whether any text in a JSON document is one, names of members included."""
    if isinstance(document, dict):
        return any(is_wide(name) or has_wide(value) for name, value in document.items())
    if isinstance(document, list):
        return any(map(has_wide, document))
    return isinstance(document, str) and is_wide(document)
