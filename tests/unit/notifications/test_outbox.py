"""How many letters wait, and which."""

from __future__ import annotations

import pytest

from glancetx.notifications.outbox import Letter, Outbox


def letter(number: int, size: int = 1, *, kept: bool = False) -> Letter:
    return Letter(f"key{number}", "info", "x" * size, kept)


def keys(outbox: Outbox) -> list[str]:
    return [outbox.take().key for _ in range(len(outbox))]


def test_order() -> None:
    """First come, first taken; what is put back goes first, in its order."""
    outbox = Outbox()
    for number in range(4):
        outbox.put(letter(number))
    taken = [outbox.take(), outbox.take()]
    outbox.put_back(taken)
    assert keys(outbox) == ["key0", "key1", "key2", "key3"]
    with pytest.raises(IndexError):
        outbox.take()


@pytest.mark.parametrize("bounds", [{"most": 3}, {"most_bytes": 30}])
def test_bounds(bounds: dict[str, int]) -> None:
    """The oldest go, and are counted, whether there are too many or too large ones."""
    outbox = Outbox(**bounds)
    for number in range(5):
        outbox.put(letter(number, size=10))
    assert outbox.dropped == 2
    assert len(outbox) == 3
    outbox.put_back([letter(1, size=10)])
    assert outbox.dropped == 3
    assert keys(outbox) == ["key2", "key3", "key4"]


def test_too_large() -> None:
    """A message that never fits does not stay, nor anything before it."""
    outbox = Outbox(most_bytes=30)
    outbox.put(letter(1))
    outbox.put(letter(2, size=31))
    outbox.put(letter(3))
    assert outbox.dropped == 2
    assert keys(outbox) == ["key3"]


def test_retry() -> None:
    """What was tried often enough goes; without a limit nothing does."""
    patient, impatient = Outbox(), Outbox(retry=1)
    for outbox in (patient, impatient):
        outbox.put(letter(1))
        outbox.note_attempt()
        outbox.put(letter(2))
        outbox.note_attempt()
    assert (patient.dropped, keys(patient)) == (0, ["key1", "key2"])
    assert (impatient.dropped, keys(impatient)) == (1, ["key2"])


def test_both_kinds_are_taken_by_their_keys() -> None:
    """Kept or not, the oldest goes first, also if it came late."""
    outbox = Outbox()
    for number, kept in ((1, True), (3, False), (4, True), (2, True), (0, False)):
        outbox.put(letter(number, kept=kept))
    assert (len(outbox), outbox.kept) == (5, 3)
    assert keys(outbox) == ["key0", "key1", "key2", "key3", "key4"]


@pytest.mark.parametrize("bounds", [{"most": 3}, {"most_bytes": 30}])
def test_what_is_kept_is_not_dropped(bounds: dict[str, int]) -> None:
    """If there is no room it stays where it is kept, and takes none from others."""
    outbox = Outbox(**bounds)
    assert [outbox.put(letter(number, size=10, kept=True)) for number in range(5)] == [True] * 3 + [False] * 2
    assert outbox.put(letter(9, size=10))
    assert (outbox.dropped, len(outbox), outbox.kept) == (0, 4, 3)
