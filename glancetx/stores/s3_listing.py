"""What lies in the bucket of an S3 store, image or not: objects, markers of uploads, and uploads that have not ended.

A marker is ``o/NAME`` among the objects, then ``u/NAME?UPLOAD`` among the uploads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element

from glancetx.domain.cached import is_image_id
from glancetx.domain.errors import DataNotFound, Forbidden, StoreUnavailable, StoreWriteDenied
from glancetx.domain.listed import Item, Kept, Page
from glancetx.outgoing.client import Answer
from glancetx.stores.ages import age_of, age_since
from glancetx.stores.s3_requests import S3Api, S3Refusal, document
from glancetx.stores.uri import object_place

_MARKER: Final = re.compile(r"([^.]+)\.[0-9a-f]{32}\.upload")
_UPLOAD: Final = "?uploadId="


class S3Listing:
    """One bucket; *prefix* is what its locations begin with."""

    def __init__(self, api: S3Api, bucket: str, prefix: str) -> None:
        self._api, self._bucket, self._prefix = api, bucket, prefix

    async def page(self, marker: str, limit: int) -> Page:
        kind, _, last = marker.partition("/")
        return await (self._uploads(last, limit) if kind == "u" else self._objects(last, limit))

    async def look(self, item: Item) -> Kept | None:
        key, _, upload = item.name.partition(_UPLOAD)
        if upload:
            return await self._look_at_upload(key, upload)
        found = await self._ask("HEAD", key)
        if found.status == 404:
            return None
        size = int(found.header("Content-Length") or found.length or 0)
        return Kept(size=size, age=age_of(found), superseded=item.piece and await self._exists(item.image_id))

    async def is_same(self, item: Item, url: str) -> bool:
        """Whatever host the location names: an endpoint may have several names."""
        try:
            here, there = object_place(item.url), object_place(url)
        except DataNotFound:
            return False
        return there.scheme.startswith("s3") and (here.container, here.key) == (there.container, there.key)

    async def remove(self, item: Item) -> None:
        """An upload is ended, with the parts it has. :raises DataNotFound, Forbidden, StoreUnavailable: as they say."""
        key, _, upload = item.name.partition(_UPLOAD)
        try:
            if upload:
                answer = await self._api.call("DELETE", self._bucket, key, {"uploadId": upload}, accept=(404,))
            else:
                answer = await self._ask("HEAD", key)
                await self._api.call("DELETE", self._bucket, key, accept=(404,))
        except StoreWriteDenied as error:
            raise Forbidden("The store may not delete this object") from error
        if answer.status == 404:
            raise DataNotFound("There is no object at the location")

    async def _objects(self, last: str, limit: int) -> Page:
        query = {"max-keys": str(limit), "encoding-type": "url", **({"marker": last} if last else {})}
        answer = await self._ask("GET", "", query)
        if answer.status == 404:
            return Page(items=(), marker=None)
        root = document(answer)
        keys = [_text(root, each, "Key") for each in root.findall("Contents")]
        items = tuple(item for key in keys if (item := self._item(key)) is not None)
        return Page(items=items, marker=f"o/{keys[-1]}" if keys and _goes_on(root) else "u/")

    async def _uploads(self, last: str, limit: int) -> Page:
        key, _, upload = last.partition(_UPLOAD)
        query = {"uploads": "", "max-uploads": str(limit), "encoding-type": "url"}
        query |= {"key-marker": key, "upload-id-marker": upload} if key else {}
        answer = await self._ask("GET", "", query, accept=(404, 501))
        if answer.status >= 300:
            return Page(items=(), marker=None)
        root = document(answer)
        found = [(_text(root, each, "Key"), each.findtext("UploadId") or "") for each in root.findall("Upload")]
        items = tuple(self._of_upload(key, upload) for key, upload in found if is_image_id(key) and upload)
        return Page(items=items, marker=f"u/{_UPLOAD.join(found[-1])}" if found and _goes_on(root) else None)

    def _item(self, key: str) -> Item | None:
        marker = _MARKER.fullmatch(key)
        image_id = key if marker is None else marker[1]
        if not is_image_id(image_id):
            return None
        return Item(name=key, image_id=image_id, url=self._prefix + image_id, piece=marker is not None)

    def _of_upload(self, key: str, upload: str) -> Item:
        return Item(name=f"{key}{_UPLOAD}{upload}", image_id=key, url=self._prefix + key, piece=True)

    async def _look_at_upload(self, key: str, upload: str) -> Kept | None:
        """As old as its last part, or as its begin if it has none."""
        size, times, last = 0, list[str](), ""
        while True:
            query = {"uploadId": upload, **({"part-number-marker": last} if last else {})}
            answer = await self._ask("GET", key, query)
            if answer.status == 404:
                return None
            root = document(answer)
            parts = root.findall("Part")
            size += sum(int(part.findtext("Size") or 0) for part in parts)
            times += [part.findtext("LastModified") or "" for part in parts]
            following = root.findtext("NextPartNumberMarker") or ""
            if not (parts and _goes_on(root) and following != last):
                break
            last = following
        begun = await self._begun(key, upload)
        if begun is None:
            return None
        return Kept(size=size, age=age_since(answer, [begun, *times]), superseded=await self._exists(key))

    async def _begun(self, key: str, upload: str) -> str | None:
        answer = await self._ask("GET", "", {"uploads": "", "prefix": key})
        if answer.status == 404:
            return None
        for each in document(answer).findall("Upload"):
            if each.findtext("UploadId") == upload:
                return each.findtext("Initiated") or ""
        return None

    async def _exists(self, key: str) -> bool:
        return (await self._ask("HEAD", key)).status != 404

    async def _ask(
        self, method: str, key: str, query: Mapping[str, str] | None = None, accept: tuple[int, ...] = (404,)
    ) -> Answer:
        """The answer; 404 is one. To be refused means that the store cannot be used."""
        try:
            return await self._api.call(method, self._bucket, key, query, accept=accept)
        except (StoreWriteDenied, S3Refusal) as error:
            raise StoreUnavailable(str(error)) from error


def _text(root: Element, found: Element, name: str) -> str:
    """Of names it is told once how they are written: else XML could not tell all of them."""
    text = found.findtext(name) or ""
    return unquote_plus(text) if root.findtext("EncodingType") == "url" else text


def _goes_on(root: Element) -> bool:
    return (root.findtext("IsTruncated") or "").lower() == "true"
