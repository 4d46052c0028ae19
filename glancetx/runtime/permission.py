"""Work that ends as soon as it is not permitted any more, whatever it was waiting for: a process may have slept."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError

T = TypeVar("T")


@coroutine
def guarded(work: Coroutine[Any, Any, T], permitted: Callable[[], bool]) -> Generator[Any, Any, T]:
    """Do *work*, which is cancelled at its first step that is not permitted; what it undoes then is done."""
    value: Any = None
    error: BaseException | None = None
    cancelled = False
    while True:
        try:
            awaited = work.send(value) if error is None else work.throw(error)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        value, error = None, None
        try:
            value = yield awaited
        except BaseException as failure:
            error = failure
        if not cancelled and not permitted():  # once: what it awaits now may be an undoing
            cancelled, error = True, error or CancelledError()
