"""A stream at a limited rate, by the clock."""

from __future__ import annotations

from twisted.internet.task import Clock

from glancetx.streams import Discard, Tap, Throttle
from glancetx.testing.fakes import ScriptedSource

MIB = 1024 * 1024


def test_rate() -> None:
    """8 MiB at 1 MiB a second take 8 seconds, give or take what it may be ahead."""
    clock = Clock()
    throttle = Throttle(clock, MIB)
    source = ScriptedSource(*[bytes(MIB // 16)] * 128)
    done: list[float] = []
    Tap(source, throttle).startProducing(Discard()).addCallback(lambda _: done.append(clock.seconds()))
    while not done:
        clock.advance(0.05)
        assert throttle.passed <= MIB * (clock.seconds() + 1)
        assert clock.seconds() < 10
    assert 6.5 <= done[0] <= 9
    assert throttle.passed == 8 * MIB


def test_idle_time_is_no_credit() -> None:
    """What was not used is lost: after a pause the rate is the same."""
    clock = Clock()
    throttle = Throttle(clock, MIB)
    clock.advance(1000)
    assert throttle.observe(bytes(MIB)) is not None
