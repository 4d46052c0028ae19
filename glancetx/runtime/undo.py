"""Undoing a step when what follows it fails or is cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")
_log = Logger()


@asynccontextmanager
async def undone_by(undo: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> AsyncIterator[None]:
    """If the block raises or is cancelled, await ``undo(*args, **kwargs)``, then let the error go on.

    An undo which itself fails is logged; the first error is the one the caller sees. An undo that has begun runs to
    its end: whoever cancels meanwhile waits for it.
    """
    try:
        yield
    except BaseException:
        try:
            await Shielded(undo(*args, **kwargs))
        except Exception:
            _log.failure("undoing with {undo} failed", undo=getattr(undo, "__qualname__", undo))
        raise


class Shielded(Deferred[T]):
    """Fires with the outcome of *work*. Differs from other Deferreds in `cancel`, which does nothing."""

    def __init__(self, work: Awaitable[T]) -> None:
        super().__init__()
        Deferred.fromCoroutine(_finish(work)).addCallbacks(self.callback, self._fail)

    def _fail(self, failure: Failure) -> None:
        self.errback(failure)

    def cancel(self) -> None:
        """The work goes on; so does the waiting."""


async def _finish(work: Awaitable[T]) -> T:
    return await work
