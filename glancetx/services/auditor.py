"""The auditor: reads every copy of every image again, one after the other and slowly, and compares."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from glancetx.config.settings import AuditSettings
from glancetx.db.copies import Copies
from glancetx.domain.copy import SOUND, Copy
from glancetx.domain.image import utc_now
from glancetx.runtime.threads import Threads
from glancetx.services.periodic import SlicedService
from glancetx.stores.registry import Stores
from glancetx.streams import Throttle
from glancetx.transfer.examine import Examiner

INTERVAL: Final = 60.0
BATCH: Final = 100
"""Copies looked up at a time."""
SLICE: Final = 1000
"""Copies looked at in one run; the next one goes on with those that wait longest."""
BUDGET: Final = 60.0
"""Seconds after which a run looks at no other copy."""
ENROLLED: Final = 2000
"""Locations that are compared, in one run, with the table of copies; the next run goes on behind them."""


class Auditor(SlicedService):
    """Looks at each copy once in ``audit_period`` seconds, reading ``audit_rate`` bytes a second in all.

    A copy that is not sound is logged as an error, and kept in the table of copies until a later look finds it sound.
    Nothing is repaired here.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        copies: Copies,
        stores: Stores,
        hashing: Threads,
        settings: AuditSettings,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(reactor, INTERVAL)
        self._copies = copies
        self._period = timedelta(seconds=settings.audit_period)
        self._throttle = Throttle(reactor, settings.audit_rate or math.inf)
        self._examiner = Examiner(stores, hashing, self._throttle)
        self._now = now
        self._looking_at: Copy | None = None
        self._enrolled = 0
        self.found: dict[str, int] = {}

    async def run_once(self) -> int:
        """Look at copies that are due; returns how many. Cancelling leaves the one under way as it was.

        *more* tells whether there are others.
        """
        self._enrolled = await self._copies.enrol(self._enrolled, ENROLLED)
        latest, before = self._reactor.seconds() + BUDGET, self._now() - self._period
        looked, batch = 0, await self._copies.due(before, BATCH)
        full = len(batch) == BATCH
        while batch and looked < SLICE and self._reactor.seconds() <= latest:
            await self._audit(batch.pop(0))
            looked += 1
            if full and not batch:
                batch = await self._copies.due(before, BATCH)
                full = len(batch) == BATCH
        self.more = bool(self._enrolled or (batch and self._period))  # without a period there always are
        return looked

    def status(self) -> dict[str, Any]:
        at = self._looking_at
        return super().status() | {
            "image": at.image_id if at else None,
            "bytes_read": self._throttle.passed,
            "found": dict(self.found),
        }

    async def _audit(self, copy: Copy) -> None:
        self._looking_at = copy
        try:
            finding = await self._examiner.examine(copy)
        finally:
            self._looking_at = None
        if not await self._copies.record(copy, finding.state, finding.detail):
            return
        self.found[finding.state] = self.found.get(finding.state, 0) + 1
        if finding.state != SOUND:
            self._log.error(
                "image {image}: its copy at location {location} is {state}: {detail}",
                image=copy.image_id,
                location=copy.location.id,
                state=finding.state,
                detail=finding.detail,
            )
