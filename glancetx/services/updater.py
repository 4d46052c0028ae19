"""The updater: has the events sent that a process could not send before it died."""

from __future__ import annotations

from typing import Any, Final, Protocol

from twisted.internet.interfaces import IReactorTime

from glancetx.db.events import EventRows
from glancetx.runtime.failpoints import reach
from glancetx.services.periodic import PeriodicService

INTERVAL: Final = 10.0
BATCH: Final = 5000
"""Events taken over at a time."""
BUDGET: Final = 20.0
"""Seconds after which a run leaves the rest to the next one."""


class Messenger(Protocol):
    """Sends the events of this process."""

    @property
    def is_connected(self) -> bool:
        """Whether the broker takes what it is sent, as far as is known."""

    def look(self) -> None:
        """There may be rows that it does not know of."""

    async def delivered(self, patience: float) -> bool:
        """Wait until nothing is left, for *patience* seconds at most; tells whether that is so."""


class Updater(PeriodicService):
    """Takes over the events of dead processes, and keeps *most* of all in the database, the newest.

    Several may do that at once. An event may be sent twice, if its process was only asleep.
    """

    def __init__(self, reactor: IReactorTime, rows: EventRows, messenger: Messenger, most: int) -> None:
        super().__init__(reactor, INTERVAL)
        self._rows, self._messenger, self._most = rows, messenger, most
        self.adopted = self.dropped = 0

    async def run_once(self) -> int:
        """Take over what there is, as fast as it can be sent; returns how many events were sent."""
        if dropped := await self._rows.trim(self._most):
            self.dropped += dropped
            self._log.error("{count} events were dropped, since the broker does not take them", count=dropped)
        latest, sent = self._reactor.seconds() + BUDGET, 0
        while self._messenger.is_connected and (adopted := await self._rows.adopt(BATCH)):
            reach("event.adopted")
            self.adopted += adopted
            self._log.info("{count} events of processes that died are sent now", count=adopted)
            self._messenger.look()
            left = latest - self._reactor.seconds()
            if left <= 0 or not await self._messenger.delivered(left):
                break
            sent += adopted
        return sent

    def status(self) -> dict[str, Any]:
        return super().status() | {"adopted": self.adopted, "dropped": self.dropped}
