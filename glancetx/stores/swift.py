"""Image data as objects of OpenStack Swift, large ones in segments under a manifest (stores.md, section 6)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from attrs import frozen
from twisted.logger import Logger
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.config.store_settings import MIB, SwiftSettings
from glancetx.domain.errors import (
    Conflict,
    DataNotFound,
    Forbidden,
    StoreError,
    StoreUnavailable,
    StoreWriteDenied,
)
from glancetx.domain.listed import Item, Kept, Page
from glancetx.interfaces import IListing, IStore, Stored
from glancetx.outgoing.client import Answer, HttpClient
from glancetx.outgoing.retries import Retries
from glancetx.runtime.failpoints import reach
from glancetx.runtime.threads import Threads
from glancetx.runtime.undo import undone_by
from glancetx.stores.reading import read_object
from glancetx.stores.removing import just_seen, removal
from glancetx.stores.swift_listing import SwiftListing
from glancetx.stores.swift_requests import SwiftApi, SwiftRefusal
from glancetx.stores.swift_sessions import SwiftSessions
from glancetx.stores.uri import ObjectPlace, object_place, swift_url
from glancetx.streams import FileSource, Intake
from glancetx.streams.portions import Portions

ATTEMPT: Final = "X-Object-Meta-Glancetx-Attempt"
SMALL: Final = 4 * MIB  # an image that is kept in memory, so that it can be sent again
MOST_SEGMENTS: Final = 99_999  # that five digits can number
REMEMBERED: Final = 1024  # containers known to be there


@frozen
class _Found:
    """What HEAD tells of an object. *manifest* is container and prefix of its segments."""

    size: int
    attempt: str | None
    static: bool
    manifest: tuple[str, str] | None


@implementer(IStore, IListing)
class SwiftStore:
    """One account's containers. Data appears under its name when all of it is there.

    An object carries the id of its attempt; segments have it in their names, ``IMAGE-ATTEMPT-00001``.
    """

    scheme = "swift"
    random_access = True
    read_only = False

    def __init__(
        self,
        settings: SwiftSettings,
        sessions: SwiftSessions,
        client: HttpClient,
        retries: Retries,
        files: Threads,
        multiple: bool,
    ) -> None:
        self.identifier = settings.identifier
        self.url_prefix = f"swift+config://{settings.reference}/{settings.container}{'_' if settings.seed else '/'}"
        self._settings, self._sessions, self._client = settings, sessions, client
        self._retries, self._files = retries, files
        self._metadata = {"store": settings.identifier} if multiple else {}
        self._api = SwiftApi(sessions.default, client, retries)
        self._listing = SwiftListing(settings, self._api)
        self._containers: set[str] = set()
        self._adding: set[str] = set()
        self._token: str | None = None  # of a caller
        self._log = Logger()

    async def start(self) -> None:
        """Nothing is asked: the service may start while its storage is down."""

    async def stop(self) -> None:
        await self._client.close()
        await self._sessions.close()

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        container = self._container(image_id)
        async with Intake(body) as intake:
            if image_id in self._adding:
                raise Conflict("The store is receiving data of this image already")
            self._adding.add(image_id)
            try:
                if await self._head(self._api, container, image_id) is not None:
                    raise Conflict("Swift already has an image at this location")
                url = await self._url(container, image_id)
                await self._check_container(container)
                upload = _Upload(self, self._api, container, image_id, attempt)
                async with undone_by(self._undo, upload):
                    size = await upload.send(Portions(intake, body.length))
            finally:
                self._adding.discard(image_id)
        return Stored(url=url, size=size, metadata=self._metadata)

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        place, api = self._open(url)
        found = await self._find(api, place)

        def ask(headers: Mapping[str, str]) -> Awaitable[Answer]:
            accept = (404, 412, 416)
            return _reading(api.call("GET", place.container, place.key, headers=headers, accept=accept, whole=False))

        missing, stall = "Swift could not find the object", self._client.patience.silence
        return await read_object(ask, found.size, offset, length, missing, self._retries, stall)

    async def size(self, url: str) -> int:
        place, api = self._open(url)
        return (await self._find(api, place)).size

    async def delete(self, url: str) -> None:
        place, api = self._open(url)
        found = await self._head(api, place.container, place.key)
        if found is None:
            # An earlier delete may have ended between the object and its segments.
            await self._remove_segments(api, place.container, f"{place.key}-")
            raise DataNotFound("Swift could not find image at URI.")
        await self._delete(api, place, found)

    async def _delete(self, api: SwiftApi, place: ObjectPlace, found: _Found) -> None:
        try:
            with removal():
                if found.static:
                    await self._delete_static(api, place)
                    return
                await api.call("DELETE", place.container, place.key, accept=(404,))
        except StoreWriteDenied as error:
            raise Forbidden("The store may not delete this object") from error
        reach("store.unlinked")
        if found.manifest is not None:
            await self._remove_segments(api, *found.manifest)
        if place.foreign and place.container.endswith(f"_{place.key}"):
            # In the account of its owner an image had a container of its own (S-080); who may not delete it leaves it.
            with suppress(StoreError, Conflict):
                await api.call("DELETE", place.container, accept=(404, 409))

    async def discard(self, image_id: str, attempt: str) -> None:
        await self._undo(_Upload(self, self._api, self._container(image_id), image_id, attempt))

    async def _undo(self, upload: _Upload) -> None:
        await upload.remove()

    async def _url(self, container: str, image_id: str) -> str:
        """The location of an image to be stored."""
        return swift_url(self._settings.reference, container, image_id)

    async def page(self, marker: str, limit: int) -> Page:
        return await self._listing.page(marker, limit)

    async def look(self, item: Item) -> Kept | None:
        return await self._listing.look(item)

    async def is_same(self, item: Item, url: str) -> bool:
        return await self._listing.is_same(item, url)

    async def remove(self, item: Item) -> None:
        if item.piece:
            await self._listing.remove_piece(item)
            return
        place = object_place(item.url)
        await self._delete(self._api, place, await self._find(self._api, place))

    def _open(self, url: str) -> tuple[ObjectPlace, SwiftApi]:
        place = object_place(url)
        return place, SwiftApi(self._sessions.reading(place, self._token), self._client, self._retries)

    def _container(self, image_id: str) -> str:
        """The container of an image: with a seed, by so many characters of its id beside the dashes (S-074)."""
        settings = self._settings
        if not settings.seed:
            return settings.container
        name = image_id.lower()
        return f"{settings.container}_{name[: settings.seed + name[: settings.seed].count('-')]}"

    async def _check_container(self, container: str) -> None:
        if container in self._containers:
            return
        if (await self._api.call("HEAD", container, accept=(404,))).status == 404:
            if not self._settings.create_container:
                raise StoreUnavailable(
                    f"The container {container} does not exist in Swift. Please set the "
                    "swift_store_create_container_on_put option to add container to Swift automatically."
                )
            await self._api.call("PUT", container)
        if len(self._containers) < REMEMBERED:
            self._containers.add(container)

    async def _head(self, api: SwiftApi, container: str, key: str) -> _Found | None:
        answer = await _reading(api.call("HEAD", container, key, accept=(404,)))
        if answer.status == 404:
            return None
        manifest, separator, prefix = unquote(answer.header("X-Object-Manifest") or "").partition("/")
        return _Found(
            int(answer.header("Content-Length") or 0),
            answer.header(ATTEMPT),
            (answer.header("X-Static-Large-Object") or "").lower() == "true",
            (manifest, prefix) if separator and prefix else None,
        )

    async def _find(self, api: SwiftApi, place: ObjectPlace) -> _Found:
        found = await self._head(api, place.container, place.key)
        if found is None:
            raise DataNotFound("Swift could not find the object")
        return found

    async def _delete_static(self, api: SwiftApi, place: ObjectPlace) -> None:
        query, headers = {"multipart-manifest": "delete"}, {"Accept": "application/json"}
        answer = await api.call("DELETE", place.container, place.key, query, headers)
        if b'"Errors": []' not in answer.content and b'"Errors":[]' not in answer.content:
            self._log.warn("image {image}: Swift could not delete every segment", image=place.key)

    async def _remove_segments(self, api: SwiftApi, container: str, prefix: str) -> None:
        """Delete what a manifest consisted of. The image is gone already, so a failure is only told to the log."""
        try:
            async for name in api.names(container, prefix):
                await api.call("DELETE", container, name, accept=(404,))
        except (StoreError, Conflict) as error:
            self._log.warn(
                "segments {prefix}* stay in {container}: {error}", prefix=prefix, container=container, error=error
            )


class _Upload:
    """One attempt to store one image."""

    def __init__(self, store: SwiftStore, api: SwiftApi, container: str, image_id: str, attempt: str) -> None:
        self._store, self._api, self.container = store, api, container
        self._image_id, self._attempt = image_id, attempt
        self._segments = 0

    async def send(self, portions: Portions) -> int:
        """Store everything; the number of bytes."""
        settings, left = self._store._settings, portions.left
        if await portions.fits(min(SMALL, settings.large_object_size - 1)):
            await self._publish(await portions.block(SMALL))
        elif left is not None and left < settings.large_object_size:
            headers = self._headers()
            await self._api.stream(self.container, self._image_id, headers, portions.portion(left))
        else:
            await self._send_segments(portions, max(settings.segment_size, -(-(left or 0) // MOST_SEGMENTS)))
        reach("store.published")
        return portions.size

    async def remove(self) -> None:
        """Delete whatever this attempt left, the object first: nobody shall read it while its segments go."""
        store = self._store
        look = partial(store._head, self._api, self.container, self._image_id)
        found = await just_seen(store._retries.clock, look)
        if found is not None and found.attempt == self._attempt:
            await self._api.call("DELETE", self.container, self._image_id, accept=(404,))
        # The names that are known come first: a listing may not show yet what was written a moment ago.
        for number in range(1, self._segments + 1):
            await self._api.call("DELETE", self.container, self._segment(number), accept=(404,))
        async for name in self._api.names(self.container, self._prefix):
            await self._api.call("DELETE", self.container, name, accept=(404,))

    async def _send_segments(self, portions: Portions, size: int) -> None:
        spool = self._store._settings.spool
        while await portions.more():
            self._segments += 1
            name, portion = self._segment(self._segments), portions.portion(size)
            if spool is None:
                await self._api.stream(self.container, name, {}, portion)
            else:
                await self._send_spooled(name, portion, spool)
            reach("store.written")
        manifest = f"{quote(self.container)}/{quote(self._prefix)}"
        await self._publish([], {"X-Object-Manifest": manifest})
        await self._check_size(portions.size)

    async def _send_spooled(self, name: str, portion: IBodyProducer, folder: Path) -> None:
        """Write the segment to a file that has no name, and send it from there, more than once if it has to be."""
        files, retries = self._store._files, self._store._retries
        spool = await files.run(_Spool, folder)
        try:
            async with Intake(portion) as intake:
                while chunks := await intake.take():
                    await files.run(spool.write, chunks)
            tried = 0
            while True:
                try:
                    await self._api.stream(self.container, name, {}, spool.source(files))
                    return
                except StoreUnavailable:
                    tried += 1
                    if not await retries.pause(tried):
                        raise
        finally:
            spool.close()

    async def _publish(self, chunks: Sequence[bytes], headers: Mapping[str, str] | None = None) -> None:
        sent = {**self._headers(), **(headers or {})}
        try:
            await self._api.call("PUT", self.container, self._image_id, headers=sent, body=chunks)
        except Conflict:
            found = await self._store._head(self._api, self.container, self._image_id)
            if found is None or found.attempt != self._attempt:  # else an answer got lost, and the object is ours
                raise

    async def _check_size(self, size: int) -> None:
        """A manifest is what the container lists, and Swift may take a moment to list everything."""
        tried = 0
        while True:
            found = await self._store._head(self._api, self.container, self._image_id)
            if found is not None and found.size == size:
                return
            tried += 1
            if not await self._store._retries.pause(tried):
                raise StoreUnavailable("Swift does not list all segments of the image")

    def _headers(self) -> dict[str, str]:
        return {ATTEMPT: self._attempt, "If-None-Match": "*", "Content-Type": "application/octet-stream"}

    @property
    def _prefix(self) -> str:
        return f"{self._image_id}-{self._attempt}-"

    def _segment(self, number: int) -> str:
        return f"{self._prefix}{number:05d}"


class _Spool:
    """A file for one segment, gone with its last descriptor. Everything but `source` and `close` blocks."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by `close`
        self._size = 0

    def write(self, chunks: Sequence[bytes]) -> None:
        data = memoryview(b"".join(chunks))
        self._size += len(data)
        while data:
            data = data[self._file.write(data) :]

    def source(self, files: Threads) -> FileSource:
        """What was written, from the beginning."""
        return FileSource(files, os.dup(self._file.fileno()), 0, self._size)

    def close(self) -> None:
        self._file.close()


async def _reading(asking: Awaitable[Answer]) -> Answer:
    """For requests that write nothing: a refusal means that the store cannot be used."""
    try:
        return await asking
    except (StoreWriteDenied, SwiftRefusal, Conflict) as error:
        raise StoreUnavailable(str(error)) from error
