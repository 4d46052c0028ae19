"""What files lie in a store's folders of datastores, image or not.

vSphere lists all files of a folder that match a pattern at once. So a page has those whose names begin with one
hexadecimal digit, as image ids do: a sixteenth of a datastore's. A marker is the number of the datastore and the digit.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from glancetx.config.store_settings import VmwareSettings
from glancetx.domain.cached import is_image_id
from glancetx.domain.errors import Conflict, DataNotFound, StoreUnavailable, StoreWriteDenied
from glancetx.domain.listed import Item, Kept, Page
from glancetx.stores.uri import DatastorePlace, datastore_place, datastore_url
from glancetx.stores.vmware_files import FoundFile, VmwareFiles

DIGITS: Final = "0123456789abcdef"
_PIECE: Final = re.compile(r"([^.]+)\.(?:[0-9a-f]{32}\.part|owner)")


class VmwareListing:
    """The datastores of one store."""

    def __init__(self, settings: VmwareSettings, files: VmwareFiles) -> None:
        self._settings, self._files = settings, files
        stores = settings.datastores
        self._folders = [DatastorePlace(each.datacenter, each.name, settings.folder) for each in stores]

    async def page(self, marker: str) -> Page:
        """As `IListing.page`. The file that tells whose an image is, is not told of if that is there."""
        number, _, digit = marker.partition("/")
        store, place = int(number or 0), DIGITS.index(digit or "0")
        if store >= len(self._folders):
            return Page(items=(), marker=None)
        folder = self._folders[store]
        names = {file.name for file in await self._search(folder, f"{DIGITS[place]}*", f"{DIGITS[place].upper()}*")}
        items = [_item(self._settings.netloc, folder, name) for name in sorted(names) if not _is_beside(name, names)]
        place += 1
        if place == len(DIGITS):
            store, place = store + 1, 0
        following = None if store == len(self._folders) else f"{store}/{DIGITS[place]}"
        return Page(items=tuple(item for item in items if item is not None), marker=following)

    async def look(self, item: Item) -> Kept | None:
        place = place_of(item)
        folder, _, name = place.path.rpartition("/")
        above = DatastorePlace(place.datacenter, place.datastore, folder)
        wanted = [name, *([item.image_id] if item.piece else [])]
        found = {file.name: file for file in await self._search(above, *wanted)}
        if name not in found:
            return None
        age = _seconds(found[name].modified, await self._files.now())
        return Kept(size=found[name].size, age=age, superseded=item.piece and item.image_id in found)

    async def is_same(self, item: Item, url: str) -> bool:
        """Whatever server and datacenter the location names: only one server is asked."""
        try:
            here, there = datastore_place(item.url), datastore_place(url)
        except DataNotFound:
            return False
        return (here.datastore, here.path) == (there.datastore, there.path)

    async def _search(self, folder: DatastorePlace, *patterns: str) -> list[FoundFile]:
        """To be refused means that the store cannot be used."""
        try:
            return await self._files.search(folder, patterns)
        except (StoreWriteDenied, Conflict) as error:
            raise StoreUnavailable(str(error)) from error


def place_of(item: Item) -> DatastorePlace:
    """Where an item is."""
    whole = datastore_place(item.url)
    folder = whole.path.rpartition("/")[0]
    return DatastorePlace(whole.datacenter, whole.datastore, f"{folder}/{item.name.rpartition('/')[2]}")


def _item(netloc: str, folder: DatastorePlace, name: str) -> Item | None:
    piece = _PIECE.fullmatch(name)
    image_id = name if piece is None else piece[1]
    if not is_image_id(image_id):
        return None
    whole = DatastorePlace(folder.datacenter, folder.datastore, f"{folder.path}/{image_id}")
    shown = f"{folder.datacenter}/{folder.name}/{name}"
    return Item(name=shown, image_id=image_id, url=datastore_url(netloc, whole), piece=piece is not None)


def _is_beside(name: str, names: set[str]) -> bool:
    return name.endswith(".owner") and name.removesuffix(".owner") in names


def _seconds(since: str, now: str) -> float:
    """Between two times as vSphere writes them; none if one cannot be read."""
    try:
        return (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
