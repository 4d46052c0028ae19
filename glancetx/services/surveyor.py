"""The surveyor: goes through what stores keep, and notes what no image has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from glancetx.config.settings import StraySettings
from glancetx.db.strays import Strays
from glancetx.db.walks import Walk, Walks
from glancetx.domain.errors import StoreError
from glancetx.domain.listed import Stray
from glancetx.interfaces import IListing
from glancetx.runtime.failpoints import reach
from glancetx.services.periodic import PeriodicService
from glancetx.transfer.strays import Ownership, StrayRemoval

INTERVAL: Final = 60.0
BUDGET: Final = 30.0
"""Seconds after which a run leaves the rest to the next one."""
PAGE: Final = 1000
"""Items looked at together."""
REMOVED: Final = 100
"""Strays that one run removes at most."""
DAY: Final = 86400.0


class Surveyor(PeriodicService):
    """Begins a walk through each store every ``stray_period`` seconds, and takes as many runs for it as it needs.

    How far it has come is in the database, so another process goes on where one has died. What it finds is logged once,
    and kept in the table of strays as long as later walks find it too. It is removed only if ``remove_strays_after``
    says so; and not where more than half of what is in the store is nobody's: that store is somebody else's as well,
    or the database is another one.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        walks: Walks,
        strays: Strays,
        ownership: Ownership,
        removal: StrayRemoval,
        stores: Mapping[str, IListing],
        settings: StraySettings,
    ) -> None:
        super().__init__(reactor, INTERVAL, at_once=False)  # a start has more urgent things to do
        self._walks, self._strays, self._ownership, self._removal = walks, strays, ownership, removal
        self._stores = {name: store for name, store in stores.items() if settings.wants(name)}
        self._settings = settings
        self._at: str | None = None
        self.seen = self.removed = 0
        self.strays: dict[str, int] = {}
        self.stray_bytes: dict[str, int] = {}

    async def run_once(self) -> int:
        """Go on with the walks that are due, for a limited time; returns how many items were looked at."""
        return await self._run_for(self._settings.stray_period, BUDGET)

    async def run_all(self) -> int:
        """Go through all stores from the beginning to the end, or to the end where a walk is under way already."""
        return await self._run_for(0.0, None)

    def status(self) -> dict[str, Any]:
        return super().status() | {
            "store": self._at,
            "seen": self.seen,
            "strays": dict(self.strays),
            "stray_bytes": dict(self.stray_bytes),
            "removed": self.removed,
        }

    async def _run_for(self, period: float, budget: float | None) -> int:
        latest = None if budget is None else self._reactor.seconds() + budget
        looked = 0
        try:
            for name, listing in self._stores.items():
                if latest is None or self._reactor.seconds() < latest:
                    looked += await self._survey(name, listing, period, latest)
            await self._remove_old()
        finally:
            self._at = None
            await self._count()
        return looked

    async def _count(self) -> None:
        """Of stores without any, too: who watches the numbers wants to see that they went down."""
        counts = await self._strays.counts()
        names = {*self._stores, *counts}
        self.strays = {name: counts[name].count if name in counts else 0 for name in sorted(names)}
        self.stray_bytes = {name: counts[name].size if name in counts else 0 for name in sorted(names)}

    async def _survey(self, name: str, listing: IListing, period: float, latest: float | None) -> int:
        """Go on with the walk through one store. One that fails does not keep others from their turn."""
        self._at = name
        looked = 0
        try:
            walk = await self._walks.due(name, period)
            while walk is not None and (latest is None or self._reactor.seconds() < latest):
                seen, walk = await self._look_at_page(walk, listing)
                looked += seen
        except StoreError as error:
            self._log.warn("store {store}: it cannot be gone through now: {error}", store=name, error=str(error))
        except Exception:
            self._log.failure("store {store}: it cannot be gone through; the next run goes on", store=name)
        return looked

    async def _look_at_page(self, walk: Walk, listing: IListing) -> tuple[int, Walk | None]:
        """How many items there were, and the walk as it goes on; None if it does not, or somebody else does it."""
        page = await listing.page(walk.marker, PAGE)
        found = await self._ownership.strays_of(listing, page.items)
        reach("survey.looked")
        new = await self._strays.record(walk, page.items, found, page.marker)
        reach("survey.noted")
        if new is None:
            return 0, None
        for stray in new:
            self._tell(stray)
        self.seen += len(page.items)
        await deferLater(self._reactor, len(page.items) / (self._settings.stray_rate or PAGE))
        return len(page.items), None if page.marker is None else walk.onward(page.marker, len(page.items))

    def _tell(self, stray: Stray) -> None:
        self._log.warn(
            "store {store}: no image has {name} ({size} bytes)",
            store=stray.store,
            name=stray.item.name,
            size=stray.size,
        )

    async def _remove_old(self) -> None:
        if not self._settings.remove_strays_after:
            return
        counts = await self._strays.counts()
        for name in self._stores:
            if name not in counts:
                continue
            if counts[name].count * 2 > await self._walks.last_seen(name):
                self._log.warn(
                    "store {store}: most of it belongs to no image, so nothing is removed by itself", store=name
                )
                continue
            for stray in await self._strays.listed(name, self._settings.remove_strays_after * DAY, REMOVED):
                self.removed += await self._removal.remove(stray)
