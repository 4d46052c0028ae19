"""Which texts an image can have."""

from __future__ import annotations


def is_wide(text: str) -> bool:
    """Whether *text* has characters that take four bytes, which Glance's tables in MySQL cannot hold (A-016)."""
    return any(character > "\uffff" for character in text)
