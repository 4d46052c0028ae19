"""A service that does something again and again, and never stops because it failed once."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from glancetx.runtime.permission import guarded

T = TypeVar("T")


def always() -> bool:
    """What is permitted to a service that needs no lease."""
    return True


class PeriodicService(Service):
    """Calls `run_once` at the start, if *at_once*, and every *interval* seconds, give or take a tenth (the jitter).

    Runs never overlap: a long one delays the next. An error is logged, and the next tick comes. Stopping cancels the
    run under way and waits for it to end. Where *permitted* is False no run begins, and one under way is cancelled
    instead of taking its next step.
    """

    def __init__(self, reactor: IReactorTime, interval: float, *, at_once: bool = True) -> None:
        self._log = Logger(namespace=type(self).__module__)
        self._reactor = reactor
        self._interval, self._at_once = interval, at_once
        self._next: IDelayedCall | None = None
        self.permitted: Callable[[], bool] = always
        self._running: Deferred[Any] | None = None
        self._waiting: list[Deferred[None]] = []  # for the end of the run
        self._active = self._again = False
        self._last_error: str | None = None
        self._runs = self._failures = 0
        self._last_run: float | None = None

    @property
    def name_of_work(self) -> str:
        """What operators call it."""
        return type(self).__name__.lower()

    async def run_once(self) -> object:
        """One bounded slice of work; may be cancelled at any await."""
        raise NotImplementedError

    async def run_all(self) -> object:
        """All the work there is now, for who asks for it by a command; what `run_once` does, unless that ends early."""
        return await self.run_once()

    def status(self) -> dict[str, Any]:
        """What an operator wants to know; JSON types only."""
        return {
            "running": self._running is not None,
            "runs": self._runs,
            "failures": self._failures,
            "last_error": self._last_error,
            "seconds_since": None if self._last_run is None else round(self._reactor.seconds() - self._last_run, 1),
        }

    def startService(self) -> None:
        super().startService()
        if self._at_once or self._active:
            self.wake()
        else:
            self._next = self._reactor.callLater(self._until_next(self._reactor.seconds()), self.wake)

    def wake(self) -> None:
        """Run at once; if a run is under way, once more after it."""
        if not self.running:
            return
        if self._active:
            self._again = True
            return
        self._forget_next()
        ensureDeferred(self._run_as_wanted())

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._forget_next()
        self._again = False
        return ensureDeferred(self._cancel_run())

    async def _cancel_run(self) -> None:
        if self._running is not None:
            self._running.cancel()
        if self._running is not None:  # what a thread has begun is not broken off
            ended: Deferred[None] = Deferred()
            self._waiting.append(ended)
            await ended

    async def guarded(self, work: Coroutine[Any, Any, T]) -> T:
        """Do *work*, which is cancelled at its first step that is not permitted; what it undoes then is done."""
        return await guarded(work, lambda: self.permitted())

    async def _run_as_wanted(self) -> None:
        self._active = self._again = True
        began = 0.0
        while self._again and self.running:
            self._again = False
            began = self._reactor.seconds()
            await self._run()
        self._active = False
        if self.running:
            self._next = self._reactor.callLater(self._until_next(began), self.wake)

    def _until_next(self, began: float) -> float:
        """Seconds until the next run; some even if the last one took longer than that."""
        interval = self._interval * random.uniform(0.9, 1.1)  # noqa: S311 - jitter, no secret
        return max(interval / 10, began + interval - self._reactor.seconds())

    def _forget_next(self) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None

    async def _run(self) -> None:
        if not self.permitted():
            return
        self._running = ensureDeferred(self.guarded(self.run_once()))
        try:
            await self._running
            self._last_error = None
        except CancelledError:
            pass
        except Exception as error:
            self._last_error = repr(error)
            self._failures += 1
            self._log.failure("a run failed; the next one will try again")
        finally:
            self._running = None
            self._runs += 1
            self._last_run = self._reactor.seconds()
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)


class SlicedService(PeriodicService):
    """One whose runs each do a slice of the work. *more* tells whether the last one left any for the next."""

    more = False

    async def run_once(self) -> int:
        raise NotImplementedError

    async def run_all(self) -> int:
        """Slice after slice, until none is left; returns how much was done."""
        done = await self.run_once()
        while self.more:
            done += await self.run_once()
        return done
