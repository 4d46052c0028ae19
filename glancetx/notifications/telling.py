"""Telling a notifier, and a post that keeps events until they are sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from attrs import frozen
from twisted.logger import Logger

from glancetx.db.telling import Transaction, on_commit
from glancetx.interfaces import INotifier
from glancetx.notifications.nothing import NoNotifier

_log = Logger()

Where = Transaction | None
"""The transaction that what is told belongs to; None: it belongs to none, and is told at once."""


@frozen
class Event:
    """What happened (config.md, section 9)."""

    event_type: str
    payload: Mapping[str, Any] | str
    priority: str = "info"


class Post(Protocol):
    """Keeps events in the database, until they are sent."""

    def write(self, transaction: Transaction, told: Sequence[Event]) -> Callable[[], None]:
        """Within a transaction, in any thread: keep these. What is returned sends them, once that is committed."""

    def notify(self, event_type: str, priority: str, payload: Mapping[str, Any] | str) -> None:
        """As `INotifier.notify`, for what belongs to no transaction."""


class Teller:
    """Says to *notifier*, and to *post*, what happened, unless *disabled* names its type or the first part (``image``).

    What belongs to a transaction is told when it is committed; the post writes it down within. A notifier that raises
    is reported in the log; what happened stays done.
    """

    def __init__(self, notifier: INotifier, disabled: Collection[str] = (), post: Post | None = None) -> None:
        self._notifier = None if isinstance(notifier, NoNotifier) else notifier
        self._disabled, self._post = frozenset(disabled), post

    @property
    def is_heard(self) -> bool:
        """Whether anybody is told anything."""
        return self._notifier is not None or self._post is not None

    def _tell(self, transaction: Where, *events: Event) -> None:
        if not self.is_heard:
            return
        told = [event for event in events if self._is_wanted(event.event_type)]
        if not told:
            return
        if transaction is None:
            self._tell_now(told)
            return
        if self._notifier is not None:
            on_commit(transaction, partial(self._notify, self._notifier, told))
        if self._post is not None:
            on_commit(transaction, self._post.write(transaction, told))

    def _is_wanted(self, event_type: str) -> bool:
        return not (event_type in self._disabled or event_type.partition(".")[0] in self._disabled)

    def _tell_now(self, told: Sequence[Event]) -> None:
        for notifier in (self._notifier, self._post):
            if notifier is not None:
                self._notify(notifier, told)

    def _notify(self, notifier: INotifier | Post, told: Sequence[Event]) -> None:
        for event in told:
            try:
                notifier.notify(event.event_type, event.priority, event.payload)
            except Exception:
                _log.failure("the notifier failed with {event}", event=event.event_type)
