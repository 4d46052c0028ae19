"""Quotas hold, however many upload at once, and whether or not they say how much is coming."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from sqlalchemy import insert
from twisted.web.iweb import UNKNOWN_LENGTH
from zope.interface import implementer

from glancetx.config.settings import ImagesSettings
from glancetx.db.schema import image_properties
from glancetx.domain.limits import MIB, Limits
from glancetx.interfaces import ILimits, INotifier
from glancetx.testing.fakes import ScriptedSource
from tests.running import DATA, Daemon, Started, settings_in

PIECE = os.urandom(100_000)
MANY = 50


def quota_in(folder: Path, quota: int, **more: Any) -> Any:
    return settings_in(folder, images=ImagesSettings(user_storage_quota=quota, **more))


@implementer(ILimits)
class FixedLimits:
    """The same *limits* for everybody; may be exchanged at any time."""

    def __init__(self, **limits: int) -> None:
        self.limits = Limits(unified=True, **limits)

    async def limits_of(self, project_id: str | None) -> Limits:
        return self.limits


@implementer(INotifier)
class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, Any]] = []

    def notify(self, event_type: str, priority: str, payload: Any) -> None:
        self.events.append((event_type, priority, payload))


@pytest_twisted.ensureDeferred
async def test_too_large(start: Started, tmp_path: Path) -> None:
    """Announced bytes beyond the quota are refused in Glance's words, and the image is ready for another try."""
    told = Told()
    api = await start(quota_in(tmp_path, 1000), notifier=told)
    image_id = await api.create()
    reply = await api.upload(image_id, bytes(1001))
    assert reply.status == 413
    message = "The size of the data 1001 will exceed the limit. 1000 bytes remaining."
    assert f"Image exceeds the storage quota: {message}" in reply.json["message"]
    failed = f"Failed to upload image data for image {image_id} due to internal error: {message}"
    assert told.events[-1] == ("image.upload", "error", failed)
    assert (await api.show(image_id))["status"] == "queued"
    assert (await api.upload(image_id, bytes(1000))).status == 204
    assert (await api.upload(await api.create(), b"")).status == 204
    assert (await api.upload(await api.create(), b"1")).status == 413


@pytest_twisted.ensureDeferred
async def test_unknown_size(start: Started, tmp_path: Path) -> None:
    """A body of unknown size may use what is left, to the last byte, and not one more."""
    api = await start(quota_in(tmp_path, 3_000_000))
    image_id = await api.create()
    reply = await api.upload(image_id, ScriptedSource(*[PIECE] * 30, b"1", length=UNKNOWN_LENGTH))
    assert reply.status == 413
    assert "Image exceeds the storage quota" in reply.json["message"]
    image = await api.show(image_id)
    assert (image["status"], image["size"]) == ("queued", None)
    assert api.stored() == []
    assert (await api.upload(image_id, ScriptedSource(*[PIECE] * 30, length=UNKNOWN_LENGTH))).status == 204
    full = await api.upload(await api.create(), ScriptedSource(b"1", length=UNKNOWN_LENGTH))
    assert full.status == 413
    assert "size of the data None will exceed the limit. 0 bytes remaining." in full.json["message"]


@pytest_twisted.ensureDeferred
async def test_freed(start: Started, tmp_path: Path) -> None:
    """What is deleted, or failed, makes room again."""
    api = await start(quota_in(tmp_path, 1000))
    image_id = await api.create()
    assert (await api.upload(image_id, bytes(1000))).status == 204
    second = await api.create(disk_format="qcow2")
    assert (await api.upload(second, bytes(500))).status == 413
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 204
    assert (await api.upload(second, bytes(500))).status == 415  # is not qcow2
    assert (await api.upload(await api.create(), bytes(1000))).status == 204


@pytest_twisted.ensureDeferred
async def test_size_cap(start: Started, tmp_path: Path) -> None:
    """No image may be larger than image_size_cap, whether it is announced or not."""
    api = await start(settings_in(tmp_path, images=ImagesSettings(image_size_cap=1000)))
    for body in (bytes(1001), ScriptedSource(bytes(1001), length=UNKNOWN_LENGTH)):
        image_id = await api.create()
        reply = await api.upload(image_id, body)
        assert reply.status == 413
        assert "The incoming image is too large: The provided image is too large." in reply.json["message"]
        assert (await api.show(image_id))["status"] == "queued"
    assert api.stored() == []
    assert (await api.upload(image_id, bytes(1000))).status == 204


@pytest_twisted.ensureDeferred
async def test_unified(start: Started, tmp_path: Path) -> None:
    """Whatever ILimits says is enforced; usage is told in Keystone's units."""
    limits = FixedLimits(size_total=2 * MIB, count_total=3)
    api = await start(settings_in(tmp_path), limits=limits)
    first, second, third = [await api.create() for _ in range(3)]
    refused = await api.request("POST", "/v2/images", json.dumps({"name": "fourth"}).encode())
    assert refused.status == 413
    assert "image_count_total is over limit of 3 due to current usage 3 and delta 1" in refused.json["message"]
    assert (await api.upload(first, bytes(MIB))).status == 204
    refused = await api.upload(second, bytes(MIB + 1))
    assert refused.status == 413
    assert "image_size_total is over limit of 2 due to current usage 1 and delta 2" in refused.json["message"]
    assert (await api.request("GET", "/v2/info/usage")).json == {
        "usage": {
            "image_size_total": {"usage": 1, "limit": 2},
            "image_stage_total": {"usage": 0, "limit": -1},
            "image_count_total": {"usage": 3, "limit": 3},
            "image_count_uploading": {"usage": 0, "limit": -1},
        }
    }
    limits.limits = evolve(limits.limits, count_uploading=0)
    refused = await api.upload(third, b"1")
    assert refused.status == 413
    assert "image_count_uploading is over limit of 0 due to current usage 1 and delta 0" in refused.json["message"]


@pytest_twisted.ensureDeferred
async def test_usage_without_unified_limits(start: Started, tmp_path: Path) -> None:
    """Limits of the options are told nobody; other methods find nothing (A-007)."""
    api = await start(quota_in(tmp_path, 1000))
    assert (await api.request("GET", "/v2/info/usage")).json == {"usage": {}}
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert (await api.request(method, "/v2/info/usage")).status == 404


@pytest.mark.parametrize("announced", [True, False])
def test_many_at_once(daemon: Daemon, announced: bool) -> None:
    """Fifty uploads at once, by two processes: what is stored never exceeds the quota, and nearly fills it."""
    size, fit = 1_500_000, 8
    quota = size * fit + size // 2
    daemon.configure(f"[DEFAULT]\nuser_storage_quota = {quota}\n")
    daemon.start("--workers", "2")
    ids = [create(daemon) for _ in range(MANY)]
    body = os.urandom(size)
    most = 0
    with ThreadPoolExecutor(MANY) as threads:
        running = [threads.submit(put, daemon, image_id, body, announced) for image_id in ids]
        while not all(each.done() for each in running):
            most = max(most, stored_bytes(daemon))
            time.sleep(0.001)
    statuses = [each.result() for each in running]
    active = [image_id for image_id, status in zip(ids, statuses, strict=True) if status == 204]
    assert set(statuses) == {204, 413}
    assert 1 <= len(active) <= fit
    if announced:
        assert len(active) == fit
        assert most <= quota
    assert stored_bytes(daemon) == len(active) * size <= quota
    assert sorted(path.name for path in daemon.images.iterdir()) == sorted(active)
    for image_id, status in zip(ids, statuses, strict=True):
        found = json.loads(daemon.call("GET", f"/v2/images/{image_id}")[1])["status"]
        assert found == ("active" if status == 204 else "queued")
    # Nothing stays reserved: the rest can be used, one after the other, to the last byte.
    left = [image_id for image_id in ids if image_id not in active]
    for image_id in left[: fit - len(active)]:
        assert put(daemon, image_id, body, announced) == 204
    assert put(daemon, left[-1], bytes(quota - fit * size), announced) == 204
    assert put(daemon, left[-2], b"1", announced) == 413


def test_killed(daemon: Daemon) -> None:
    """What a process had reserved when it was killed is free after the restart."""
    daemon.configure("[DEFAULT]\nuser_storage_quota = 1000000\n")
    daemon.start()
    first, second = create(daemon), create(daemon)
    head = f"PUT /v2/images/{first}/file HTTP/1.1\r\nHost: x\r\nContent-Type: {DATA}\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
        connection.sendall(head.encode() + PIECE)
        while status_of(daemon, first) != "saving":
            pass
        assert put(daemon, second, b"1", announced=True) == 413
        daemon.signal(9)
        daemon.wait()
    daemon.start()
    assert put(daemon, second, bytes(1_000_000), announced=True) == 204


def create(daemon: Daemon) -> str:
    status, body = daemon.call("POST", "/v2/images", b'{"disk_format": "raw", "container_format": "bare"}')
    assert status == 201
    return str(json.loads(body)["id"])


def status_of(daemon: Daemon, image_id: str) -> str:
    return str(json.loads(daemon.call("GET", f"/v2/images/{image_id}")[1])["status"])


def put(daemon: Daemon, image_id: str, body: bytes, announced: bool, headers: Mapping[str, str] | None = None) -> int:
    """Upload; without announcing the size the body is sent in chunks. Returns the status."""
    connection = daemon.connection()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), len(PIECE)):
            yield body[start : start + len(PIECE)]

    try:
        sent = {"Content-Type": DATA, **(headers or {})}
        connection.request("PUT", f"/v2/images/{image_id}/file", body if announced else pieces(), sent)
        return int(connection.getresponse().status)
    except (BrokenPipeError, ConnectionResetError):  # refused, and told so, before all was sent
        return int(connection.getresponse().status)
    finally:
        connection.close()


def stored_bytes(daemon: Daemon) -> int:
    """All bytes in the store, those of unfinished uploads as well; a file that has two names counts once."""
    sizes: dict[int, int] = {}
    for path in daemon.images.rglob("*"):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if not path.is_dir():
            sizes[found.st_ino] = found.st_size
    return sum(sizes.values())


@pytest_twisted.ensureDeferred
async def test_properties_of_the_service_itself_do_not_count(start: Started, tmp_path: Path) -> None:
    """What an import has left beside as many properties as are allowed does not keep an image from being changed."""
    api = await start(settings_in(tmp_path, images=ImagesSettings(image_property_quota=1)))
    image_id = await api.create(mine="x")
    left = insert(image_properties).values(
        image_id=image_id,
        name="os_glance_failed_import",
        value="a",
        created_at=datetime(2026, 1, 1),
        deleted=False,
    )
    await api.service._engine.interact(lambda c: c.execute(left) and None)
    assert (await api.patch(image_id, {"op": "replace", "path": "/name", "value": "y"})).status == 200
    assert (await api.patch(image_id, {"op": "add", "path": "/second", "value": "y"})).status == 413
