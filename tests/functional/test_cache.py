"""Downloads through the image cache (P-070..P-072)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.cache.files import VERIFIED
from glancetx.config.settings import AccessSettings, CacheSettings, Settings
from glancetx.db.copies import Copies
from glancetx.domain.copy import CORRUPT
from glancetx.domain.errors import StoreUnavailable
from glancetx.interfaces import INotifier
from glancetx.testing.fakes import MemoryStore, ScriptedSource, until
from tests.running import Api, Reply, Started, settings_in

CONTENT = os.urandom(700_000)
DRIVERS = ("centralized_db", "sqlite", "xattr")


class WatchedStore(MemoryStore):
    """Counts how often data is opened. *held*: sources deliver nothing until the test lets them."""

    def __init__(self, held: bool = False) -> None:
        super().__init__()
        self.held = held
        self.opened: list[int] = []  # at which offsets
        self.sources: list[ScriptedSource] = []

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        self.opened.append(offset)
        if not self.held:
            return await super().get(url, offset, length)
        data = self._find(url).data[offset:]
        source = ScriptedSource(held=True)
        source.length = len(data)
        self.sources.append(source)
        return source


def clock() -> IReactorTime:
    from twisted.internet import reactor

    return cast(IReactorTime, reactor)


async def soon(condition: Callable[[], bool]) -> None:
    await until(clock(), condition, patience=60)


def cached_in(folder: Path, **changes: Any) -> Settings:
    cache = CacheSettings(directory=folder / "cache", node="http://here", interval=0)
    return settings_in(folder, cache=evolve(cache, **changes))


async def image_with(api: Api, data: bytes = CONTENT) -> str:
    image_id = await api.create()
    assert (await api.upload(image_id, data)).status == 204
    return image_id


async def two_on_one_cache(start: Started, folder: Path) -> tuple[Api, Api, WatchedStore, WatchedStore, str]:
    """Two services, the stores of each, which hold the same image, and that; the first store waits for the test."""
    first, second = WatchedStore(held=True), WatchedStore()
    one = await start(cached_in(folder), stores={"memory": first})
    image_id = await image_with(one)
    second._kept = first._kept
    other = await start(cached_in(folder), stores={"memory": second})
    return one, other, first, second, image_id


def read(api: Api, image_id: str, **headers: str) -> Deferred[Reply]:
    return ensureDeferred(api.request("GET", f"/v2/images/{image_id}/file", **headers))


def files(folder: Path) -> dict[str, list[str]]:
    """What lies where in the cache."""
    cache = folder / "cache"
    places = {"": cache, **{name: cache / name for name in ("incomplete", "invalid", "queue")}}
    return {
        name: sorted(path.name for path in place.iterdir() if path.is_file() and path.suffix != ".db")
        for name, place in places.items()
    }


def whole(folder: Path, image_id: str) -> Path:
    return folder / "cache" / image_id


async def entries(api: Api) -> dict[str, Any]:
    assert api.service.cache is not None
    return {entry.image_id: entry for entry in await api.service.cache.index.entries()}


async def indexed(api: Api, image_id: str, hits: int = 0) -> None:
    """Wait until the index says so."""
    latest = clock().seconds() + 60
    while (entry := (await entries(api)).get(image_id)) is None or entry.hits < hits:
        assert clock().seconds() < latest, entry


@pytest.mark.parametrize("driver", DRIVERS)
@pytest_twisted.ensureDeferred
async def test_second_reader_is_served_from_disk(start: Started, tmp_path: Path, driver: str) -> None:
    """The first download fills the cache; the second does not touch the store, and is counted."""
    store = WatchedStore()
    api = await start(cached_in(tmp_path, driver=driver), stores={"memory": store})
    image_id = await image_with(api)
    first = await read(api, image_id)
    assert (first.status, first.body, first.length) == (200, CONTENT, len(CONTENT))
    await indexed(api, image_id)
    assert files(tmp_path) == {"": [image_id], "incomplete": [], "invalid": [], "queue": []}
    assert whole(tmp_path, image_id).read_bytes() == CONTENT
    second = await read(api, image_id)
    assert (second.status, second.body) == (200, CONTENT)
    assert second.header("content-md5") == first.header("content-md5")
    assert store.opened == [0]
    await indexed(api, image_id, hits=1)
    entry = (await entries(api))[image_id]
    assert (entry.size, entry.hits) == (len(CONTENT), 1)
    assert entry.last_accessed >= entry.last_modified - 1 > 1_600_000_000


@pytest_twisted.ensureDeferred
async def test_ranges(start: Started, tmp_path: Path) -> None:
    """A part of a cold image comes from the store and fills nothing; of a cached one it comes from the file."""
    store = WatchedStore()
    api = await start(cached_in(tmp_path), stores={"memory": store})
    image_id = await image_with(api)
    assert (await read(api, image_id, Range="bytes=5-9")).body == CONTENT[5:10]
    assert store.opened == [5]
    assert files(tmp_path)[""] == files(tmp_path)["incomplete"] == []
    await read(api, image_id)
    await soon(whole(tmp_path, image_id).exists)
    part = await read(api, image_id, Range="bytes=-7")
    assert (part.status, part.body) == (206, CONTENT[-7:])
    several = await read(api, image_id, Range="bytes=0-0,9-9")
    assert several.status == 206
    assert store.opened == [5, 0]


@pytest_twisted.ensureDeferred
async def test_many_readers_of_a_cold_image(start: Started, tmp_path: Path) -> None:
    """Sixteen who ask at the same time share one read of the store, and see bytes while they come."""
    store = WatchedStore(held=True)
    api = await start(cached_in(tmp_path), stores={"memory": store})
    image_id = await image_with(api)
    reading = [read(api, image_id) for _ in range(16)]
    await soon(lambda: len(store.sources) == 1)
    source = store.sources[0]
    for at in range(0, len(CONTENT), 100_000):
        source.send(CONTENT[at : at + 100_000])
    source.end()
    replies = await gatherResults(reading)
    assert {(reply.status, reply.body) for reply in replies} == {(200, CONTENT)}
    assert store.opened == [0]
    await soon(whole(tmp_path, image_id).exists)


async def partial(api: Api, image_id: str, size: int) -> socket.socket:
    """A connection on which a download began, and *size* bytes of it were read."""
    from twisted.internet.threads import deferToThread

    def connect() -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", api.port), timeout=60)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(f"GET /v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        got = b""
        while b"\r\n\r\n" not in got:
            got += connection.recv(1)
        left = size
        while left:
            left -= len(connection.recv(left))
        return connection

    return await deferToThread(connect)


@pytest_twisted.ensureDeferred
async def test_slow_first_reader(start: Started, tmp_path: Path) -> None:
    """A first reader who does not go on reading holds up neither the fill nor the second one."""
    data = os.urandom(32 * 1024 * 1024)
    store = WatchedStore()
    api = await start(cached_in(tmp_path), stores={"memory": store})
    image_id = await image_with(api, data)
    with await partial(api, image_id, 10):
        await soon(whole(tmp_path, image_id).exists)
        assert (await read(api, image_id)).body == data
    assert store.opened == [0]


@pytest_twisted.ensureDeferred
async def test_deserted_fill(start: Started, tmp_path: Path) -> None:
    """When the last reader leaves in the middle, nothing is left, and the next one begins anew."""
    store = WatchedStore(held=True)
    api = await start(cached_in(tmp_path), stores={"memory": store})
    image_id = await image_with(api)
    connecting = ensureDeferred(partial(api, image_id, 10))
    await soon(lambda: len(store.sources) == 1)
    store.sources[0].send(CONTENT[:1000])
    connection = await connecting
    assert files(tmp_path)["incomplete"] == [image_id]
    connection.close()
    await soon(lambda: store.sources[0].stopped and files(tmp_path)["incomplete"] == [])
    store.held = False
    assert (await read(api, image_id)).body == CONTENT
    await soon(whole(tmp_path, image_id).exists)


@pytest_twisted.ensureDeferred
async def test_wrong_data_is_never_cached(start: Started, tmp_path: Path) -> None:
    """Data that is not what was stored is kept as invalid; the client does not get all of it, and it is noted."""
    api = await start(cached_in(tmp_path))
    image_id = await image_with(api)
    (tmp_path / "images" / image_id).write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(Exception, match=r"(?i)response|connection"):
        await read(api, image_id)
    await soon(lambda: files(tmp_path)["invalid"] == [image_id])
    assert files(tmp_path)[""] == files(tmp_path)["incomplete"] == []
    assert await entries(api) == {}
    latest = clock().seconds() + 60
    while (counts := await Copies(api.service._engine).counts()) != {CORRUPT: 1}:
        assert clock().seconds() < latest, counts
    assert (await read(api, image_id)).status == 503


@pytest_twisted.ensureDeferred
async def test_store_breaks_off(start: Started, tmp_path: Path) -> None:
    """If the store fails while the cache is filled, reading goes on where it ended, and nothing is cached."""
    store = WatchedStore(held=True)
    api = await start(cached_in(tmp_path), stores={"memory": store})
    image_id = await image_with(api)
    reading = read(api, image_id)
    await soon(lambda: len(store.sources) == 1)
    store.sources[0].send(CONTENT[:300_000])
    incomplete = tmp_path / "cache" / "incomplete" / image_id
    await soon(lambda: incomplete.stat().st_size == 300_000)
    store.held = False
    store.sources[0].fail(StoreUnavailable("gone"))
    assert (await reading).body == CONTENT
    assert store.opened == [0, 300_000]
    assert files(tmp_path)[""] == files(tmp_path)["incomplete"] == []


@pytest_twisted.ensureDeferred
async def test_store_breaks_off_after_wrong_data(start: Started, tmp_path: Path) -> None:
    """Who goes on elsewhere never has wrong data that looks whole; here or in a process that only follows."""
    one, other, first, second, image_id = await two_on_one_cache(start, tmp_path)
    reading = [read(one, image_id)]
    await soon(lambda: files(tmp_path)["incomplete"] == [image_id] and len(first.sources) == 1)
    reading.append(read(other, image_id))
    await a_moment()
    first.sources[0].send(b"?" + CONTENT[1:300_000])
    await a_moment()
    first.held = False
    first.sources[0].fail(StoreUnavailable("gone"))
    for each in reading:
        with pytest.raises(Exception, match=r"(?i)response|connection"):
            await each
    assert 300_000 in first.opened
    assert 300_000 in second.opened
    assert files(tmp_path)[""] == files(tmp_path)["incomplete"] == []


@pytest_twisted.ensureDeferred
async def test_cache_that_cannot_be_written(start: Started, tmp_path: Path) -> None:
    """Clients do not notice."""
    api = await start(cached_in(tmp_path))
    image_id = await image_with(api)
    shutil.rmtree(tmp_path / "cache" / "incomplete")
    assert (await read(api, image_id)).body == CONTENT
    shutil.rmtree(tmp_path / "cache")
    assert (await read(api, image_id)).body == CONTENT


@pytest.mark.parametrize("driver", DRIVERS)
@pytest_twisted.ensureDeferred
async def test_deleted_and_deactivated_images_leave(start: Started, tmp_path: Path, driver: str) -> None:
    """Neither is kept; a deactivated one is read by administrators from its store, and not cached."""
    store = WatchedStore()
    api = await start(cached_in(tmp_path, driver=driver), stores={"memory": store})
    deleted, deactivated = await image_with(api), await image_with(api, b"other")
    for image_id in (deleted, deactivated):
        await read(api, image_id)
        await indexed(api, image_id)
    assert (await api.request("DELETE", f"/v2/images/{deleted}")).status == 204
    assert files(tmp_path)[""] == [deactivated]
    assert (await api.request("POST", f"/v2/images/{deactivated}/actions/deactivate")).status == 204
    assert files(tmp_path)[""] == []
    assert await entries(api) == {}
    assert (await read(api, deactivated)).body == b"other"
    assert len(store.opened) == 3
    assert files(tmp_path)[""] == files(tmp_path)["incomplete"] == []


@pytest_twisted.ensureDeferred
async def test_file_of_another_program(start: Started, tmp_path: Path) -> None:
    """A file that Glance has left is compared before it is served, and marked then; a wrong one is not served."""
    store = WatchedStore()
    api = await start(cached_in(tmp_path), stores={"memory": store})
    right, wrong, short = [await image_with(api) for _ in range(3)]
    for image_id, data in ((right, CONTENT), (wrong, bytes(len(CONTENT))), (short, CONTENT[:5])):
        whole(tmp_path, image_id).write_bytes(data)
        assert (await read(api, image_id)).body == CONTENT
    await soon(lambda: files(tmp_path)["invalid"] == sorted([wrong, short]))
    mark = f"sha512:{hashlib.sha512(CONTENT).hexdigest()}".encode()

    def marked() -> bool:
        return VERIFIED in os.listxattr(whole(tmp_path, right))

    await soon(marked)
    written = os.stat(whole(tmp_path, right)).st_mtime_ns
    assert os.getxattr(whole(tmp_path, right), VERIFIED) == b"%s %d" % (mark, written)
    opened = len(store.opened)
    assert (await read(api, right)).body == CONTENT
    assert len(store.opened) == opened


@pytest_twisted.ensureDeferred
async def test_a_file_that_was_written_to(start: Started, tmp_path: Path) -> None:
    """It is compared once more before it is served: who asks meanwhile gets what the store has."""
    store = WatchedStore()
    api = await start(cached_in(tmp_path), stores={"memory": store})
    image_id = await image_with(api)
    assert (await read(api, image_id)).body == CONTENT
    await soon(lambda: files(tmp_path)[""] == [image_id])
    whole(tmp_path, image_id).write_bytes(bytes(len(CONTENT)))
    assert (await read(api, image_id)).body == CONTENT
    assert len(store.opened) == 2
    await soon(lambda: files(tmp_path)["invalid"] == [image_id])


@pytest_twisted.ensureDeferred
async def test_two_processes(start: Started, tmp_path: Path) -> None:
    """Another service on the same directory follows the fill of the first one, and serves what that has cached."""
    one, other, first, second, image_id = await two_on_one_cache(start, tmp_path)
    reading = [read(one, image_id)]
    await soon(lambda: files(tmp_path)["incomplete"] == [image_id] and len(first.sources) == 1)
    reading += [read(other, image_id) for _ in range(3)]
    first.sources[0].send(CONTENT[:300_000])
    await a_moment()
    first.sources[0].send(CONTENT[300_000:])
    first.sources[0].end()
    replies = await gatherResults(reading)
    assert {(reply.status, reply.body) for reply in replies} == {(200, CONTENT)}
    await soon(whole(tmp_path, image_id).exists)
    assert (await read(other, image_id)).body == CONTENT
    assert (first.opened, second.opened) == ([0], [])


async def a_moment() -> None:
    """Long enough for the other service to look at the file at least once."""
    from twisted.internet.task import deferLater

    await deferLater(clock(), 0.2)


@pytest_twisted.ensureDeferred
async def test_filler_gives_up(start: Started, tmp_path: Path) -> None:
    """Who follows the fill of another service goes on from the store if that one stops."""
    one, other, first, second, image_id = await two_on_one_cache(start, tmp_path)
    connecting = ensureDeferred(partial(one, image_id, 10))
    await soon(lambda: files(tmp_path)["incomplete"] == [image_id] and len(first.sources) == 1)
    first.sources[0].send(CONTENT[:200_000])
    with await partial(other, image_id, 100_000):
        (await connecting).close()
        await soon(lambda: second.opened == [200_000])


@pytest_twisted.ensureDeferred
async def test_dead_filler(start: Started, tmp_path: Path) -> None:
    """What a process left that died is no obstacle; what Glance may be writing is left alone."""
    store = WatchedStore()
    api = await start(cached_in(tmp_path), stores={"memory": store})
    ours, theirs = await image_with(api), await image_with(api)
    for image_id in (ours, theirs):
        (tmp_path / "cache" / "incomplete" / image_id).write_bytes(b"part")
    os.setxattr(tmp_path / "cache" / "incomplete" / ours, "user.glancetx.filling", b"1")
    for image_id in (ours, theirs):
        assert (await read(api, image_id)).body == CONTENT
    await soon(whole(tmp_path, ours).exists)
    assert files(tmp_path)["incomplete"] == [theirs]
    assert files(tmp_path)[""] == [ours]


@pytest_twisted.ensureDeferred
async def test_head_and_off(start: Started, tmp_path: Path) -> None:
    """HEAD leaves nothing behind; without the pipeline's filter downloads pass by the cache."""
    api = await start(cached_in(tmp_path))
    image_id = await image_with(api)
    assert (await api.request("HEAD", f"/v2/images/{image_id}/file")).header("content-length") == str(len(CONTENT))
    await soon(lambda: files(tmp_path)["incomplete"] == [])
    assert files(tmp_path)[""] == []
    off = await start(cached_in(tmp_path, downloads=False))
    assert (await read(off, image_id)).body == CONTENT
    assert files(tmp_path)[""] == []


@implementer(INotifier)
class Told:
    """An INotifier that keeps what it is told."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def notify(self, event_type: str, priority: str, payload: Any) -> None:
        if event_type == "image.send":
            self.sent.append((priority, payload))


@pytest_twisted.ensureDeferred
async def test_policy_and_events(start: Started, tmp_path: Path) -> None:
    """Who may not read an image is not served from the cache; who is served from it is told of with his address."""
    (tmp_path / "policy.yaml").write_text('"download_image": "user_id:friend"\n')
    access = AccessSettings(authentication="trusted", config_dirs=(tmp_path,))
    notifier = Told()
    api = await start(evolve(cached_in(tmp_path), access=access), notifier=notifier)

    def who(user: str, roles: str = "member,reader") -> dict[str, str]:
        return {"X_Identity_Status": "Confirmed", "X_User_Id": user, "X_Project_Id": "p", "X_Roles": roles}

    values = json.dumps({"name": "x", "disk_format": "raw", "container_format": "bare"}).encode()
    image_id = str((await api.request("POST", "/v2/images", values, **who("owner"))).json["id"])
    assert (await api.upload(image_id, CONTENT, **who("owner"))).status == 204
    for _ in range(2):
        assert (await read(api, image_id, **who("friend"))).body == CONTENT
        await indexed(api, image_id)
    assert [payload.get("destination_ip") for _, payload in notifier.sent] == [None, "127.0.0.1"]
    assert (await read(api, image_id, **who("other"))).status == 403
    assert (await read(api, image_id, **(who("other") | {"X_Project_Id": "q"}))).status == 404
    assert len(notifier.sent) == 2
