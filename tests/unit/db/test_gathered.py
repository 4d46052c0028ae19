"""Reads asked for at once are answered together, and each as if it had been alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Event

import pytest
import pytest_twisted
from attrs import define, field
from sqlalchemy import Connection, event
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred

from glancetx.db.engine import Engine
from glancetx.db.gathered import MOST, Gathered
from glancetx.domain.errors import ConfigurationError, DatabaseUnavailable, Invalid


@define
class Shop:
    """Has the length of each key; its first answer waits until `open` is set, and *begun* fires when it is asked."""

    begun: Deferred[None] = field(factory=Deferred)
    open: Event = field(factory=Event)
    asked: list[tuple[str, ...]] = field(factory=list)

    def load(self, connection: Connection, group: str, keys: Sequence[str]) -> Mapping[str, int]:
        from twisted.internet import reactor

        self.asked.append(tuple(keys))
        if len(self.asked) == 1:
            reactor.callFromThread(self.begun.callback, None)  # type: ignore[attr-defined]
            assert self.open.wait(60)
        if "bad" in keys:
            raise Invalid("bad")
        return {key: len(key) for key in keys if key != "none"}


def ask(gathered: Gathered[str, str, int], *keys: str) -> list[Deferred[int | None]]:
    return [ensureDeferred(gathered.ask("g", key)) for key in keys]


@pytest_twisted.ensureDeferred
async def test_alone(engine: Engine) -> None:
    """Who comes alone is answered at once; who asks for what is not there is told None."""
    shop = Shop()
    shop.open.set()
    gathered = Gathered(engine, shop.load)
    assert await gathered.ask("g", "a") == 1
    assert await gathered.ask("g", "none") is None
    assert shop.asked == [("a",), ("none",)]


@pytest_twisted.ensureDeferred
async def test_together(engine: Engine) -> None:
    """Those who come while others are answered get one answer, and it begins after they came."""
    shop = Shop()
    gathered = Gathered(engine, shop.load)
    (first,) = ask(gathered, "a")
    await shop.begun
    others = ask(gathered, "bb", "a", "none", "bb")
    shop.open.set()
    assert await first == 1
    assert [await other for other in others] == [2, 1, None, 2]
    assert shop.asked == [("a",), ("bb", "a", "none")]


@pytest_twisted.ensureDeferred
async def test_bound(engine: Engine) -> None:
    """So many are answered by a statement, and no more."""
    shop = Shop()
    gathered = Gathered(engine, shop.load)
    (first,) = ask(gathered, "a")
    await shop.begun
    others = ask(gathered, *(f"{number:02}" for number in range(MOST + 3)))
    shop.open.set()
    assert [await each for each in (first, *others)] == [1] + [2] * (MOST + 3)
    assert [len(keys) for keys in shop.asked] == [1, MOST, 3]


@pytest_twisted.ensureDeferred
async def test_groups_do_not_wait(engine: Engine) -> None:
    """What others may see is another statement, which does not wait for ours."""
    shop = Shop()
    gathered = Gathered(engine, shop.load)
    (first,) = ask(gathered, "a")
    await shop.begun
    assert await gathered.ask("other", "bb") == 2
    shop.open.set()
    assert await first == 1


@pytest_twisted.ensureDeferred
async def test_cancelled(engine: Engine) -> None:
    """Who goes away is not asked for any more, and keeps nobody else from his answer."""
    shop = Shop()
    gathered = Gathered(engine, shop.load)
    (first,) = ask(gathered, "a")
    await shop.begun
    gone, stays = ask(gathered, "bb", "ccc")
    gone.cancel()
    first.cancel()
    shop.open.set()
    assert await stays == 3
    for each in (gone, first):
        with pytest.raises(CancelledError):
            await each
    assert shop.asked == [("a",), ("ccc",)]


@pytest_twisted.ensureDeferred
async def test_one_is_wrong(engine: Engine) -> None:
    """A question that cannot be answered is an error of him alone who asked."""
    shop = Shop()
    gathered = Gathered(engine, shop.load)
    (first,) = ask(gathered, "a")
    await shop.begun
    good, bad, other = ask(gathered, "bb", "bad", "cccc")
    shop.open.set()
    assert await first == 1
    assert await good == 2
    with pytest.raises(Invalid):
        await bad
    assert await other == 4
    with pytest.raises(Invalid):
        await gathered.ask("g", "bad")
    assert await gathered.ask("g", "bb") == 2


@pytest_twisted.ensureDeferred
async def test_no_database(engine: Engine) -> None:
    """All are told, those who wait as well, and nobody waits for ever afterwards."""
    shop = Shop()
    gathered = Gathered(engine, shop.load)
    (first,) = ask(gathered, "a")
    await shop.begun
    others = ask(gathered, "bb", "ccc")
    stopped = ensureDeferred(engine.stop())
    shop.open.set()
    assert await first == 1
    await stopped
    for each in (*others, *ask(gathered, "dddd")):
        with pytest.raises(DatabaseUnavailable):
            await each


@pytest_twisted.ensureDeferred
async def test_not_even_a_connection(engine: Engine) -> None:
    """An error that comes before the question is everybody's, whatever it is, and the last that is heard of it."""

    def refuse(*args: object) -> None:
        raise ConfigurationError("too old")

    gathered = Gathered(engine, Shop().load)
    event.listen(engine._readers.pool.engine, "connect", refuse, insert=True)
    for each in ask(gathered, "a", "bb"):
        with pytest.raises(ConfigurationError):
            await each
