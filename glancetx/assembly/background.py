"""The background services: which there are, and which of them run on one process of all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

from attrs import frozen

from glancetx.assembly.caching import CacheParts
from glancetx.cache.cache import ImageCache
from glancetx.config.settings import Settings
from glancetx.db.claims import Claims, Process
from glancetx.db.copies import Copies
from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.scrub import PendingDeletes
from glancetx.interfaces import ILeases
from glancetx.runtime.threads import Threads
from glancetx.services.auditor import Auditor
from glancetx.services.leader import Leadership
from glancetx.services.periodic import PeriodicService
from glancetx.services.placer import Copy, Placer
from glancetx.services.presence import Presence
from glancetx.services.reaper import Reaper
from glancetx.services.replicator import Mender, Replicator
from glancetx.services.scrubber import Scrubber
from glancetx.services.unstager import Unstager
from glancetx.stores.registry import Stores
from glancetx.streams import Throttle
from glancetx.transfer.recovery import Recovery
from glancetx.transfer.repair import Repairs
from glancetx.transfer.scrub import Scrubs
from glancetx.transfer.staging import StagingArea

RENEWALS: Final = 4.5
"""How often in the length of a lease a process says that it lives."""


@frozen(kw_only=True)
class Background:
    """Every background service, whether settings let it run or not; *running* are those that do, but for those which
    *leadership* runs where their lease is held.
    """

    presence: Presence
    leadership: Leadership
    reaper: Reaper
    unstager: Unstager
    auditor: Auditor
    replicator: Replicator
    mender: Mender | None
    scrubber: Scrubber
    placer: Placer
    caching: Sequence[PeriodicService]
    running: Sequence[PeriodicService]

    @property
    def works(self) -> dict[str, PeriodicService]:
        """Those whose `run_once` a command may call, by name."""
        own = (self.reaper, self.unstager, self.auditor, self.replicator, self.scrubber, self.placer)
        mender = [] if self.mender is None else [self.mender]
        works: Sequence[PeriodicService] = (*own, *mender, *self.caching)
        return {work.name_of_work: work for work in works}


@frozen(kw_only=True)
class BackgroundBuilder:
    """Builds them; *copy* begins copies of an image, *caching* has those that look after the image *cache*."""

    settings: Settings
    reactor: Any
    engine: Engine
    images: Images
    claims: Claims
    copies: Copies
    stores: Stores
    staging: StagingArea
    recovery: Recovery
    hashing: Threads
    process: Process
    leases: ILeases
    copy: Copy
    cache: ImageCache | None
    caching: CacheParts
    multiple: bool

    def build(self) -> Background:
        lease = self.settings.coordination.lease
        presence = Presence(self.reactor, self.claims, self.process, lease / RENEWALS)
        reaper = Reaper(self.reactor, self.claims, self.recovery, self.images, self.settings.stuck_after)
        unstager = Unstager(self.reactor, self.staging, self.images, self.claims)
        auditor = Auditor(self.reactor, self.copies, self.stores, self.hashing, self.settings.audit)
        repairs = self._repairs()
        replicator = Replicator(self.reactor, self.copies, repairs)
        mender = None if self.cache is None else Mender(self.reactor, self.copies, repairs)
        mends = [mender] if mender is not None and self.settings.audit.repair_rate else []
        scrubber = self._scrubber()
        placer = Placer(self.reactor, self.images, self.copy, self.settings.audit.rules, self.stores.to_fill())
        leadership = Leadership(self.reactor, self.leases, lease)
        for work in self._led(auditor, replicator, scrubber, placer):
            leadership.lead(work.name_of_work, work)
        return Background(
            presence=presence,
            leadership=leadership,
            reaper=reaper,
            unstager=unstager,
            auditor=auditor,
            replicator=replicator,
            mender=mender,
            scrubber=scrubber,
            placer=placer,
            caching=self.caching.services,
            running=(presence, reaper, unstager, leadership, *mends, *self.caching.periodic),
        )

    def _led(
        self, auditor: Auditor, replicator: Replicator, scrubber: Scrubber, placer: Placer
    ) -> Iterator[PeriodicService]:
        """Those that one process does for all."""
        audit = self.settings.audit
        yield scrubber
        if audit.rules and self.multiple:
            yield placer
        if audit.audit_rate:
            yield auditor
        if audit.repair_rate:
            yield replicator

    def _repairs(self) -> Repairs:
        throttle = Throttle(self.reactor, self.settings.audit.repair_rate or math.inf)
        return Repairs(self.copies, self.stores, self.recovery, self.hashing, throttle, self.process.id, self.cache)

    def _scrubber(self) -> Scrubber:
        pending = PendingDeletes(self.engine)
        scrubs = Scrubs(pending, self.stores, self.process.id)
        return Scrubber(self.reactor, pending, scrubs, self.settings.scrub)
