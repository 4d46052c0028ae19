"""The background services: which there are, and which of them run on one process of all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import frozen

from glancetx.assembly.caching import CacheParts
from glancetx.assembly.notifiers import Audience
from glancetx.config.settings import Settings
from glancetx.db.claims import Claims, Process
from glancetx.db.copies import Copies
from glancetx.db.engine import Engine
from glancetx.db.gaps import Gaps
from glancetx.db.images import Images
from glancetx.db.scrub import PendingDeletes
from glancetx.db.strays import Strays
from glancetx.db.walks import Walks
from glancetx.domain.errors import ConfigurationError
from glancetx.interfaces import ILeases, IListing
from glancetx.notifications.events import Events
from glancetx.runtime.threads import Threads
from glancetx.services.auditor import Auditor
from glancetx.services.completer import Completer
from glancetx.services.leader import Leadership
from glancetx.services.periodic import PeriodicService
from glancetx.services.placer import Copy, Placer
from glancetx.services.presence import Presence
from glancetx.services.reaper import Reaper
from glancetx.services.replicator import Mender, Replicator
from glancetx.services.scrubber import Scrubber
from glancetx.services.surveyor import Surveyor
from glancetx.services.unstager import Unstager
from glancetx.services.updater import Updater
from glancetx.stores.registry import Stores
from glancetx.streams import Throttle
from glancetx.transfer.completion import Completions
from glancetx.transfer.readers import Readers
from glancetx.transfer.recovery import Recovery
from glancetx.transfer.repair import Repairs
from glancetx.transfer.scrub import Scrubs
from glancetx.transfer.staging import StagingArea
from glancetx.transfer.strays import Ownership, StrayRemoval

if TYPE_CHECKING:  # loaded where there is a cache
    from glancetx.cache.cache import ImageCache

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
    surveyor: Surveyor
    stray_removal: StrayRemoval
    placer: Placer
    completer: Completer
    updater: Updater | None
    caching: Sequence[PeriodicService]
    running: Sequence[PeriodicService]

    @property
    def works(self) -> dict[str, PeriodicService]:
        """Those whose `run_once` a command may call, by name."""
        own = (self.reaper, self.unstager, self.auditor, self.replicator, self.scrubber, self.placer, self.completer)
        others = (self.surveyor, self.mender, self.updater, *self.caching)
        return {work.name_of_work: work for work in (*own, *others) if work is not None}


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
    readers: Readers
    hashing: Threads
    process: Process
    leases: ILeases
    copy: Copy
    cache: ImageCache | None
    caching: CacheParts
    audience: Audience
    events: Events
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
        removal, surveyor = self._surveyor()
        placer = Placer(self.reactor, self.images, self.copy, self.settings.audit.rules, self.stores)
        completer, updater = self._completer(), self._updater()
        leadership = Leadership(self.reactor, self.leases, lease)
        led = [*self._led(auditor, replicator, scrubber, placer, surveyor), completer]
        for work in led if updater is None else [*led, updater]:
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
            surveyor=surveyor,
            stray_removal=removal,
            placer=placer,
            completer=completer,
            updater=updater,
            caching=self.caching.services,
            running=(presence, reaper, unstager, leadership, *mends, *self.caching.periodic),
        )

    def _led(
        self, auditor: Auditor, replicator: Replicator, scrubber: Scrubber, placer: Placer, surveyor: Surveyor
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
        if self.settings.strays.stray_rate:
            yield surveyor

    def _repairs(self) -> Repairs:
        throttle = Throttle(self.reactor, self.settings.audit.repair_rate or math.inf)
        return Repairs(
            self.copies,
            self.stores,
            self.recovery,
            self.hashing,
            throttle,
            self.readers,
            self.process.id,
            self.cache,
        )

    def _completer(self) -> Completer:
        gaps, images, rate = Gaps(self.engine), self.settings.images, self.settings.audit.repair_rate
        completions = Completions(
            self.images,
            gaps,
            self.stores,
            self.hashing,
            Throttle(self.reactor, rate or math.inf),
            self.events,
            images.hashing_algorithm,
            images.image_size_cap,
        )
        return Completer(self.reactor, gaps, completions, hashes=images.do_secure_hash and rate > 0)

    def _updater(self) -> Updater | None:
        audience = self.audience
        if audience.messenger is None or audience.rows is None:
            return None
        return Updater(self.reactor, audience.rows, audience.messenger, self.settings.notifications.kept)

    def _scrubber(self) -> Scrubber:
        pending = PendingDeletes(self.engine)
        scrubs = Scrubs(pending, self.claims, self.stores, self.process.id)
        return Scrubber(self.reactor, pending, scrubs, self.settings.scrub)

    def _surveyor(self) -> tuple[StrayRemoval, Surveyor]:
        settings = self.settings.strays
        strays = Strays(self.engine)
        ownership = Ownership(strays, settings.stray_grace)
        removal = StrayRemoval(strays, self.claims, ownership, self.stores, self.process.id)
        stores = {name: self.stores.get(name) for name in self.stores.identifiers}
        if unknown := set(settings.stray_stores) - set(stores):
            raise ConfigurationError(f"stray_stores: there is no store {', '.join(sorted(unknown))}")
        listing = {name: cast(IListing, store) for name, store in stores.items() if IListing.providedBy(store)}
        surveyor = Surveyor(self.reactor, Walks(self.engine), strays, ownership, removal, listing, settings)
        return removal, surveyor
