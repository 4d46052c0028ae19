"""Image data through the API: upload, download, ranges, and what goes wrong."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.web.iweb import UNKNOWN_LENGTH
from zope.interface import implementer

from glancetx.config.settings import ImagesSettings
from glancetx.interfaces import INotifier
from glancetx.testing.fakes import ScriptedSource
from tests.running import DATA, Api, Started, settings_in

CONTENT = os.urandom(3_000_001)


@pytest_twisted.ensureDeferred
async def test_round_trip(api: Api) -> None:
    """What goes in comes out, with its hashes and sizes told."""
    image_id = await api.create()
    assert (await api.upload(image_id, CONTENT)).status == 204
    image = await api.show(image_id)
    assert image["status"] == "active"
    assert image["size"] == image["virtual_size"] == len(CONTENT)
    assert image["checksum"] == hashlib.md5(CONTENT).hexdigest()
    assert image["os_hash_algo"] == "sha512"
    assert image["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
    reply = await api.request("GET", f"/v2/images/{image_id}/file")
    assert reply.status == 200
    assert reply.body == CONTENT
    assert reply.header("content-type") == DATA
    assert reply.length == len(CONTENT)
    assert reply.header("content-md5") == image["checksum"]
    assert reply.header("accept-ranges") == "bytes"
    assert api.stored() == [image_id]


@pytest_twisted.ensureDeferred
async def test_no_data_yet(api: Api) -> None:
    """A queued image has no data: 204."""
    assert (await api.request("GET", f"/v2/images/{await api.create()}/file")).status == 204


@pytest_twisted.ensureDeferred
async def test_empty(api: Api) -> None:
    """Zero bytes are an image too."""
    image_id = await api.create()
    assert (await api.upload(image_id, b"")).status == 204
    image = await api.show(image_id)
    assert (image["status"], image["size"], image["virtual_size"]) == ("active", 0, None)
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == b""


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=3000000-", 3_000_000, 3_000_000),
        ("bytes=-5", 2_999_996, 3_000_000),
        ("bytes=0-99999999", 0, 3_000_000),
    ],
)
@pytest_twisted.ensureDeferred
async def test_ranges(api: Api, header: str, first: int, last: int) -> None:
    """A part of the data."""
    image_id = await api.create()
    await api.upload(image_id, CONTENT)
    reply = await api.request("GET", f"/v2/images/{image_id}/file", Range=header)
    assert reply.status == 206
    assert reply.header("content-range") == f"bytes {first}-{last}/{len(CONTENT)}"
    assert reply.body == CONTENT[first : last + 1]


@pytest_twisted.ensureDeferred
async def test_several_ranges(api: Api) -> None:
    """Several parts come as multipart/byteranges."""
    image_id = await api.create()
    await api.upload(image_id, CONTENT)
    reply = await api.request("GET", f"/v2/images/{image_id}/file", Range="bytes=0-9,100-109")
    assert reply.status == 206
    assert (reply.header("content-type") or "").startswith("multipart/byteranges; boundary=")
    assert reply.length == len(reply.body)
    assert CONTENT[:10] in reply.body
    assert CONTENT[100:110] in reply.body


@pytest_twisted.ensureDeferred
async def test_unsatisfiable_range(api: Api) -> None:
    """No such bytes: 416 with the size."""
    image_id = await api.create()
    await api.upload(image_id, b"0123456789")
    reply = await api.request("GET", f"/v2/images/{image_id}/file", Range="bytes=10-")
    assert reply.status == 416
    assert reply.header("content-range") == "bytes */10"


@pytest_twisted.ensureDeferred
async def test_conditions(api: Api) -> None:
    """A client that has the data is told so; If-Range guards a resumed download."""
    image_id = await api.create()
    await api.upload(image_id, b"0123456789")
    path = f"/v2/images/{image_id}/file"
    etag = (await api.request("GET", path)).header("etag") or ""
    assert etag.startswith('"')
    assert (await api.request("GET", path, If_None_Match=etag)).status == 304
    assert (await api.request("GET", path, If_Match='"other"')).status == 412
    assert (await api.request("GET", path, Range="bytes=2-", If_Range=etag)).status == 206
    assert (await api.request("GET", path, Range="bytes=2-", If_Range='"other"')).status == 200


@pytest_twisted.ensureDeferred
async def test_head(api: Api) -> None:
    """HEAD tells what GET would, without the data."""
    image_id = await api.create()
    await api.upload(image_id, b"0123456789")
    reply = await api.request("HEAD", f"/v2/images/{image_id}/file")
    assert (reply.status, reply.header("content-length")) == (200, "10")


@pytest_twisted.ensureDeferred
async def test_wrong_content_type(api: Api) -> None:
    """Only application/octet-stream is data."""
    assert (await api.upload(await api.create(), b"x", Content_Type="text/plain")).status == 415


@pytest_twisted.ensureDeferred
async def test_formats_missing(api: Api) -> None:
    """An image without formats cannot have data."""
    image_id = await api.create(disk_format=None)
    assert (await api.upload(image_id, b"x")).status == 400
    assert (await api.show(image_id))["status"] == "queued"


@pytest_twisted.ensureDeferred
async def test_upload_twice(api: Api) -> None:
    """Data is written once."""
    image_id = await api.create()
    assert (await api.upload(image_id, b"first")).status == 204
    assert (await api.upload(image_id, b"second")).status == 409
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == b"first"


@pytest_twisted.ensureDeferred
async def test_format_mismatch_leaves_nothing(api: Api) -> None:
    """Random bytes are no qcow2: 415, nothing is stored, and the right data may follow."""
    image_id = await api.create(disk_format="qcow2")
    assert (await api.upload(image_id, CONTENT)).status == 415
    image = await api.show(image_id)
    assert (image["status"], image["checksum"], image["size"]) == ("queued", None, None)
    assert api.stored() == []
    await api.patch(image_id, {"op": "replace", "path": "/disk_format", "value": "raw"})
    assert (await api.upload(image_id, CONTENT)).status == 204


@pytest.mark.parametrize("announced", ["5", "x", "-1"])
@pytest_twisted.ensureDeferred
async def test_announced_size_is_wrong(api: Api, announced: str) -> None:
    """Not the bytes that were announced: 400, and nothing is left."""
    image_id = await api.create()
    assert (await api.upload(image_id, b"abc", X_Openstack_Image_Size=announced)).status == 400
    assert (await api.show(image_id))["status"] == "queued"
    assert api.stored() == []


@pytest_twisted.ensureDeferred
async def test_too_big(start: Started, tmp_path: Path) -> None:
    """More than image_size_cap: 413 before the first byte if it is announced, else when it is noticed."""
    api = await start(settings_in(tmp_path, images=ImagesSettings(image_size_cap=1000)))
    image_id = await api.create()
    assert (await api.upload(image_id, b"x" * 1001)).status == 413
    assert (await api.upload(image_id, ScriptedSource(b"x" * 1001, length=UNKNOWN_LENGTH))).status == 413
    assert (await api.show(image_id))["status"] == "queued"
    assert api.stored() == []
    assert (await api.upload(image_id, b"x" * 1000)).status == 204


@pytest_twisted.ensureDeferred
async def test_chunked(api: Api) -> None:
    """A body of unknown length."""
    image_id = await api.create()
    parts = [CONTENT[at : at + 100_000] for at in range(0, len(CONTENT), 100_000)]
    assert (await api.upload(image_id, ScriptedSource(*parts, length=UNKNOWN_LENGTH))).status == 204
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == CONTENT


@pytest_twisted.ensureDeferred
async def test_short_copy_is_not_served(api: Api) -> None:
    """A file that lost bytes never looks like a whole image."""
    image_id = await api.create()
    await api.upload(image_id, CONTENT)
    os.truncate(api.folder / "images" / image_id, 1000)
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).status == 503


@implementer(INotifier)
class Heard:
    """Remembers what it is told: type, priority, payload."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, Any]] = []

    def notify(self, event_type: str, priority: str, payload: Mapping[str, Any] | str) -> None:
        self.events.append((event_type, priority, payload))


@pytest_twisted.ensureDeferred
async def test_events(start: Started, tmp_path: Path) -> None:
    """Uploads, failed ones too, and downloads are told to the notifier, with the number of bytes."""
    heard = Heard()
    api = await start(settings_in(tmp_path), notifier=heard)
    image_id = await api.create(disk_format="qcow2")
    assert (await api.upload(image_id, CONTENT)).status == 415
    assert [(name, priority) for name, priority, _ in heard.events] == [
        ("image.create", "info"),
        ("image.update", "info"),
        ("image.prepare", "info"),
        ("image.upload", "error"),
        ("image.update", "info"),
    ]
    assert [heard.events[at][2]["status"] for at in (1, 4)] == ["saving", "queued"]
    heard.events.clear()
    image_id = await api.create()
    await api.upload(image_id, CONTENT)
    await api.request("GET", f"/v2/images/{image_id}/file")
    await api.request("GET", f"/v2/images/{image_id}/file", Range="bytes=5-14")
    names = ["create", "update", "prepare", "upload", "activate", "update", "send", "send"]
    assert [name for name, *_ in heard.events] == [f"image.{name}" for name in names]
    assert [payload["bytes_sent"] for *_, payload in heard.events[-2:]] == [len(CONTENT), 10]
    assert {priority for _, priority, _ in heard.events} == {"info"}
