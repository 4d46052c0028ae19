"""Who takes part in a round of transactions, and when it begins."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.task import Clock

from glancetx.db.rounds import WINDOW, Rounds


@define
class Table:
    """Rounds of four at most; *begun* is how many were asked for."""

    clock: Clock = field(factory=Clock)
    begun: int = 0
    rounds: Rounds[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rounds = Rounds(self.clock, 4, self._begin)

    def _begin(self) -> None:
        self.begun += 1

    def put(self, calls: str) -> None:
        for call in calls:
            self.rounds.put(call)

    def take(self) -> str:
        return "".join(self.rounds.take())

    def had(self, calls: str) -> Table:
        """After a round of these."""
        self.put(calls)
        assert self.take() == calls
        self.begun = 0
        return self


def test_alone() -> None:
    """Who comes when nobody else does begins at once; who comes before he has begun is taken along."""
    table = Table()
    table.put("a")
    assert table.begun == 1
    table.put("bc")
    assert (table.begun, table.take()) == (1, "abc")


def test_one_after_the_other() -> None:
    """Nobody waits for others who were not there the last time."""
    table = Table().had("abcd").had("ab")
    table.put("a")
    assert (table.begun, table.take()) == (1, "a")


def test_window() -> None:
    """The first of many waits for others until half as many have come as before."""
    table = Table().had("abcd")
    table.put("a")
    assert table.begun == 0
    table.put("b")
    assert (table.begun, table.take()) == (1, "ab")
    table.clock.advance(WINDOW)
    assert table.begun == 1


def test_window_ends() -> None:
    """Or a moment, if nobody comes."""
    table = Table().had("abcd")
    table.put("a")
    table.clock.advance(WINDOW)
    assert (table.begun, table.take()) == (1, "a")


def test_close() -> None:
    """In the end nobody is waited for."""
    table = Table().had("abcd")
    table.put("a")
    table.rounds.close()
    assert (table.begun, table.take()) == (1, "a")
    table.rounds.close()
    assert table.begun == 1


def test_too_many() -> None:
    """Who does not fit into a round is in the next, which somebody else may have taken along."""
    table = Table()
    table.put("abcde")
    assert (table.begun, table.take(), table.take()) == (2, "abcd", "e")
    table.put("abcde")
    table.put("f")
    assert (table.begun, table.take()) == (4, "abcd")
    table.put("gh")
    assert (table.begun, table.take()) == (4, "efgh")
