"""Long turns, one after the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from glancetx.web.turns import PASS, Turns


class Reactor:
    """One pass at a time: what a call schedules comes in the next, where a Clock would call it at once."""

    def __init__(self) -> None:
        self.later: list[Callable[[], None]] = []

    def callLater(self, delay: float, call: Callable[[], None]) -> None:
        assert delay == 0
        self.later.append(call)

    def go_on(self) -> None:
        calls, self.later = self.later, []
        for call in calls:
            call()


def test_no_more_than_fits_into_a_pass() -> None:
    """Who has to wait is called in the order of asking, as many in each pass as there are bytes for."""
    reactor = Reactor()
    turns = Turns(reactor)
    called: list[str] = []

    def turn(name: str, size: int) -> Callable[[], None]:
        def take() -> None:
            called.append(name)
            turns.taken(size)

        return take

    assert turns.ask(turn("first", PASS // 2))
    turns.taken(PASS // 2)
    assert turns.ask(turn("second", PASS // 2))
    turns.taken(PASS // 2)
    assert not any([turns.ask(turn("large", PASS)), turns.ask(turn("small", 1)), turns.ask(turn("last", PASS))])
    assert called == []
    reactor.go_on()
    assert called == ["large"]
    assert not turns.ask(turn("late", 1))
    reactor.go_on()
    assert called == ["large", "small", "last"]
    reactor.go_on()
    assert called == ["large", "small", "last", "late"]
    reactor.go_on()
    assert turns.ask(turn("alone", 1))
    assert reactor.later == []


def test_who_leaves_or_fails_keeps_nobody() -> None:
    """One that is not wanted any more is not called, and one that fails takes nothing from the rest."""
    reactor = Reactor()
    turns = Turns(reactor)
    called: list[str] = []

    def gone() -> None:
        called.append("gone")

    def fails() -> None:
        raise ValueError("as it should")

    turns.taken(PASS)
    assert not any([turns.ask(gone), turns.ask(fails), turns.ask(lambda: called.append("last"))])
    turns.forget(gone)
    turns.forget(gone)
    with pytest.raises(ValueError, match="as it should"):
        reactor.go_on()
    assert called == []
    reactor.go_on()
    assert called == ["last"]
