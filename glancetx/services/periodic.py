"""A service that does something again and again, and never stops because it failed once."""

from __future__ import annotations

import random
from collections.abc import Coroutine
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger


class PeriodicService(Service):
    """Calls `run_once` at the start and then every *interval* seconds, give or take a tenth (the jitter).

    Runs never overlap: a long one delays the next. An error is logged, and the next tick comes. Stopping cancels the
    run under way and waits for it to end.
    """

    def __init__(self, reactor: IReactorTime, interval: float) -> None:
        self._log = Logger(namespace=type(self).__module__)
        self._reactor = reactor
        self._interval = interval
        self._loop = LoopingCall(self._tick)
        self._loop.clock = reactor
        self._running: Deferred[Any] | None = None
        self._again = False
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
        self._loop.start(self._interval).addErrback(lambda failure: self._log.failure("loop ended", failure))

    def wake(self) -> None:
        """Run at once; if a run is under way, once more after it."""
        if not self.running:
            return
        if self._running is not None:
            self._again = True
        elif self._loop.running:
            self._loop.stop()
            self.startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        return ensureDeferred(self._cancel_run())

    async def _cancel_run(self) -> None:
        if self._running is not None:
            self._running.cancel()

    def _tick(self) -> Deferred[None]:
        self._loop.interval = self._interval * random.uniform(0.9, 1.1)  # noqa: S311 - jitter, no secret
        return ensureDeferred(self._run_as_wanted())

    async def _run_as_wanted(self) -> None:
        await self._run()
        while self._again and self.running:
            self._again = False
            await self._run()

    async def _run(self) -> None:
        self._running = ensureDeferred(_coroutine(self.run_once()))
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


async def _coroutine(work: Coroutine[Any, Any, object]) -> object:
    return await work
