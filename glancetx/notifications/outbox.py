"""Events that wait for the broker: as many as there is room for, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from attrs import define

MOST_EVENTS: Final = 10_000
MOST_BYTES: Final = 16 * 1024 * 1024


@define(eq=False)
class Message:
    """What goes to the broker, and how often that was tried in vain."""

    routing_key: str
    body: bytes
    attempts: int = 0


class Outbox:
    """Keeps the newest messages: if there are more than fit, the oldest are dropped, and counted in *dropped*.

    *retry*: how often a message that could not be delivered is tried again; negative: as often as needed.
    """

    def __init__(self, retry: int = -1, most: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self.dropped = 0
        self._retry, self._most, self._most_bytes = retry, most, most_bytes
        self._waiting: deque[Message] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Message) -> None:
        """The newest message."""
        self._waiting.append(message)
        self._bytes += len(message.body)
        self._make_room()

    def peek(self) -> Message:
        """The oldest message, which stays. :raises IndexError: if there is none."""
        return self._waiting[0]

    def take(self) -> Message:
        """The oldest message. :raises IndexError: if there is none."""
        message = self._waiting.popleft()
        self._bytes -= len(message.body)
        return message

    def put_back(self, messages: Iterable[Message]) -> None:
        """*messages*, in their order, were taken, and are to be delivered before all others."""
        for message in reversed(list(messages)):
            self._waiting.appendleft(message)
            self._bytes += len(message.body)
        self._make_room()

    def note_attempt(self) -> None:
        """It was tried to deliver all these, in vain; those that were tried often enough are dropped."""
        for message in self._waiting:
            message.attempts += 1
        if self._retry >= 0:
            kept = [message for message in self._waiting if message.attempts <= self._retry]
            self.dropped += len(self._waiting) - len(kept)
            self._waiting = deque(kept)
            self._bytes = sum(len(message.body) for message in kept)

    def _make_room(self) -> None:
        while self._waiting and (len(self._waiting) > self._most or self._bytes > self._most_bytes):
            self.take()
            self.dropped += 1
