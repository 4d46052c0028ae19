"""Letting only as many bytes pass as somebody grants, a step at a time, when nobody knows how many there will be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from glancetx.streams.interfaces import IObserver

FIRST_STEP: Final = 1024 * 1024
LARGEST_STEP: Final = 1024 * 1024 * 1024
PAUSE: Final = 0.25  # seconds between two times it asks for the same bytes
PATIENCE: Final = 60.0  # seconds it waits for others to leave it some

Grant = Callable[[int, int, bool], Awaitable[int]]
"""``await grant(needed, wanted, wait)`` allows from *needed* to *wanted* bytes more, and returns how many; or raises.

0, only if *wait*, means that it should be asked again later.
"""


@implementer(IObserver)
class Allowance:
    """Asks *grant* for more when what it granted is used up, and holds the transfer until it has answered.

    Steps grow with what has come, so that large bodies ask rarely, while at most a quarter is granted in vain (or one
    `FIRST_STEP`). What *grant* raises fails the transfer. After *PATIENCE* seconds it waits no more.
    """

    def __init__(self, reactor: IReactorTime, grant: Grant) -> None:
        self._reactor, self._grant = reactor, grant
        self._granted = self._received = 0
        self._held: Deferred[None] | None = None  # while it asks
        self._finished: Deferred[None] | None = None
        self._error: BaseException | None = None

    def observe(self, chunk: bytes) -> Deferred[None] | None:
        if self._error is not None:
            raise self._error
        self._received += len(chunk)
        if self._held is not None or self._received <= self._granted:
            return None
        held = self._held = Deferred()
        Deferred.fromCoroutine(self._ask()).addCallbacks(self._go_on, self._fail)
        return held

    async def finish(self) -> None:
        """All bytes that came are granted, or it raises."""
        if self._held is not None:
            finished = self._finished = Deferred()
            await finished
        if self._error is not None:
            raise self._error

    async def _ask(self) -> None:
        latest = self._reactor.seconds() + PATIENCE
        while (needed := self._received - self._granted) > 0:
            step = min(max(self._received // 4, FIRST_STEP), LARGEST_STEP)
            wait = self._reactor.seconds() < latest
            granted = await self._grant(needed, needed + step, wait)
            self._granted += granted
            if granted == 0:
                await deferLater(self._reactor, PAUSE)

    def _go_on(self, _: object) -> None:
        held, finished = self._answered()
        if held is not None:  # what is released may come at once, and want to be granted, and be the last
            held.callback(None)
        if finished is not None:
            finished.callback(None)

    def _fail(self, failure: Failure) -> None:
        self._error = failure.value
        held, finished = self._answered()
        if held is not None:
            held.errback(self._error)
        if finished is not None:
            finished.callback(None)

    def _answered(self) -> tuple[Deferred[None] | None, Deferred[None] | None]:
        """Who waits for the answer that has come; whoever comes from here on waits for the next one."""
        waiting = self._held, self._finished
        self._held = self._finished = None
        return waiting
