"""The background services: which there are, and which of them run on one process of all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, cast

from attrs import frozen

from glancetx.assembly.caching import CacheParts
from glancetx.assembly.ground import Ground
from glancetx.assembly.notifiers import Audience
from glancetx.db.gaps import Gaps
from glancetx.db.scrub import PendingDeletes
from glancetx.db.strays import Strays
from glancetx.db.walks import Walks
from glancetx.domain.errors import ConfigurationError
from glancetx.interfaces import ILeases, IListing
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
from glancetx.streams import Throttle
from glancetx.transfer.completion import Completions
from glancetx.transfer.recovery import Recovery
from glancetx.transfer.repair import Repairs
from glancetx.transfer.scrub import Scrubs
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

    ground: Ground
    recovery: Recovery
    leases: ILeases
    copy: Copy
    cache: ImageCache | None
    caching: CacheParts
    audience: Audience

    def build(self) -> Background:
        ground, reactor, settings = self.ground, self.ground.reactor, self.ground.settings
        lease = settings.coordination.lease
        presence = Presence(reactor, ground.claims, ground.process, lease / RENEWALS)
        reaper = Reaper(reactor, ground.claims, self.recovery, ground.images, settings.stuck_after)
        unstager = Unstager(reactor, ground.staging, ground.images, ground.claims)
        auditor = Auditor(reactor, ground.copies, ground.stores, ground.pools.hashing, settings.audit)
        repairs = self._repairs()
        replicator = Replicator(reactor, ground.copies, repairs)
        mender = None if self.cache is None else Mender(reactor, ground.copies, repairs)
        mends = [mender] if mender is not None and settings.audit.repair_rate else []
        scrubber = self._scrubber()
        removal, surveyor = self._surveyor()
        placer = Placer(reactor, ground.images, self.copy, settings.audit.rules, ground.stores)
        completer, updater = self._completer(), self._updater()
        leadership = Leadership(reactor, self.leases, lease)
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
        audit = self.ground.settings.audit
        yield scrubber
        if audit.rules and self.ground.multiple:
            yield placer
        if audit.audit_rate:
            yield auditor
        if audit.repair_rate:
            yield replicator
        if self.ground.settings.strays.stray_rate:
            yield surveyor

    def _repairs(self) -> Repairs:
        ground = self.ground
        throttle = Throttle(ground.reactor, ground.settings.audit.repair_rate or math.inf)
        return Repairs(
            ground.copies,
            ground.stores,
            self.recovery,
            ground.pools.hashing,
            throttle,
            ground.readers,
            ground.process.id,
            self.cache,
        )

    def _completer(self) -> Completer:
        ground = self.ground
        gaps, images, rate = Gaps(ground.engine), ground.settings.images, ground.settings.audit.repair_rate
        completions = Completions(
            ground.images,
            gaps,
            ground.stores,
            ground.pools.hashing,
            Throttle(ground.reactor, rate or math.inf),
            ground.events,
            images.hashing_algorithm,
            images.image_size_cap,
        )
        return Completer(ground.reactor, gaps, completions, hashes=images.do_secure_hash and rate > 0)

    def _updater(self) -> Updater | None:
        audience, ground = self.audience, self.ground
        if audience.messenger is None or audience.rows is None:
            return None
        return Updater(ground.reactor, audience.rows, audience.messenger, ground.settings.notifications.kept)

    def _scrubber(self) -> Scrubber:
        ground = self.ground
        pending = PendingDeletes(ground.engine)
        scrubs = Scrubs(pending, ground.claims, ground.stores, ground.process.id)
        return Scrubber(ground.reactor, pending, scrubs, ground.settings.scrub)

    def _surveyor(self) -> tuple[StrayRemoval, Surveyor]:
        ground, settings = self.ground, self.ground.settings.strays
        strays = Strays(ground.engine)
        ownership = Ownership(strays, settings.stray_grace)
        removal = StrayRemoval(strays, ground.claims, ownership, ground.stores, ground.process.id)
        stores = {name: ground.stores.get(name) for name in ground.stores.identifiers}
        if unknown := set(settings.stray_stores) - set(stores):
            raise ConfigurationError(f"stray_stores: there is no store {', '.join(sorted(unknown))}")
        listing = {name: cast(IListing, store) for name, store in stores.items() if IListing.providedBy(store)}
        surveyor = Surveyor(ground.reactor, Walks(ground.engine), strays, ownership, removal, listing, settings)
        return removal, surveyor
