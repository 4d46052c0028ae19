"""How often a transaction is tried."""

from __future__ import annotations

import pytest

from glancetx.db.connections import Undone
from glancetx.db.trials import ABSENCE, LONGEST, PATIENCE, Trials
from glancetx.domain.errors import DatabaseUnavailable, OutcomeUnknown

COLLISION, LOST, UNKNOWN, AWAY = Undone(at_once=False), Undone(at_once=True), OutcomeUnknown(), DatabaseUnavailable()


def pauses(trials: Trials, error: DatabaseUnavailable) -> list[float]:
    """The pauses between tries that all end with *error*."""
    found: list[float] = []
    while (pause := trials.pause_after(error, 1000 + sum(found))) is not None:
        found.append(pause)
    return found


def test_collisions() -> None:
    """Those who collide try again ever later, but not for ever."""
    found = pauses(Trials(), COLLISION)
    assert found[0] < 0.01
    assert max(found[:3]) < min(found[6:])
    assert max(found) <= LONGEST
    assert PATIENCE <= sum(found) < PATIENCE + LONGEST


def test_pauses_differ() -> None:
    """Two who collided do not meet again at the next try."""
    assert pauses(Trials(), COLLISION) != pauses(Trials(), COLLISION)


@pytest.mark.parametrize(
    ("trials", "error", "tries"),
    [
        (Trials(), LOST, 2),
        (Trials(), UNKNOWN, 1),
        (Trials(), AWAY, 1),
        (Trials(twice=True), LOST, 2),
        (Trials(twice=True), UNKNOWN, 2),
        (Trials(twice=True), AWAY, 1),
    ],
)
def test_away(trials: Trials, error: DatabaseUnavailable, tries: int) -> None:
    """A lost connection is replaced once, at once; a database that does not answer is not waited for."""
    assert pauses(trials, error) == [0.0] * (tries - 1)


@pytest.mark.parametrize("error", [LOST, UNKNOWN, AWAY])
def test_insisting(error: DatabaseUnavailable) -> None:
    """Unless that is what was wanted."""
    found = pauses(Trials(twice=True, absence=ABSENCE), error)
    assert ABSENCE <= sum(found) < ABSENCE + LONGEST
