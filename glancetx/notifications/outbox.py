"""Letters that wait for the broker: as many as there is room for, in their order."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable
from typing import Final

from attrs import define

MOST_EVENTS: Final = 10_000
MOST_BYTES: Final = 16 * 1024 * 1024


@define(eq=False)
class Letter:
    """An event on its way. Its *key* sorts by time. *kept*: a row in the database has it too, until it is sent."""

    key: str
    priority: str
    text: str
    kept: bool = False
    attempts: int = 0  # in vain


class _Queue:
    """Letters of one kind, sorted by their keys."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.letters: deque[Letter] = deque()
        self._bytes = 0
        self._most, self._most_bytes = most, most_bytes

    @property
    def is_full(self) -> bool:
        return len(self.letters) >= self._most or self._bytes >= self._most_bytes

    @property
    def is_too_full(self) -> bool:
        return len(self.letters) > self._most or self._bytes > self._most_bytes

    def put(self, letter: Letter) -> None:
        letters = self.letters
        if not letters or letters[-1].key <= letter.key:
            letters.append(letter)
        elif letter.key <= letters[0].key:
            letters.appendleft(letter)
        else:
            insort(letters, letter, key=_key)
        self._bytes += len(letter.text)

    def take(self) -> Letter:
        letter = self.letters.popleft()
        self._bytes -= len(letter.text)
        return letter

    def drop_tired(self, retry: int) -> list[Letter]:
        """Remove, and return, those that were tried more than *retry* times."""
        tired = [letter for letter in self.letters if letter.attempts > retry]
        self.letters = deque(letter for letter in self.letters if letter.attempts <= retry)
        self._bytes = sum(len(letter.text) for letter in self.letters)
        return tired


def _key(letter: Letter) -> str:
    return letter.key


class Outbox:
    """Letters at hand, to be taken in the order of their keys.

    Of those that are nowhere else the newest stay: if there are more than fit, the oldest are dropped, and counted in
    *dropped*. Those that are kept find no room then, and stay where they are kept. *most* and *most_bytes* are for each
    of both kinds. *retry*: how often one that could not be delivered is tried again; negative: as often as needed.
    """

    def __init__(self, retry: int = -1, most: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self.dropped = 0
        self._retry = retry
        self._kept, self._others = _Queue(most, most_bytes), _Queue(most, most_bytes)

    def __len__(self) -> int:
        return len(self._kept.letters) + len(self._others.letters)

    @property
    def kept(self) -> int:
        """How many of them are kept."""
        return len(self._kept.letters)

    def put(self, letter: Letter) -> bool:
        """One more; False: there is no room, and it is kept elsewhere."""
        if not letter.kept:
            self._others.put(letter)
            self._make_room()
            return True
        if self._kept.is_full:
            return False
        self._kept.put(letter)
        return True

    def take(self) -> Letter:
        """The oldest. :raises IndexError: if there is none."""
        return self._first().take()

    def put_back(self, letters: Iterable[Letter]) -> None:
        """*letters* were taken, and are to be delivered before all that come after them."""
        for letter in reversed(list(letters)):
            (self._kept if letter.kept else self._others).put(letter)
        self._make_room()

    def note_attempt(self) -> list[Letter]:
        """It was tried to deliver all these, in vain; those that were tried often enough are dropped, and returned."""
        dropped: list[Letter] = []
        for queue in (self._kept, self._others):
            for letter in queue.letters:
                letter.attempts += 1
            if self._retry >= 0:
                dropped += queue.drop_tired(self._retry)
        self.dropped += len(dropped)
        return dropped

    def _first(self) -> _Queue:
        kept, others = self._kept.letters, self._others.letters
        return self._kept if kept and not (others and others[0].key < kept[0].key) else self._others

    def _make_room(self) -> None:
        while self._others.letters and self._others.is_too_full:
            self._others.take()
            self.dropped += 1
