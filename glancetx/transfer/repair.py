"""Remaking a damaged copy from a sound one, or from the file that the image cache of this node has."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from twisted.logger import Logger
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.db.copies import Copies
from glancetx.domain.cached import content_of_copy
from glancetx.domain.claim import REPAIR, Claim
from glancetx.domain.copy import SOUND, Copy
from glancetx.domain.errors import DataNotFound, StoreUnavailable
from glancetx.interfaces import IStore, Stored
from glancetx.runtime.failpoints import reach
from glancetx.runtime.permission import guarded
from glancetx.runtime.threads import Threads
from glancetx.stores.registry import Stores
from glancetx.streams import Discard, IObserver, Tap, Throttle
from glancetx.transfer.examine import Comparison, Examiner
from glancetx.transfer.readers import Readers
from glancetx.transfer.recovery import Recovery

if TYPE_CHECKING:  # loaded where there is a cache
    from glancetx.cache.cache import ImageCache

Open = Callable[[], Awaitable[IBodyProducer]]


class Repairs:
    """Remakes copies, from others or from what *cache* has.

    What is written is compared on the way: wrong bytes are never published."""

    def __init__(
        self,
        copies: Copies,
        stores: Stores,
        recovery: Recovery,
        hashing: Threads,
        throttle: Throttle,
        readers: Readers,
        process: str,
        cache: ImageCache | None = None,
    ) -> None:
        self._readers = readers
        self._copies, self._stores, self._recovery = copies, stores, recovery
        self._hashing, self._throttle, self._process = hashing, throttle, process
        self._cache = cache
        self._examiner = Examiner(stores, hashing, throttle)
        self._log = Logger()

    async def repair(self, copy: Copy) -> bool:
        """Remake a damaged copy; False if there is nothing sound, or somebody works on the image just now.

        The damaged data is removed only after a sound copy was read whole. Killed or cancelled anywhere, the copy
        is at worst still damaged, and is remade the next time.

        :raises StoreError: if the store does not take it.
        """
        sister = await self._find_sound(copy)
        if sister is None:
            return await self.repair_from_cache(copy)
        location = sister.location
        return await self._remake(copy, lambda: self._stores.for_location(location).get(location.url))

    async def repair_from_cache(self, copy: Copy) -> bool:
        """As `repair`, from the whole file in the image cache of this node; False if there is none that is right."""
        source = await self._find_cached(copy)
        if source is None:
            return False

        async def opened() -> IBodyProducer:
            return source

        try:
            return await self._remake(copy, opened)
        finally:
            source.stopProducing()

    async def _remake(self, copy: Copy, open_data: Open) -> bool:
        store = self._stores.acting_for(copy.owner).for_location(copy.location)
        claim = Claim(
            id=uuid.uuid4().hex,
            kind=REPAIR,
            image_id=copy.image_id,
            store=store.identifier,
            process=self._process,
            owner=copy.owner,
        )
        async with self._recovery.undoing(claim) as certain:
            if not await self._copies.begin_repair(copy, claim):
                return False
            reach("repair.begun")
            stored = await guarded(self._replace(copy, open_data, store, claim), certain)
            if await self._copies.end_repair(copy, claim, stored.url):
                await self._readers.try_to_tell_of(copy.image_id)
                return True
            await self._recovery.give_up(claim)  # the image was deleted meanwhile
        return False

    async def _replace(self, copy: Copy, open_data: Open, store: IStore, claim: Claim) -> Stored:
        with suppress(DataNotFound):
            await store.delete(copy.location.url)
        reach("repair.removed")
        stored = await self._write(copy, await open_data(), store, claim)
        reach("repair.stored")
        return stored

    async def _find_sound(self, copy: Copy) -> Copy | None:
        """Another copy that was just read whole and is sound; what is found of others is noted."""
        for other in await self._copies.others(copy):
            finding = await self._examiner.examine(other)
            await self._copies.record(other, finding.state, finding.detail)
            if finding.state == SOUND:
                return other
            self._log.error(
                "image {image}: its copy at location {location} cannot mend another: {detail}",
                image=other.image_id,
                location=other.location.id,
                detail=finding.detail,
            )
        return None

    async def _find_cached(self, copy: Copy) -> IBodyProducer | None:
        """A source of the cached file, which was just read whole; as long as it is open the file does not go away."""
        content = content_of_copy(copy)
        if self._cache is None or content is None:
            return None
        source = await self._cache.whole(content)
        if source is None:
            return None
        sound = False
        try:
            if (first := await self._cache.whole(content)) is not None:
                sound = await self._is_sound(copy, first)
                if not sound:
                    await self._cache.condemn(content)
        finally:
            if not sound:
                source.stopProducing()
        return source if sound else None

    async def _is_sound(self, copy: Copy, source: IBodyProducer) -> bool:
        comparison = Comparison(copy, self._hashing)
        await Tap(source, *comparison.observers, self._throttle).startProducing(Discard())
        return comparison.finding.state == SOUND

    async def _write(self, copy: Copy, source: IBodyProducer, store: IStore, claim: Claim) -> Stored:
        comparison = Comparison(copy, self._hashing)
        checked = Tap(Tap(source, *comparison.observers, self._throttle), _Proof(comparison))
        stored: Stored = await store.add(copy.image_id, checked, claim.id)
        return stored


@implementer(IObserver)
class _Proof:
    """Fails a stream at its end unless it was what it should be; so the store throws it away."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def observe(self, chunk: bytes) -> None:
        """Nothing: the comparison has seen it."""

    async def finish(self) -> None:
        finding = self._comparison.finding
        if finding.state != SOUND:
            raise StoreUnavailable(f"The copy changed while it was read: {finding.detail}")
