"""Streams that come too slowly."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from glancetx.domain.errors import TooSlow
from glancetx.streams.pace import Pace


def test_fast_enough() -> None:
    """Each window is judged by itself."""
    clock = Clock()
    pace = Pace(clock, rate=10, window=60)
    for _ in range(10):
        clock.advance(30)
        pace.observe(bytes(300))


def test_too_slow() -> None:
    """Not before a window is over, whatever came before that."""
    clock = Clock()
    pace = Pace(clock, rate=10, window=60)
    clock.advance(60)
    pace.observe(bytes(1_000_000))
    for _ in range(5):
        clock.advance(10)
        pace.observe(b"x")
    clock.advance(10)
    with pytest.raises(TooSlow, match="Only 0 bytes came a second; 10 is the least"):
        pace.observe(b"x")
