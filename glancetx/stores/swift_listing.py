"""What lies in the containers of a Swift store, image or not: objects, and segments that no object consists of.

A marker is a container, a slash and the last name there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from glancetx.config.store_settings import SwiftSettings
from glancetx.domain.cached import is_image_id
from glancetx.domain.errors import Conflict, DataNotFound, Forbidden, StoreUnavailable, StoreWriteDenied
from glancetx.domain.listed import Item, Kept, Page
from glancetx.outgoing.client import Answer
from glancetx.stores.ages import age_of
from glancetx.stores.swift_requests import SwiftApi, SwiftRefusal, listed
from glancetx.stores.uri import object_place, swift_url

_SEGMENT: Final = re.compile(r"([0-9a-fA-F-]{36})-(?:[0-9a-f]{32}-)?\d{5}")
_ENDING: Final = re.compile(r"_[0-9a-f][0-9a-f-]*")
_CONTAINERS: Final = 1000  # names asked for at a time, when the next one is looked for


class SwiftListing:
    """The containers of new images: one, or with a seed all whose names could be theirs."""

    def __init__(self, settings: SwiftSettings, api: SwiftApi) -> None:
        self._settings, self._api = settings, api

    async def page(self, marker: str, limit: int) -> Page:
        """As `IListing.page`. Segments are not told of whose object is there and consists of them."""
        container, _, last = marker.partition("/")
        if not container:
            container = self._settings.container
        query = {"format": "json", "limit": str(limit), "marker": last}
        answer = await self._ask("GET", container, query=query)
        names = [] if answer.status == 404 else listed(answer.content)
        if not names:
            following = await self._next(container)
            return Page(items=(), marker=None if following is None else f"{following}/")
        return Page(items=tuple(await self._items(container, names)), marker=f"{container}/{names[-1]}")

    async def look(self, item: Item) -> Kept | None:
        """As `IListing.look`; a segment that an object consists of is None, too."""
        container, name = _place(item)
        found = await self._ask("HEAD", container, name)
        if found.status == 404:
            return None
        size = int(found.header("Content-Length") or 0)
        if not item.piece:
            return Kept(size=size, age=age_of(found))
        whole = await self._ask("HEAD", container, item.image_id)
        if whole.status != 404 and _consists_of(whole, container, name):
            return None
        static = (whole.header("X-Static-Large-Object") or "").lower() == "true"  # of what, it does not tell
        return Kept(size=size, age=age_of(found), superseded=whole.status != 404 and not static)

    async def is_same(self, item: Item, url: str) -> bool:
        """Whichever account the location names: it may be another name for ours."""
        try:
            here, there = object_place(item.url), object_place(url)
        except DataNotFound:
            return False
        return there.scheme.startswith("swift") and (here.container, here.key) == (there.container, there.key)

    async def remove_piece(self, item: Item) -> None:
        """Delete a segment. :raises DataNotFound, Forbidden, StoreUnavailable: as `IStore.delete`."""
        container, name = _place(item)
        try:
            answer = await self._api.call("DELETE", container, name, accept=(404,))
        except StoreWriteDenied as error:
            raise Forbidden("The store may not delete this object") from error
        if answer.status == 404:
            raise DataNotFound("Swift could not find the segment")

    async def _items(self, container: str, names: Sequence[str]) -> list[Item]:
        found = list[Item]()
        wholes = dict[str, Answer]()
        for name in names:
            segment = _SEGMENT.fullmatch(name)
            image_id = name if segment is None else segment[1]
            if not is_image_id(image_id):
                continue
            if segment is not None:
                if image_id not in wholes:
                    wholes = {image_id: await self._ask("HEAD", container, image_id)}  # they follow each other
                if _consists_of(wholes[image_id], container, name):
                    continue
            url = swift_url(self._settings.reference, container, image_id)
            found.append(Item(name=f"{container}/{name}", image_id=image_id, url=url, piece=segment is not None))
        return found

    async def _next(self, container: str) -> str | None:
        """The container that comes after this one, by name."""
        if not self._settings.seed:
            return None
        prefix, last = f"{self._settings.container}_", container
        while True:
            query = {"format": "json", "prefix": prefix, "marker": last, "limit": str(_CONTAINERS)}
            names = listed((await self._ask("GET", "", query=query)).content)
            for name in names:
                if _ENDING.fullmatch(name.removeprefix(self._settings.container)):
                    return name
            if not names:
                return None
            last = names[-1]

    async def _ask(self, method: str, container: str, key: str = "", query: dict[str, str] | None = None) -> Answer:
        """The answer; 404 is one. To be refused means that the store cannot be used."""
        try:
            return await self._api.call(method, container, key, query=query, accept=(404,))
        except (StoreWriteDenied, SwiftRefusal, Conflict) as error:
            raise StoreUnavailable(str(error)) from error


def _place(item: Item) -> tuple[str, str]:
    container, _, name = item.name.partition("/")
    return container, name


def _consists_of(whole: Answer, container: str, name: str) -> bool:
    """Whether an object is the manifest of the segment *name*."""
    manifest = unquote(whole.header("X-Object-Manifest") or "")
    return manifest.startswith(f"{container}/") and f"{container}/{name}".startswith(manifest)
