"""Image data as files of VMware datastores, through a vCenter or an ESX host (stores.md, section 8)."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from itertools import count
from typing import Final, TypeVar

from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.config.store_settings import MIB, VmwareDatastore, VmwareSettings
from glancetx.domain.errors import Conflict, DataInUse, DataNotFound, StoreUnavailable, StoreWriteDenied
from glancetx.domain.listed import Item, Kept, Page
from glancetx.interfaces import IListing, IStore, Stored
from glancetx.outgoing.client import Answer, HttpClient
from glancetx.outgoing.retries import Retries
from glancetx.runtime.failpoints import reach
from glancetx.runtime.undo import undone_by
from glancetx.stores.reading import read_object
from glancetx.stores.removing import just_seen, removal
from glancetx.stores.uri import DatastorePlace, datastore_place, datastore_url
from glancetx.stores.vmware_files import MISSING, VmwareFiles, choose
from glancetx.stores.vmware_listing import VmwareListing, place_of
from glancetx.stores.vmware_session import VmwareSession
from glancetx.streams import Intake
from glancetx.streams.portions import Portions

T = TypeVar("T")

SMALL: Final = 4 * MIB  # an image that is kept in memory, so that it can be sent again
LOOKS: Final = 2  # more times that a draft is looked for whose stream broke off


@implementer(IStore, IListing)
class VmwareStore:
    """One folder in each of some datastores, ``IMAGE`` for an image.

    Data is written to ``IMAGE.ATTEMPT.part`` and then moved, which replaces nothing. Before that, ``IMAGE.owner`` is
    written, which holds the id of the attempt: so what a crash left is told from the data of others. The server that
    is configured is asked, whichever a location names.
    """

    scheme = "vsphere"
    random_access = True
    read_only = False

    def __init__(self, settings: VmwareSettings, client: HttpClient, retries: Retries, multiple: bool) -> None:
        self.identifier = settings.identifier
        self.url_prefix = f"vsphere://{settings.netloc}/folder/{settings.folder}/"
        self._settings, self._client, self._retries = settings, client, retries
        self._metadata = {"store": settings.identifier} if multiple else {}
        self._session = VmwareSession(settings, client, retries)
        self._files = VmwareFiles(self._session, client)
        self._listing = VmwareListing(settings, self._files)
        self._folders: set[DatastorePlace] = set()
        self._adding: set[str] = set()

    async def start(self) -> None:
        """Nothing is asked: the service may start while its storage is down."""

    async def stop(self) -> None:
        """Log out."""
        await self._session.close()
        await self._client.close()

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        async with Intake(body) as intake:
            if image_id in self._adding:
                raise Conflict("The store is receiving data of this image already")
            self._adding.add(image_id)
            try:
                portions = Portions(intake, body.length)
                datastore = await self._find_room(image_id, portions.left or 0)
                await self._check_folder(datastore)
                upload = _Upload(self._files, self._place(datastore, image_id), attempt, self._retries)
                async with undone_by(upload.remove):
                    size = await upload.send(portions)
            finally:
                self._adding.discard(image_id)
        place = self._place(datastore, image_id)
        return Stored(url=datastore_url(self._settings.netloc, place), size=size, metadata=self._metadata)

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        place = datastore_place(url)

        def ask(headers: Mapping[str, str]) -> Awaitable[Answer]:
            return _reading(self._files.open(place, headers))

        stall = self._client.patience.silence
        return await read_object(ask, await self.size(url), offset, length, MISSING, self._retries, stall)

    async def size(self, url: str) -> int:
        found = await _reading(self._files.size(datastore_place(url)))
        if found is None:
            raise DataNotFound(MISSING)
        return found

    async def delete(self, url: str) -> None:
        place = datastore_place(url)
        found = await _reading(self._files.size(place)) is not None
        with removal():
            if found:
                with suppress(DataNotFound):
                    await self._files.delete(place)
                reach("store.unlinked")
            # An earlier delete may have ended between the two; and what others wrote has no owner.
            with suppress(DataNotFound):
                await self._files.delete(owner_of(place))
        if not found:
            raise DataNotFound(MISSING)

    async def discard(self, image_id: str, attempt: str) -> None:
        for datastore in self._settings.datastores:
            await _Upload(self._files, self._place(datastore, image_id), attempt, self._retries).remove()

    async def page(self, marker: str, limit: int) -> Page:
        return await self._listing.page(marker)

    async def look(self, item: Item) -> Kept | None:
        return await self._listing.look(item)

    async def is_same(self, item: Item, url: str) -> bool:
        return await self._listing.is_same(item, url)

    async def remove(self, item: Item) -> None:
        await (self._files.delete(place_of(item)) if item.piece else self.delete(item.url))

    async def _find_room(self, image_id: str, size: int) -> VmwareDatastore:
        """Where so many bytes go. :raises Conflict: if the image has data in any of the datastores."""
        rooms = await self._files.rooms(self._settings.datastores)
        for each in rooms:
            if await self._files.size(self._place(each.datastore, image_id)) is not None:
                raise Conflict("The datastore holds data of this image already")
        return choose(rooms, size)

    async def _check_folder(self, datastore: VmwareDatastore) -> None:
        folder = DatastorePlace(datastore.datacenter, datastore.name, self._settings.folder)
        if folder not in self._folders:
            await self._files.make_folder(folder)
            self._folders.add(folder)

    def _place(self, datastore: VmwareDatastore, image_id: str) -> DatastorePlace:
        return DatastorePlace(datastore.datacenter, datastore.name, f"{self._settings.folder}/{image_id}")


class _Upload:
    """One attempt to store one image."""

    def __init__(self, files: VmwareFiles, final: DatastorePlace, attempt: str, retries: Retries) -> None:
        self._files, self._final, self._attempt, self._retries = files, final, attempt, retries
        self._part, self._owner = final.beside(f".{attempt}.part"), owner_of(final)
        self._streaming = False  # a stream to the draft was begun, and the server has not said how that ended

    async def send(self, portions: Portions) -> int:
        """Store everything; the number of bytes."""
        reach("store.created")
        if await portions.fits(SMALL):
            await self._files.write(self._part, await portions.block(SMALL))
        else:
            self._streaming = True
            await self._files.stream(self._part, portions.portion(portions.left or sys.maxsize))
            self._streaming = False
        if await self._files.size(self._part) != portions.size:
            raise StoreUnavailable("The datastore has not kept all bytes")
        reach("store.written")
        await self._files.write(self._owner, [self._attempt.encode()])
        reach("store.synced")
        try:
            await self._files.move(self._part, self._final)
        except Conflict:
            if not await self._is_published():  # else an answer got lost, and the file is ours
                raise
        reach("store.published")
        return portions.size

    async def remove(self) -> None:
        """Delete whatever this attempt left, from whichever step, also of an attempt that some dead process made.

        The owner goes before the draft: as long as both are there, the file of the final name is somebody else's.
        """
        owned, drafted = await just_seen(self._retries.clock, self._look)
        if owned and not drafted:
            await self._delete(self._final)
            owned, _ = await just_seen(self._retries.clock, self._look)  # that took a while
        if owned:
            await self._delete(self._owner)
        if not (drafted or self._streaming):
            return
        removed = await self._delete_draft()
        if owned and not removed and await just_seen(self._retries.clock, self._is_unowned):
            await self._delete(self._final)  # it got its final name a moment ago

    async def _look(self) -> tuple[bool, bool]:
        """Whether the owner's file is ours, and whether our draft is there."""
        return await self._is_owner(), await self._is_drafted()

    async def _delete_draft(self) -> bool:
        """Remove the draft; whether it was there. A stream that broke off may become a file only now, or be locked."""
        for tried in count(1):
            try:
                if await self._delete(self._part):
                    return True
                if not self._streaming or tried > LOOKS:
                    break
                await self._retries.pause(tried)
            except DataInUse:
                if not await self._retries.pause(tried):
                    raise
        return False

    async def _delete(self, place: DatastorePlace) -> bool:
        """Remove a file; whether it was there."""
        try:
            await self._files.delete(place)
        except DataNotFound:
            return False
        return True

    async def _is_published(self) -> bool:
        return (
            not await self._is_drafted()
            and await self._is_owner()
            and (await self._files.size(self._final) is not None)
        )

    async def _is_drafted(self) -> bool:
        return await self._files.size(self._part) is not None

    async def _is_unowned(self) -> bool:
        """Whether nobody has written who he is since we removed ours: others do so before they give a file its name."""
        return await self._files.content(self._owner) is None

    async def _is_owner(self) -> bool:
        return await self._files.content(self._owner) == self._attempt.encode()


def owner_of(place: DatastorePlace) -> DatastorePlace:
    """The file that tells which attempt made the one at *place*."""
    return place.beside(".owner")


async def _reading(asking: Awaitable[T]) -> T:
    """For requests that write nothing: a refusal means that the store cannot be used."""
    try:
        return await asking
    except (StoreWriteDenied, Conflict) as error:
        raise StoreUnavailable(str(error)) from error
