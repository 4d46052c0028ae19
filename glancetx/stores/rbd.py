"""Image data as RBD images of a Ceph cluster, one pool for a store (stores.md, section 4)."""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorFromThreads
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.config.store_settings import RbdSettings
from glancetx.domain.errors import ConfigurationError, Forbidden, StoreError, StoreUnavailable, StoreWriteDenied
from glancetx.domain.listed import Item, Kept, Page
from glancetx.interfaces import IListing, IStore, Stored
from glancetx.runtime.threads import Threads
from glancetx.runtime.undo import undone_by
from glancetx.stores import rbd_listing
from glancetx.stores.rbd_cluster import Cluster, Connection
from glancetx.stores.rbd_draft import PIECE, SNAPSHOT, UNDER_WAY, RbdDraft, Writes, delete, discard, order
from glancetx.stores.rbd_source import ALL_UNDER_WAY, OpenImage, RbdSource
from glancetx.stores.removing import removal
from glancetx.stores.uri import RbdPlace, rbd_place, rbd_prefix, rbd_url
from glancetx.stores.zeros import is_zero
from glancetx.streams import Intake
from glancetx.streams.budget import Budget
from glancetx.streams.portions import Portions

THREADS: Final = 8  # that open, create, publish and close images
REMOVALS: Final = 2  # threads that remove images, which takes long for large ones
SMALLEST_ORDER: Final = 12  # of Ceph's objects, and the greatest
GREATEST_ORDER: Final = 25


@implementer(IStore, IListing)
class RbdStore:
    """One pool; where a location's pool is another one, that is read. All images are in the configured cluster."""

    scheme = "rbd"
    random_access = True
    read_only = False

    def __init__(self, settings: RbdSettings, reactor: IReactorFromThreads, multiple: bool) -> None:
        self.identifier = settings.identifier
        self._settings = settings
        self._metadata = {"store": settings.identifier} if multiple else {}
        self._threads = Threads(reactor, settings.identifier, THREADS)
        self._removals = Threads(reactor, f"{settings.identifier}-removals", REMOVALS)
        self._cluster = Cluster(settings, reactor, self._threads)
        self._writes, self._reads = Budget(UNDER_WAY), Budget(ALL_UNDER_WAY)
        self._piece = min(1 << order(settings), PIECE)  # no piece is in two objects

    @property
    def fsid(self) -> str | None:
        """Which cluster it is, if that is known: Ceph's configuration tells, or the first connection."""
        return self._cluster.fsid or None

    @property
    def url_prefix(self) -> str:
        return rbd_prefix(self._cluster.fsid, self._settings.pool)

    async def start(self) -> None:
        """Nothing is connected to: the service may start while its storage is down."""
        if not SMALLEST_ORDER <= order(self._settings) <= GREATEST_ORDER:
            raise ConfigurationError(f"Store {self.identifier}: rbd_store_chunk_size must be at most 32")
        self._threads.start()
        self._removals.start()
        try:
            await self._cluster.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        await self._cluster.stop()
        await self._removals.stop()
        await self._threads.stop()

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        async with Intake(body) as intake:
            if not image_id or not {"/", "@", "\0"}.isdisjoint(image_id):
                raise StoreError("The name cannot be that of an RBD image")
            connection = await self._cluster.acquire()
            draft = RbdDraft(self._settings, connection, image_id, attempt)
            writes = Writes(self._cluster, draft, self._writes.share())
            async with undone_by(self._give_up, draft, writes, image_id, attempt):
                portions = Portions(intake, body.length)
                await self._cluster.run_on(connection, draft.create, portions.left or 0)
                await self._write(draft, writes, portions)
                await self._cluster.run_on(connection, draft.publish, portions.size)
            self._cluster.release(connection)
        url = rbd_url(connection.fsid, self._settings.pool, image_id, SNAPSHOT)
        return Stored(url=url, size=portions.size, metadata=self._metadata)

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        opening = self._opening(rbd_place(url), await self._cluster.acquire())
        async with undone_by(self._cluster.close, opening.connection, opening.close):
            size = await self._reading(opening)
        available = max(0, size - offset)
        wanted = available if length is None else min(length, available)
        return RbdSource(self._cluster, opening, offset, wanted, self._reads.share())

    async def size(self, url: str) -> int:
        opening = self._opening(rbd_place(url), await self._cluster.acquire())
        try:
            return await self._reading(opening)
        finally:
            await self._cluster.close(opening.connection, opening.close)

    async def delete(self, url: str) -> None:
        place = rbd_place(url)
        pool = place.pool or self._settings.pool
        self._cluster.release(await self._cluster.acquire())  # or nothing was asked for
        try:
            with removal():
                await self._cluster.run_in(self._removals, delete, pool, place.image, place.snapshot)
        except StoreWriteDenied as error:
            raise Forbidden("The store may not delete this RBD image") from error

    async def discard(self, image_id: str, attempt: str) -> None:
        await self._cluster.run_in(self._removals, discard, self._settings.pool, image_id, attempt)

    async def page(self, marker: str, limit: int) -> Page:
        return await self._cluster.run(rbd_listing.page, self._settings.pool, marker, limit)

    async def look(self, item: Item) -> Kept | None:
        return await self._cluster.run(rbd_listing.look, self._settings.pool, item)

    async def is_same(self, item: Item, url: str) -> bool:
        return rbd_listing.is_same(self._settings.pool, item, url)

    async def remove(self, item: Item) -> None:
        try:
            await self._cluster.run_in(self._removals, delete, self._settings.pool, item.name, SNAPSHOT)
        except StoreWriteDenied as error:
            raise Forbidden("The store may not delete this RBD image") from error

    async def _write(self, draft: RbdDraft, writes: Writes, portions: Portions) -> None:
        """Write all that comes."""
        offset = 0
        while True:
            await writes.room()
            if not (block := await portions.block(self._piece)):
                break
            data = b"".join(block)
            end = offset + len(data)
            if not draft.fits(end):
                await self._cluster.run_on(draft.connection, draft.grow, end)
            if not (self._settings.thin and is_zero(data)):
                writes.add(offset, data)
            offset = end
            del block, data
        await writes.finish()

    async def _give_up(self, draft: RbdDraft, writes: Writes, image_id: str, attempt: str) -> None:
        await writes.settle()
        await self._cluster.close(draft.connection, draft.close)
        await self.discard(image_id, attempt)

    def _opening(self, place: RbdPlace, connection: Connection) -> OpenImage:
        return OpenImage(connection, place.pool or self._settings.pool, place)

    async def _reading(self, opening: OpenImage) -> int:
        """The size. To be refused there means that the store cannot be used."""
        try:
            return await self._cluster.run_on(opening.connection, opening.open)
        except StoreWriteDenied as error:
            raise StoreUnavailable("The Ceph cluster does not let us read") from error
