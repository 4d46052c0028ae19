"""``/v2/images/{id}/file``: headers in, headers out; the bytes are moved by `glancetx.transfer`."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any, Final

from glancetx.domain.errors import Invalid, NoData, UnsupportedMediaType
from glancetx.domain.image import Image
from glancetx.runtime.metrics import Metrics
from glancetx.streams import BytesSource
from glancetx.transfer.download import Download, Downloads
from glancetx.transfer.upload import Uploads
from glancetx.web.body import body_of
from glancetx.web.digests import expected_digests, shown_digest
from glancetx.web.query import parse_query
from glancetx.web.ranges import Range, precondition, wanted_ranges
from glancetx.web.respond import Responder
from glancetx.web.routing import Answer, Call, route

DATA_TYPE: Final = "application/octet-stream"
WHOLE: Final = "whole"


class DataRoom:
    """Uploads and downloads."""

    def __init__(
        self, uploads: Uploads, downloads: Downloads, responder: Responder, metrics: Metrics, *, multiple: bool
    ) -> None:
        self._metrics = metrics
        self._uploads = uploads
        self._downloads = downloads
        self._responder = responder
        self._multiple = multiple

    @route("PUT", "/v2/images/<image_id>/file", body=True)
    async def upload(self, call: Call, image_id: str) -> Answer:
        check_data_type(call.header("content-type"))
        image = await self._uploads.upload(
            call.context,
            image_id,
            body_of(call.request),
            store_name=call.header("x-image-meta-store") if self._multiple else None,
            size=announced_size(call.header("x-openstack-image-size")),
            expected=expected_digests(call),
        )
        self._metrics.transferred("upload", store_of(image), image.size or 0, WHOLE)
        return Answer(status=204)

    @route("GET", "/v2/images/<image_id>/file")
    async def download(self, call: Call, image_id: str) -> Answer | None:
        try:
            found = await self._downloads.download(call.context, image_id, preferred(call.query))
        except NoData:
            return Answer(status=204)
        etag, (modified, shown) = entity_tag(found.image), last_modified(found.image.updated_at)
        call.request.setHeader(b"ETag", etag.encode())
        call.request.setHeader(b"Last-Modified", shown)
        call.request.setHeader(b"Accept-Ranges", b"bytes")
        if digest := shown_digest(found.image, call.header_list("want-repr-digest")):
            call.request.setHeader(b"Repr-Digest", digest.encode())
        if (status := precondition(call.header, etag, modified)) is not None:
            return Answer(status=status)
        ranges = wanted_ranges(call.header, found.size, etag, modified, call.limits.max_ranges)
        if found.image.checksum:
            call.request.setHeader(b"Content-MD5", found.image.checksum.encode())
        parts = ranges if ranges is not None else [(0, found.size)]
        try:
            if len(parts) > 1:
                await self._send_parts(call.request, found, parts)
            else:
                await self._send_one(call.request, found, parts[0], partial=ranges is not None)
        finally:
            if call.request.startedWriting:
                expected = sum(length for _, length in parts)
                sent = min(expected, call.request.sentLength)
                found.told(call.context, sent, expected, address_of(call.request))
                how = WHOLE if sent == expected else "broken off"
                store = "cache" if found.cached else store_of(found.image)
                self._metrics.transferred("download", store, sent, how)
        return None

    async def _send_one(self, request: Any, found: Download, part: Range, *, partial: bool) -> None:
        offset, length = part
        source = await found.open(offset, length)
        if partial:
            request.setResponseCode(206)
            request.setHeader(b"Content-Range", content_range(part, found.size).encode())
        request.setHeader(b"Content-Type", DATA_TYPE.encode())
        request.setHeader(b"Content-Length", b"%d" % length)
        await self._responder.send(request, source)

    async def _send_parts(self, request: Any, found: Download, ranges: list[Range]) -> None:
        """``multipart/byteranges`` (RFC 9110, section 14.6); each part's source is opened in its turn."""
        boundary = uuid.uuid4().hex
        heads = [
            f"\r\n--{boundary}\r\nContent-Type: {DATA_TYPE}\r\n"
            f"Content-Range: {content_range(part, found.size)}\r\n\r\n".encode()
            for part in ranges
        ]
        end = f"\r\n--{boundary}--\r\n".encode()
        length = sum(map(len, heads)) + sum(length for _, length in ranges) + len(end)
        first = await found.open(*ranges[0])
        request.setResponseCode(206)
        request.setHeader(b"Content-Type", f"multipart/byteranges; boundary={boundary}".encode())
        request.setHeader(b"Content-Length", b"%d" % length)
        for number, (head, part) in enumerate(zip(heads, ranges, strict=True)):
            request.write(head)
            await self._responder.send(request, await found.open(*part) if number else first)
        await self._responder.send(request, BytesSource(end))


def store_of(image: Image) -> str:
    """The store that most likely serves an image, as metrics call it."""
    return (image.locations[0].store or "default") if image.locations else "none"


def address_of(request: Any) -> str | None:
    """Where the request came from."""
    return getattr(request.getClientAddress(), "host", None)


def check_data_type(content_type: str | None) -> None:
    """:raises UnsupportedMediaType: if it is not application/octet-stream."""
    if (content_type or "").partition(";")[0].strip().lower() != DATA_TYPE:
        raise UnsupportedMediaType(f"Invalid content type {content_type or 'None'}", content_type or "")


def preferred(query: bytes) -> list[str]:
    """The stores that ``?prefer=`` names; of several parameters the last one counts."""
    if not query:
        return []
    named = [value for name, value in parse_query(query) if name == "prefer"]
    return [name.strip() for name in (named or [""])[-1].split(",") if name.strip()]


def announced_size(text: str | None) -> int | None:
    """:raises Invalid: if the header is there and no number of bytes."""
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,18}", text.strip(), re.ASCII):
        raise Invalid("Invalid or missing image size in request headers.")
    return int(text)


def entity_tag(image: Image) -> str:
    """A strong tag: the data of an image never changes, and its hash is known."""
    return f'"{image.os_hash_value or image.checksum or image.id}"'


@lru_cache(1024)
def last_modified(updated_at: datetime) -> tuple[datetime, bytes]:
    """To the second, and as HTTP says it."""
    modified = updated_at.replace(microsecond=0)
    return modified, format_datetime(modified.replace(tzinfo=UTC), usegmt=True).encode()


def content_range(part: Range, size: int) -> str:
    offset, length = part
    return f"bytes {offset}-{offset + length - 1}/{size}"
