"""Looking whether a copy is what it should be."""

from __future__ import annotations

from attrs import frozen
from twisted.web.iweb import IBodyProducer

from glancetx.domain.copy import CORRUPT, MISSING, SOUND, UNREADABLE, Copy
from glancetx.domain.errors import DataNotFound, StoreError
from glancetx.runtime.threads import Threads
from glancetx.stores.registry import Stores
from glancetx.streams import Digest, Discard, IObserver, SizeLimit, Tap, Throttle


@frozen
class Finding:
    """How a copy is, and why."""

    state: str
    detail: str | None = None


class Examiner:
    """Reads copies whole, no faster than *throttle* lets it."""

    def __init__(self, stores: Stores, hashing: Threads, throttle: Throttle) -> None:
        self._stores, self._hashing, self._throttle = stores, hashing, throttle

    async def examine(self, copy: Copy) -> Finding:
        """How the copy is; nothing is written. May be cancelled."""
        try:
            source = await self._stores.for_location(copy.location).get(copy.location.url)
            return await self._read(copy, source)
        except DataNotFound:
            return Finding(MISSING, "the store has nothing there")
        except StoreError as error:
            return Finding(UNREADABLE, str(error))

    async def _read(self, copy: Copy, source: IBodyProducer) -> Finding:
        comparison = Comparison(copy, self._hashing)
        await Tap(source, *comparison.observers, self._throttle).startProducing(Discard())
        return comparison.finding


class Comparison:
    """What passes the *observers* compared with what the copy should be; *finding* tells when they have finished."""

    def __init__(self, copy: Copy, hashing: Threads) -> None:
        self._copy = copy
        self._size = SizeLimit(None)
        self._digest = Digest(copy.algorithm, hashing) if copy.algorithm else None
        self.observers: tuple[IObserver, ...] = (self._size,) if self._digest is None else (self._size, self._digest)

    @property
    def finding(self) -> Finding:
        copy, size = self._copy, self._size.received
        if copy.size is not None and size != copy.size:
            return Finding(CORRUPT, f"{size} bytes instead of {copy.size}")
        if self._digest is not None and self._digest.hexdigest != copy.digest:
            return Finding(CORRUPT, f"the {copy.algorithm} is another one")
        return Finding(SOUND)
