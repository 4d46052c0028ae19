"""Image data as objects of S3, one bucket for a store (stores.md, section 5)."""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar
from xml.sax.saxutils import escape

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.config.store_settings import MIB, S3Settings
from glancetx.domain.errors import (
    ConfigurationError,
    Conflict,
    DataNotFound,
    Forbidden,
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
from glancetx.stores.s3_listing import S3Listing
from glancetx.stores.s3_requests import S3Api, S3Refusal, document, sha256
from glancetx.stores.uri import object_place, s3_url
from glancetx.streams import Intake
from glancetx.streams.budget import Budget, Share
from glancetx.streams.portions import Portions

T = TypeVar("T")

ATTEMPT: Final = "x-amz-meta-glancetx-attempt"
UNLESS_THERE: Final = {"If-None-Match": "*"}
MOST_PARTS: Final = 10_000  # of one upload, in S3
UNDER_WAY: Final = 64 * MIB  # of parts of all images; one part of each in any case
STEP: Final = 500  # parts after which those of an image of unknown size grow by the size of the first


@frozen
class _Found:
    """What HEAD tells of an object."""

    size: int
    attempt: str | None


@implementer(IStore, IListing)
class S3Store:
    """One bucket. Where a location's bucket is another one, that is read, at the configured endpoint.

    Data appears under its name when all of it is there: S3 does that by itself. An object carries the id of its
    attempt; an upload in parts has a marker beside it, ``IMAGE.ATTEMPT.upload``, which holds its id while it lasts.
    Where the server can, it refuses to put one object in another's place: who writes may have slept since he looked.
    """

    scheme = "s3"
    random_access = True
    read_only = False

    def __init__(
        self, settings: S3Settings, client: HttpClient, retries: Retries, hashing: Threads, multiple: bool
    ) -> None:
        self.identifier = settings.identifier
        self.url_prefix = s3_url(settings.host, settings.bucket, "")
        self._settings, self._client, self._retries, self._hashing = settings, client, retries, hashing
        self._metadata = {"store": settings.identifier} if multiple else {}
        self._api = S3Api(settings, client, retries, hashing)
        self._bucket = settings.bucket
        self._listing = S3Listing(self._api, settings.bucket, self.url_prefix)
        self._bucket_found = False
        self._memory = Budget(UNDER_WAY)
        self._adding: set[str] = set()
        self._conditions: dict[str, bool] = {}  # by method: whether the server takes the condition, once that is known
        self._log = Logger()

    async def start(self) -> None:
        """Nothing is asked: the service may start while its storage is down."""
        if self._settings.part_size < 5 * MIB:
            raise ConfigurationError("s3_store_large_object_chunk_size must be at least 5 MB.")

    async def stop(self) -> None:
        await self._client.close()

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        async with Intake(body) as intake:
            if image_id in self._adding:
                raise Conflict("The store is receiving data of this image already")
            self._adding.add(image_id)
            try:
                await self._check_bucket()
                if await self._head(self._bucket, image_id) is not None:
                    raise Conflict("The store holds data of this image already")
                size = await self._add(image_id, Portions(intake, body.length), attempt)
            finally:
                self._adding.discard(image_id)
        return Stored(url=self.url_prefix + image_id, size=size, metadata=self._metadata)

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        place = object_place(url)
        found = await self._find(place.container, place.key)

        def ask(headers: Mapping[str, str]) -> Awaitable[Answer]:
            return self._reading(
                self._api.call("GET", place.container, place.key, headers=headers, accept=(404, 412), whole=False)
            )

        missing, stall = "There is no object at the location", self._client.patience.silence
        return await read_object(ask, found.size, offset, length, missing, self._retries, stall)

    async def size(self, url: str) -> int:
        place = object_place(url)
        return (await self._find(place.container, place.key)).size

    async def delete(self, url: str) -> None:
        place = object_place(url)
        await self._find(place.container, place.key)
        try:
            with removal():
                await self._remove(place.container, place.key)
        except StoreWriteDenied as error:
            raise Forbidden("The store may not delete this object") from error

    async def discard(self, image_id: str, attempt: str) -> None:
        marker = self._marker(image_id, attempt)
        answer = await self._api.call("GET", self._bucket, marker, accept=(404,))
        upload = answer.content.decode()
        if answer.status != 404:
            await self._abort(image_id, upload)
            await self._remove(self._bucket, marker)
        await self._abort_empty(image_id)
        found = await just_seen(self._retries.clock, lambda: self._head(self._bucket, image_id))
        if found is not None and found.attempt == attempt:
            await self._remove(self._bucket, image_id)

    async def page(self, marker: str, limit: int) -> Page:
        return await self._listing.page(marker, limit)

    async def look(self, item: Item) -> Kept | None:
        return await self._listing.look(item)

    async def is_same(self, item: Item, url: str) -> bool:
        return await self._listing.is_same(item, url)

    async def remove(self, item: Item) -> None:
        await self._listing.remove(item)

    async def _add(self, image_id: str, portions: Portions, attempt: str) -> int:
        left = portions.left
        async with undone_by(self.discard, image_id, attempt):
            streamed = "PUT" in self._conditions  # a refusal of the condition would come when the bytes are gone
            if streamed and left is not None and self._settings.part_size < left < self._settings.large_object_size:
                body = portions.portion(left)

                async def put(condition: dict[str, str]) -> None:
                    await self._api.stream(self._bucket, image_id, _headers(attempt) | condition, body)

                await self._make(put, "PUT", image_id, attempt)
            else:
                await self._add_blocks(image_id, portions, attempt)
            reach("store.written")
        return portions.size

    async def _add_blocks(self, image_id: str, portions: Portions, attempt: str) -> None:
        size = max(self._settings.part_size, -(-(portions.left or 0) // MOST_PARTS))
        first = await portions.block(size)
        if not await portions.more():
            await self._put(image_id, first, attempt)
            return
        upload, begun = await self._begin(image_id, attempt)
        reach("store.created")
        marker = self._marker(image_id, attempt)
        await self._put(marker, [upload.encode()], attempt)
        parts = _Parts(self, image_id, upload, self._memory.share())
        try:
            parts.send(first)
            del first
            tags = await self._send_parts(parts, size, portions)
        except BaseException:
            await parts.cancel()
            raise
        await portions.more()  # the source has ended, and well
        await self._complete(image_id, upload, tags, portions.size, attempt)
        reach("store.published")
        await self._remove(self._bucket, marker)
        if begun > 1:  # the answer to an earlier try got lost, and with it the name of an upload
            await self._abort_empty(image_id)

    async def _put(self, key: str, chunks: Sequence[bytes], attempt: str) -> None:
        async def put(condition: dict[str, str]) -> None:
            await self._api.call("PUT", self._bucket, key, headers=_headers(attempt) | condition, body=chunks)

        await self._make(put, "PUT", key, attempt)

    async def _make(
        self, ask: Callable[[dict[str, str]], Awaitable[None]], method: str, key: str, attempt: str
    ) -> None:
        """Make an object by what *ask* sends, with the headers it is given, unless there is one.

        :raises Conflict: if there is one of another attempt.
        """
        known = self._conditions.get(method)
        if known is False:
            await ask({})
            return
        try:
            await ask(UNLESS_THERE)
        except S3Refusal as refusal:
            fault = refusal.fault
            if fault.status == 412 or fault.code == "PreconditionFailed":
                found = await self._head(self._bucket, key)
                if found is None or found.attempt != attempt:  # else an answer got lost, and the object is ours
                    raise Conflict("The store holds data of this image already") from refusal
            elif known or fault.status not in (400, 501):
                raise
            else:
                await ask({})  # and if that is refused as well, it was not for the condition
                self._log.warn("the S3 endpoint does not take If-None-Match with {method}", method=method)
                self._conditions[method] = False
                return
        self._conditions[method] = True

    async def _send_parts(self, parts: _Parts, size: int, portions: Portions) -> list[str]:
        """Send all that is left in parts of *size*; what the completion has to say about all parts."""
        number = 1
        while True:
            growth = 1 if portions.left is not None else 1 + number // STEP
            await parts.room(size * growth)
            block = await portions.block(size * growth)
            if not block:
                return await parts.finish()
            parts.send(block)
            number += 1
            del block  # it is in memory only as long as it is under way

    async def _begin(self, key: str, attempt: str) -> tuple[str, int]:
        """The name of a new upload, and how many requests it took to get one."""
        headers = _headers(attempt)
        if self._settings.checksums:
            headers["x-amz-checksum-algorithm"] = "SHA256"
        answer = await self._api.call("POST", self._bucket, key, {"uploads": ""}, headers)
        upload = document(answer).findtext("UploadId")
        if not upload:
            raise StoreUnavailable("The S3 endpoint begins an upload without a name")
        return upload, answer.tries

    @property
    def most_parts(self) -> int:
        """How many parts of an image may be under way."""
        return max(1, self._settings.most_parts)

    async def send_part(self, key: str, upload: str, number: int, chunks: Sequence[bytes]) -> str:
        """One part; returns what the completion has to say about it."""
        query = {"partNumber": str(number), "uploadId": upload}
        digest = await self._hashing.run(sha256, chunks)  # also what the signature vouches for
        headers, checksum = {}, ""
        if self._settings.checksums:
            text = b64encode(bytes.fromhex(digest)).decode()
            headers, checksum = {"x-amz-checksum-sha256": text}, f"<ChecksumSHA256>{text}</ChecksumSHA256>"
        answer = await self._api.call("PUT", self._bucket, key, query, headers, chunks, digest=digest)
        tag = answer.header("ETag")
        if not tag:
            raise StoreUnavailable("The S3 endpoint accepts a part without a tag")
        return f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(tag)}</ETag>{checksum}</Part>"

    async def _complete(self, key: str, upload: str, parts: Sequence[str], size: int, attempt: str) -> None:
        body = f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{"".join(parts)}'
        chunks = [f"{body}</CompleteMultipartUpload>".encode()]

        async def complete(condition: dict[str, str]) -> None:
            document(await self._api.call("POST", self._bucket, key, {"uploadId": upload}, condition, chunks))

        try:
            await self._make(complete, "POST", key, attempt)
        except S3Refusal as refusal:
            if refusal.fault.code != "NoSuchUpload":  # else it was completed, and the answer to that got lost
                raise
        found = await self._head(self._bucket, key)
        if found is None or found.size != size or found.attempt not in (attempt, None):
            raise StoreUnavailable("The S3 endpoint has not put the parts together")

    async def _abort(self, key: str, upload: str) -> None:
        await self._api.call("DELETE", self._bucket, key, {"uploadId": upload}, accept=(404,))

    async def _abort_empty(self, image_id: str) -> None:
        """End uploads of this image without a part: one may have died before its marker was written."""
        answer = await self._api.call("GET", self._bucket, "", {"prefix": image_id, "uploads": ""}, accept=(404, 501))
        if answer.status >= 300:
            return
        for upload in document(answer).findall("Upload"):
            name = upload.findtext("UploadId") or ""
            if upload.findtext("Key") == image_id and name and await self._is_empty(image_id, name):
                await self._abort(image_id, name)

    async def _is_empty(self, key: str, upload: str) -> bool:
        answer = await self._api.call("GET", self._bucket, key, {"uploadId": upload}, accept=(404,))
        return answer.status != 404 and document(answer).find("Part") is None

    async def _remove(self, bucket: str, key: str) -> None:
        await self._api.call("DELETE", bucket, key, accept=(404,))

    async def _head(self, bucket: str, key: str) -> _Found | None:
        answer = await self._reading(self._api.call("HEAD", bucket, key, accept=(404,)))
        if answer.status == 404:
            return None
        return _Found(int(answer.header("Content-Length") or answer.length or 0), answer.header(ATTEMPT))

    async def _find(self, bucket: str, key: str) -> _Found:
        found = await self._head(bucket, key)
        if found is None:
            raise DataNotFound("There is no object at the location")
        return found

    async def _check_bucket(self) -> None:
        """Make the bucket if there is none, and if that is wanted (S-063)."""
        if self._bucket_found:
            return
        answer = await self._api.call("HEAD", self._bucket, accept=(301, 403, 404))
        if answer.status == 404:
            if not self._settings.create_bucket:
                raise StoreUnavailable(
                    f"The bucket {self._bucket} does not exist in S3. Please set the s3_store_create_bucket_on_put "
                    "option to add bucket to S3 automatically."
                )
            await self._create_bucket()
        self._bucket_found = True

    async def _create_bucket(self) -> None:
        region = self._api.region
        body: list[bytes] = []
        if region and region != "us-east-1":
            place = f"<LocationConstraint>{escape(region)}</LocationConstraint>"
            body = [f"<CreateBucketConfiguration>{place}</CreateBucketConfiguration>".encode()]
        await self._api.call("PUT", self._bucket, body=body, accept=(409,))

    async def _reading(self, asking: Awaitable[Answer]) -> Answer:
        """For requests that write nothing: a refusal means that the store cannot be used."""
        try:
            return await asking
        except (StoreWriteDenied, S3Refusal) as error:
            raise StoreUnavailable(str(error)) from error

    @staticmethod
    def _marker(image_id: str, attempt: str) -> str:
        return f"{image_id}.{attempt}.upload"


def _headers(attempt: str) -> dict[str, str]:
    return {ATTEMPT: attempt, "Content-Type": "application/octet-stream"}


class _Parts:
    """The parts of one upload: each is in memory until it has arrived, and *memory* tells how many there may be."""

    def __init__(self, store: S3Store, key: str, upload: str, memory: Share) -> None:
        self._store, self._key, self._upload, self._memory = store, key, upload, memory
        self._running: deque[Deferred[str]] = deque()
        self._done: list[str] = []
        self._number = 0

    async def room(self, size: int) -> None:
        """Wait until another part of *size* bytes may be sent. Raises what an earlier one failed with."""
        await self._memory.room(size)
        while self._running and (self._running[0].called or len(self._running) >= self._store.most_parts):
            await self._oldest()

    def send(self, chunks: Sequence[bytes]) -> None:
        """Begin to send the next part."""
        self._number += 1
        size = sum(map(len, chunks))
        self._memory.take(size)
        sending = Deferred.fromCoroutine(self._store.send_part(self._key, self._upload, self._number, chunks))
        self._running.append(sending.addBoth(self._gives, size))

    def _gives(self, result: T, size: int) -> T:
        self._memory.give(size)
        return result

    async def finish(self) -> list[str]:
        """Wait for all parts; what the completion has to say about them, in their order."""
        while self._running:
            await self._oldest()
        return self._done

    async def cancel(self) -> None:
        """End those under way, and wait until they have ended."""
        for part in self._running:
            part.addErrback(lambda _: "")
            part.cancel()
        while self._running:
            await self._running.popleft()

    async def _oldest(self) -> None:
        self._done.append(await self._running.popleft())  # whoever cancels this cancels that part, and waits for it
