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
from glancetx.services.periodic import PeriodicService
from glancetx.stores.registry import Stores
from glancetx.streams import Throttle
from glancetx.transfer.examine import Examiner

INTERVAL: Final = 60.0
BATCH: Final = 100
"""Copies looked up at a time."""


class Auditor(PeriodicService):
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
        self.found: dict[str, int] = {}

    async def run_once(self) -> int:
        """Look at all copies that are due; returns how many. Cancelling leaves the one under way as it was."""
        await self._copies.enrol()
        looked = 0
        while batch := await self._copies.due(self._now() - self._period, BATCH):
            for copy in batch:
                await self._audit(copy)
                looked += 1
            if len(batch) < BATCH:
                break
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
