"""Letters that the database keeps: brought to the outbox, and taken out of the database when they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from glancetx.db.events import EventRows, KeptEvent
from glancetx.db.telling import Transaction
from glancetx.domain.errors import DatabaseUnavailable
from glancetx.notifications.outbox import Letter
from glancetx.notifications.wire import priority_of
from glancetx.runtime.failpoints import reach

REMOVE_AFTER: Final = 1.0
"""Seconds for which what is sent is collected, to be removed in one transaction."""
REMOVE_AT: Final = 1000
"""As many are removed at once, however soon."""


class Drawer:
    """What is known of the rows that this process is to send.

    *behind*: there may be some that are not at hand. As long as that is so, new ones are not taken at hand either, so
    that they stay in their order.
    """

    def __init__(self, reactor: Any, rows: EventRows) -> None:
        self._reactor, self._rows = reactor, rows
        self.behind = False
        self._at_hand: set[str] = set()  # until the row is removed
        self._sent: list[str] = []
        self._due: IDelayedCall | None = None
        self._removing: Deferred[None] | None = None
        self._log = Logger()

    def keep(self, transaction: Transaction, letters: Sequence[Letter]) -> None:
        """Within a transaction: write a row for each."""
        if not letters:
            return
        self._rows.add(transaction, [KeptEvent(letter.key, letter.text) for letter in letters])
        for letter in letters:
            letter.kept = True

    def admit(self, letter: Letter) -> bool:
        """Take note that a letter is at hand; False if it was before."""
        if letter.key in self._at_hand:
            return False
        self._at_hand.add(letter.key)
        return True

    def leave(self, letter: Letter) -> None:
        """There is no room for it now."""
        self._at_hand.discard(letter.key)
        self.behind = True

    def done(self, letter: Letter) -> None:
        """It is sent, or nobody is to have it any more; its row is removed soon."""
        reach("event.sent")
        self._sent.append(letter.key)
        if len(self._sent) == REMOVE_AT:
            self._remove_now()
        elif self._due is None:
            self._due = self._reactor.callLater(REMOVE_AFTER, self._remove_now)

    async def oldest(self, limit: int) -> list[Letter]:
        """The oldest that are not at hand, about *limit*; *behind* tells whether there may be more.

        Of a database that does not answer, none; *behind* stays false then, until somebody sets it.
        """
        self.behind = False
        limit += len(self._at_hand)
        try:
            rows = await self._rows.oldest(limit)
        except DatabaseUnavailable:
            return []
        self.behind = len(rows) == limit
        letters = [Letter(row.key, priority_of(row.body), row.body, kept=True) for row in rows]
        return [letter for letter in letters if letter.key not in self._at_hand]

    async def empty(self) -> None:
        """Remove the rows of all that is sent. :raises DatabaseUnavailable: if that cannot be done now."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        while self._sent:
            sent, self._sent = self._sent, []
            try:
                await self._rows.remove(sent)
            except BaseException:
                self._sent += sent
                raise
            self._at_hand.difference_update(sent)

    def _remove_now(self) -> None:
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None
        if self._removing is None:
            self._removing = Deferred.fromCoroutine(self._remove())

    async def _remove(self) -> None:
        try:
            await self.empty()
        except DatabaseUnavailable:
            self._due = self._due or self._reactor.callLater(REMOVE_AFTER, self._remove_now)
        except Exception:
            self._log.failure("what is sent cannot be removed; it may be sent again")
        finally:
            self._removing = None
