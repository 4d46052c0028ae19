"""How many events wait, and which."""

from __future__ import annotations

import pytest

from glancetx.notifications.outbox import Message, Outbox


def message(number: int, size: int = 1) -> Message:
    return Message(f"key{number}", b"x" * size)


def keys(outbox: Outbox) -> list[str]:
    return [outbox.take().routing_key for _ in range(len(outbox))]


def test_order() -> None:
    """First come, first taken; what is put back goes first, in its order."""
    outbox = Outbox()
    for number in range(4):
        outbox.put(message(number))
    assert outbox.peek().routing_key == "key0"
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
        outbox.put(message(number, size=10))
    assert outbox.dropped == 2
    assert len(outbox) == 3
    outbox.put_back([message(9, size=10)])
    assert outbox.dropped == 3
    assert keys(outbox) == ["key2", "key3", "key4"]


def test_too_large() -> None:
    """A message that never fits does not stay, nor anything before it."""
    outbox = Outbox(most_bytes=30)
    outbox.put(message(1))
    outbox.put(message(2, size=31))
    outbox.put(message(3))
    assert outbox.dropped == 2
    assert keys(outbox) == ["key3"]


def test_retry() -> None:
    """What was tried often enough goes; without a limit nothing does."""
    patient, impatient = Outbox(), Outbox(retry=1)
    for outbox in (patient, impatient):
        outbox.put(message(1))
        outbox.note_attempt()
        outbox.put(message(2))
        outbox.note_attempt()
    assert (patient.dropped, keys(patient)) == (0, ["key1", "key2"])
    assert (impatient.dropped, keys(impatient)) == (1, ["key2"])
