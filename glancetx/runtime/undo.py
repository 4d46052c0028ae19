"""Undoing a step when what follows it fails or is cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")
_log = Logger()


def undone_by(undo: Callable[..., Awaitable[Any]], *args: Any) -> UndoneBlock:
    """If the block raises or is cancelled, await ``undo(*args)``, then let the error go on.

    An undo which itself fails is logged; the first error is the one the caller sees. An undo that has begun runs to
    its end: whoever cancels meanwhile waits for it.
    """
    return UndoneBlock(undo, args)


class UndoneBlock:
    """What `undone_by` returns. No generator: there may be many slow uploads, each in such blocks for all its time."""

    __slots__ = ("_args", "_undo")

    def __init__(self, undo: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        self._undo, self._args = undo, args

    async def __aenter__(self) -> object:
        """Nothing to do yet."""
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        try:
            await Shielded(self._undo(*self._args))
        except Exception:
            _log.failure("undoing with {undo} failed", undo=getattr(self._undo, "__qualname__", self._undo))


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
