"""Reads that are asked for by many at once, and answered together.

While one statement runs for a group of callers, those who come wait; the next statement is for all of them. So a
statement begins after all have come whom it answers, and what each is told is as fresh as if he had asked alone. Who
comes when nothing runs does not wait for others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from attrs import define, field
from sqlalchemy import Connection
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from glancetx.db.engine import Engine
from glancetx.domain.errors import DatabaseUnavailable

G = TypeVar("G", bound=Hashable)
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST: Final = 32
"""Callers that one statement answers."""


@define(eq=False)
class _Caller(Generic[K, V]):
    key: K
    answer: Deferred[V | None] = field(factory=Deferred)


Line = deque[_Caller[K, V]]


class Gathered(Generic[G, K, V]):
    """*load* finds the values of some keys, in one statement that is right for all callers of a group.

    What is told to several callers is one object.
    """

    def __init__(self, engine: Engine, load: Callable[[Connection, G, Sequence[K]], Mapping[K, V]]) -> None:
        self._engine, self._load = engine, load
        self._lines: dict[G, Line[K, V]] = {}

    async def ask(self, group: G, key: K) -> V | None:
        """The value of *key*; None if there is none. Raises what *load* raises, for this key.

        Cancelling it is no business of the others'.

        :raises DatabaseUnavailable: as `Engine.read`.
        """
        caller: _Caller[K, V] = _Caller(key)
        line = self._lines.get(group)
        if line is None:
            line = self._lines[group] = deque([caller])
            ensureDeferred(self._serve(group, line))
        else:
            line.append(caller)
        return await caller.answer

    async def _serve(self, group: G, line: Line[K, V]) -> None:
        """Until nobody waits."""
        try:
            while line:
                await self._serve_some(group, line)
        finally:
            del self._lines[group]

    async def _serve_some(self, group: G, line: Line[K, V]) -> None:
        callers: list[_Caller[K, V]] = []
        try:
            found = await self._engine.read(self._answer, group, line, callers)
        except DatabaseUnavailable as error:
            _fail(callers or _leave(line), error)
        except Exception as error:
            if len(callers) > 1:
                await self._separate(group, callers)
            else:  # nobody, if it did not get as far
                _fail(callers or _leave(line), error)
        else:
            for caller in callers:
                _tell(caller, found.get(caller.key))

    def _answer(
        self, connection: Connection, group: G, line: Line[K, V], callers: list[_Caller[K, V]]
    ) -> Mapping[K, V]:
        """In a thread: whoever has come until now is one of *callers*; when it is run again, they are the same."""
        while line and len(callers) < MOST:
            callers.append(line.popleft())
        keys = dict.fromkeys(caller.key for caller in callers if not caller.answer.called)
        return self._load(connection, group, tuple(keys)) if keys else {}

    async def _separate(self, group: G, callers: Sequence[_Caller[K, V]]) -> None:
        """One of *callers* asks for what cannot be asked: the others are to be answered all the same."""
        for caller in callers:
            try:
                found = await self._engine.read(self._load, group, (caller.key,))
            except Exception as own:
                _fail([caller], own)
            else:
                _tell(caller, found.get(caller.key))


def _leave(line: Line[K, V]) -> list[_Caller[K, V]]:
    callers = list(line)
    line.clear()
    return callers


def _tell(caller: _Caller[K, V], value: V | None) -> None:
    if not caller.answer.called:  # or he was cancelled
        caller.answer.callback(value)


def _fail(callers: Sequence[_Caller[K, V]], error: Exception) -> None:
    for caller in callers:
        if not caller.answer.called:
            caller.answer.errback(Failure(error))
