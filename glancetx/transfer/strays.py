"""Data that no image has: whether that is so, and removing it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from twisted.logger import Logger

from glancetx.db.claims import Claims
from glancetx.db.strays import Strays
from glancetx.domain.claim import STRAY, Claim
from glancetx.domain.errors import DataNotFound, Forbidden, StoreError, UnknownStore
from glancetx.domain.listed import Item, Kept, Stray
from glancetx.interfaces import IListing
from glancetx.runtime.failpoints import reach
from glancetx.runtime.permission import guarded
from glancetx.stores.registry import Stores


class Ownership:
    """Tells strays from what is somebody's, or may be. When in doubt it is."""

    def __init__(self, strays: Strays, grace: float) -> None:
        self._strays, self._grace = strays, grace

    async def strays_of(self, listing: IListing, items: Sequence[Item]) -> dict[Item, Kept]:
        """Those of *items* that no image has, and nobody is about to have.

        :raises StoreUnavailable: if the store does not answer.
        """
        known = await self._strays.belongings(items)
        found = dict[Item, Kept]()
        for item in items:
            belonging = known[item.image_id]
            if not belonging.busy and (kept := await self._stray(listing, item, belonging.urls)) is not None:
                found[item] = kept
        return await self._without_mentioned(listing, found)

    async def is_stray(self, listing: IListing, stray: Stray) -> bool:
        """Whether it still is one, and is as it was when it was found; the claim to it is not asked for."""
        item = stray.item
        known = await self._strays.belongings([item])
        kept = await self._stray(listing, item, known[item.image_id].urls)
        if kept is None or kept.size != stray.size:
            return False
        return bool(await self._without_mentioned(listing, {item: kept}))

    async def _stray(self, listing: IListing, item: Item, urls: Sequence[str]) -> Kept | None:
        """How the item is, if it is old enough, and none of these locations is its own."""
        if not item.piece and item.url in urls:  # as nearly all are
            return None
        owned = await _is_any(listing, item, urls)
        if owned and not item.piece:
            return None
        kept = await listing.look(item)
        if kept is None or kept.age < self._grace or (owned and not kept.superseded):
            return None
        return kept

    async def _without_mentioned(self, listing: IListing, found: Mapping[Item, Kept]) -> dict[Item, Kept]:
        """All but those that images of other ids have: a location may name any data."""
        if not found:
            return {}
        urls = await self._strays.mentions({item.image_id for item in found})
        left = dict[Item, Kept]()
        for item, kept in found.items():
            own = [url for url in urls if item.image_id.lower() in url.lower()]
            if kept.superseded or not await _is_any(listing, item, own):
                left[item] = kept
        return left


async def _is_any(listing: IListing, item: Item, urls: Iterable[str]) -> bool:
    for url in urls:
        if await listing.is_same(item, url):
            return True
    return False


class StrayRemoval:
    """Removes strays, one at each call."""

    def __init__(self, strays: Strays, claims: Claims, ownership: Ownership, stores: Stores, process: str) -> None:
        self._strays, self._claims, self._ownership = strays, claims, ownership
        self._stores, self._process = stores, process
        self._log = Logger()

    async def remove(self, stray: Stray) -> bool:
        """Remove it, if nobody has it now; False if it stays, which the log explains.

        First a claim is noted, so that nobody restores the image, repairs it or adds that data meanwhile; then all is
        looked at again. Killed or cancelled anywhere, it is at worst still there, and still noted.
        """
        listing = self._listing(stray.store)
        if listing is None:
            return False
        claim = Claim(
            id=uuid.uuid4().hex, kind=STRAY, image_id=stray.item.image_id, store=stray.store, process=self._process
        )
        with self._claims.working_on(claim) as certain:
            if not await self._strays.begin(claim, stray):
                self._stays(stray, "somebody works on its image")
                return False
            reach("stray.claimed")
            gone = False
            try:
                gone = await guarded(self._remove(listing, stray, claim), certain)
            finally:
                await self._strays.end(claim, stray, gone=gone)
        return gone

    async def _remove(self, listing: IListing, stray: Stray, claim: Claim) -> bool:
        try:
            # Who adds a location has a claim before he looks whether there is one like ours: if he has none now, he
            # has written it, or is going to see ours. And nobody must have begun to fill the image in the end.
            alone = await self._strays.is_alone(claim)
            if alone and not await self._ownership.is_stray(listing, stray):
                return await self._is_gone(listing, stray)
            if not alone or not await self._strays.is_alone(claim):
                self._stays(stray, "somebody works on its image, or adds a location")
                return False
            await listing.remove(stray.item)
        except DataNotFound:
            return True
        except (StoreError, Forbidden) as error:
            self._stays(stray, repr(error))
            return False
        reach("stray.removed")
        self._log.info(
            "store {store}: removed {name}, {size} bytes that no image had",
            store=stray.store,
            name=stray.item.name,
            size=stray.size,
        )
        return True

    async def _is_gone(self, listing: IListing, stray: Stray) -> bool:
        if await listing.look(stray.item) is None:
            return True
        self._stays(stray, "an image has it now, or it was written to")
        return False

    def _listing(self, store: str) -> IListing | None:
        try:
            found = self._stores.get(store)
        except UnknownStore:
            return None
        return cast(IListing, found) if IListing.providedBy(found) else None

    def _stays(self, stray: Stray, why: str) -> None:
        self._log.warn("store {store}: {name} stays: {why}", store=stray.store, name=stray.item.name, why=why)
