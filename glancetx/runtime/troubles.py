"""Who wants to know at once that something goes wrong, although it is going to be tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Troubles:
    """Of things that have names: stores."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[str], None]] = []

    def tell(self, name: str) -> None:
        """A request to it failed, and is tried again after a pause."""
        for listener in list(self._listeners):
            listener(name)

    @contextmanager
    def told_to(self, listener: Callable[[str], None]) -> Iterator[None]:
        """Meanwhile *listener* is called with the name of each that is in trouble."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)
