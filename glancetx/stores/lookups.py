"""Blocking calls with a time limit, for file systems that may stop to answer (S-030)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as Expired
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glancetx.config.store_settings import FilesystemSettings
from glancetx.domain.errors import StoreUnavailable
from glancetx.runtime.sharing import SharedCall
from glancetx.runtime.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")


class TooSlow(StoreUnavailable):
    """The call goes on, and may yet do what it was to do."""


class Lookups:
    """Threads of a file store's own. A call that takes too long goes on, and nobody waits for it any more."""

    def __init__(self, settings: FilesystemSettings, reactor: IReactorTime, threads: Threads) -> None:
        self._settings, self._reactor, self._threads = settings, reactor, threads
        self._log = Logger()

    def start(self) -> None:
        self._threads.start()

    async def stop(self) -> None:
        """Wait for calls under way, but not for those that take too long."""
        stopping = Deferred.fromCoroutine(self._threads.stop())
        try:
            await stopping.addTimeout(self._settings.timeout, self._reactor)
        except Expired:
            self._log.warn("store {store}: its file system does not answer", store=self._settings.identifier)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it in a thread. :raises TooSlow: when the time is over."""
        call = SharedCall(self._threads.run(function, *args, **kwargs))
        self._look_around()
        try:
            return await call.result().addTimeout(self._settings.timeout, self._reactor)
        except Expired:
            raise TooSlow("The file system does not answer") from None

    def _look_around(self) -> None:
        used = 100 * self._threads.working / self._threads.size
        if used >= self._settings.threshold:
            self._log.warn(
                "store {store}: {used:.0f}% of filesystem_store_thread_pool_size are in use",
                store=self._settings.identifier,
                used=used,
            )
