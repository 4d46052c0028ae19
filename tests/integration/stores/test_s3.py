"""The S3 store against real servers: Swift's S3 interface, and moto's (S-062, S-063, S-065..S-067)."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Collection
from typing import Any, ClassVar

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from glancetx.config.store_settings import MIB, S3Settings
from glancetx.domain.errors import Conflict, DataNotFound, StoreUnavailable
from glancetx.interfaces import IStore
from glancetx.outgoing.client import Answer, HttpClient
from glancetx.outgoing.retries import Retries
from glancetx.runtime.threads import Threads
from glancetx.stores.s3 import S3Store
from glancetx.stores.s3_requests import document
from glancetx.testing.stores import StoreTests, keep, listed, new_attempt, new_id, read, the_reactor
from tests.services.objects import S3Server, SwiftServer


def settings_for(server: S3Server, **changes: Any) -> S3Settings:
    """A bucket of its own, small parts, everything above one part in parts."""
    values: dict[str, Any] = {
        "host": server.url,
        "bucket": f"b{uuid.uuid4().hex[:20]}",
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "region": "us-east-1",
        "create_bucket": True,
        "large_object_size": 0,
        "part_size": 5 * MIB,
    }
    return S3Settings(**(values | changes))


def store_of(
    settings: S3Settings, client: HttpClient | None = None, clock: IReactorTime | None = None
) -> tuple[S3Store, Threads]:
    reactor: Any = the_reactor()
    hashing = Threads(reactor, "hashing", 2)
    hashing.start()
    retries = Retries(clock or reactor, most=2, first=0.05)
    return S3Store(settings, client or HttpClient(reactor), retries, hashing, multiple=False), hashing


async def stop(*opened: S3Store | Threads) -> None:
    for each in opened:
        await each.stop()


async def names(store: S3Store) -> list[str]:
    """All objects of the store's bucket, and all uploads that have not ended."""
    api = store._api
    found = []
    for query, element in (({}, "Contents"), ({"uploads": ""}, "Upload")):
        answer = await api.call("GET", store._bucket, query=query, accept=(404,))
        if answer.status != 404:
            found += [str(each.findtext("Key")) for each in document(answer).findall(element)]
    return found


class Late(HttpClient):
    """One that slept before it wrote, or after it looked, for the first time: *meanwhile* was done."""

    meanwhile: Callable[[], Awaitable[object]] | None = None
    looking = False

    async def request(self, method: str, *args: Any, **more: Any) -> Answer:
        if method in ("PUT", "POST") and not self.looking:
            await self._sleep()
        answer = await super().request(method, *args, **more)
        if method == "HEAD" and self.looking:
            await self._sleep()
        return answer

    async def _sleep(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()


class S3Tests(StoreTests):
    """The suite, whichever the server is."""

    changes: ClassVar[dict[str, Any]] = {}
    server: S3Server

    async def make_store(self) -> IStore:
        store, self._hashing = store_of(settings_for(self.server, **self.changes))
        return store

    async def dispose(self, store: IStore) -> None:
        await self._hashing.stop()

    async def remains(self, store: IStore) -> Collection[str]:
        assert isinstance(store, S3Store)
        return await names(store)

    @pytest.mark.parametrize("size", [1, 6 * MIB])
    @pytest_twisted.ensureDeferred
    async def test_a_late_write_replaces_nothing(self, size: int) -> None:
        """Who looked before the data of another attempt came is told so when he writes, and that data stays."""
        settings, client, image_id = settings_for(self.server, **self.changes), Late(the_reactor()), new_id()
        (late, hashing), (other, more_hashing) = store_of(settings, client), store_of(settings)
        await keep(late, b"makes the bucket")
        client.meanwhile = lambda: keep(other, b"newer", image_id)
        with pytest.raises(Conflict):
            await keep(late, bytes(size), image_id)
        assert await read(other, other.url_prefix + image_id) == b"newer"
        assert [name for name in await names(other) if name.startswith(image_id)] == [image_id]
        await stop(late, other, hashing, more_hashing)

    @pytest_twisted.ensureDeferred
    async def test_a_late_removal_removes_nothing(self) -> None:
        """Who looked before the data of another attempt came, and slept, looks again before he removes it."""
        settings, client, clock = settings_for(self.server, **self.changes), Late(the_reactor()), Clock()
        image_id, attempt = new_id(), new_attempt()
        (late, hashing), (other, more_hashing) = store_of(settings, client, clock), store_of(settings)
        stored = await keep(late, b"older", image_id, attempt)

        async def meanwhile() -> None:
            await other.discard(image_id, attempt)
            await keep(other, b"newer", image_id)
            clock.advance(60)

        client.meanwhile, client.looking = meanwhile, True
        await late.discard(image_id, attempt)
        assert await read(other, stored.url) == b"newer"
        await stop(late, other, hashing, more_hashing)

    @pytest_twisted.ensureDeferred
    async def test_lists_uploads_that_have_not_ended(self) -> None:
        """Each is a piece, and so is the marker beside it; they are superseded if the object is there, and can go."""
        async with self.opened() as opened:
            assert isinstance(opened, S3Store)
            store, image_id, attempt = opened, new_id(), new_attempt()
            await store._check_bucket()
            for name in ("notes", f"{image_id}.txt", f"folder/{image_id}"):
                await store._put(name, [b"of somebody else"], attempt)
            upload, _ = await store._begin(image_id, attempt)
            await store.send_part(image_id, upload, 1, [bytes(5 * MIB)])
            await store._put(f"{image_id}.{attempt}.upload", [upload.encode()], attempt)
            items = await listed(store)
            assert [(item.image_id, item.piece) for item in items] == [(image_id, True)] * 2
            assert {item.name for item in items} == {f"{image_id}.{attempt}.upload", f"{image_id}?uploadId={upload}"}
            sizes = {5 * MIB, len(upload)}
            found = [await store.look(item) for item in items]
            assert {kept.size for kept in found if kept} == sizes
            assert all(kept and -600 < kept.age < 600 and not kept.superseded for kept in found)
            await store._put(image_id, [b"data"], attempt)
            found = [await store.look(item) for item in items]
            assert all(kept and kept.superseded for kept in found)
            for item in items:
                await store.remove(item)
                assert await store.look(item) is None
                with pytest.raises(DataNotFound):
                    await store.remove(item)
            assert [(item.name, item.piece) for item in await listed(store)] == [(image_id, False)]


class TestMoto(S3Tests):
    """moto."""

    @pytest.fixture(autouse=True)
    def _server(self, moto: S3Server) -> None:
        self.server = moto


class TestMotoWhole(TestMoto):
    """Images below the threshold go in one piece, streamed."""

    changes: ClassVar[dict[str, Any]] = {"large_object_size": 100 * MIB}

    async def make_store(self) -> IStore:
        store = await super().make_store()
        await store.delete((await keep(store, b"shows that the condition is known")).url)
        return store


class TestMotoChecksums(TestMoto):
    """The server keeps checksums."""

    changes: ClassVar[dict[str, Any]] = {"checksums": True}


class TestSwift(S3Tests):
    """Swift's S3 interface."""

    @pytest.fixture(autouse=True)
    def _server(self, swift: SwiftServer) -> None:
        self.server = swift.s3


@pytest_twisted.ensureDeferred
async def test_discards_after_a_crash(moto: S3Server) -> None:
    """Uploads that died at every step are ended; those of another attempt go on."""
    store, hashing = store_of(settings_for(moto))
    image_id, attempt, other = new_id(), new_attempt(), new_attempt()
    await store.delete((await keep(store, b"makes the bucket")).url)
    begun, _ = await store._begin(image_id, attempt)
    await store.discard(image_id, attempt)  # died before the marker was written
    assert await names(store) == []
    begun, _ = await store._begin(image_id, attempt)
    foreign, _ = await store._begin(image_id, other)
    for upload, owner in ((begun, attempt), (foreign, other)):
        await store._put(store._marker(image_id, owner), [upload.encode()], owner)
        await store.send_part(image_id, upload, 1, [bytes(5 * MIB)])
    await store.discard(image_id, attempt)
    assert sorted(await names(store)) == sorted([image_id, store._marker(image_id, other)])
    parts = [await store.send_part(image_id, foreign, 1, [bytes(5 * MIB)])]
    await store._complete(image_id, foreign, parts, 5 * MIB, other)
    await store.discard(image_id, attempt)
    assert await store.size(store.url_prefix + image_id) == 5 * MIB
    await store.discard(image_id, other)  # died before the marker was removed
    assert await names(store) == []
    await store.stop()
    await hashing.stop()


@pytest_twisted.ensureDeferred
async def test_missing_bucket(moto: S3Server) -> None:
    """A bucket is made only if that is wanted."""
    store, hashing = store_of(settings_for(moto, create_bucket=False))
    with pytest.raises(StoreUnavailable, match="s3_store_create_bucket_on_put"):
        await keep(store, b"data")
    await store.stop()
    await hashing.stop()


@implementer(IAgentEndpointFactory)
class To:
    """Connects to one server, whatever host is asked for: the names of Amazon's hosts lead to ours."""

    def __init__(self, port: int) -> None:
        self.port = port

    def endpointForURI(self, uri: URI) -> Any:
        return TCP4ClientEndpoint(the_reactor(), "127.0.0.1", self.port)


@pytest_twisted.ensureDeferred
async def test_bucket_in_the_host(moto: S3Server) -> None:
    """Where the host tells the region, the bucket is made there, and is part of the host."""
    settings = settings_for(moto, host="s3.eu-west-3.amazonaws.com", region="")
    client = HttpClient(the_reactor(), endpoints=To(int(moto.url.rpartition(":")[2])))
    store, hashing = store_of(settings, client)
    content = bytes(range(256)) * (6 * MIB // 256)
    stored = await keep(store, content)
    assert stored.url.startswith(f"s3://s3.eu-west-3.amazonaws.com/{settings.bucket}/")
    assert await read(store, stored.url, 5 * MIB - 3, 7) == content[5 * MIB - 3 : 5 * MIB + 4]
    found = await store._api.call("GET", settings.bucket, query={"location": ""})
    assert document(found).text == "eu-west-3"
    await store.delete(stored.url)
    assert await names(store) == []
    await store.stop()
    await hashing.stop()


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({}, "http://127.0.0.1:1/bucket/a%20key?x=%2F"),
        ({"host": "https://s3.example.com/base/"}, "https://s3.example.com/base/bucket/a%20key?x=%2F"),
        ({"host": "s3.eu-west-3.amazonaws.com"}, "http://bucket.s3.eu-west-3.amazonaws.com/a%20key?x=%2F"),
        ({"host": "h", "url_format": "virtual"}, "http://bucket.h/a%20key?x=%2F"),
        ({"host": "s3.amazonaws.com", "url_format": "path"}, "http://s3.amazonaws.com/bucket/a%20key?x=%2F"),
    ],
)
def test_addresses(moto: S3Server, changes: dict[str, Any], url: str) -> None:
    """Where an object is, by path or by host."""
    values = {"bucket": "bucket", "region": ""} | changes
    settings = settings_for(evolve(moto, url="http://127.0.0.1:1"), **values)
    store, _ = store_of(settings)
    assert store._api.url("bucket", "a key", {"x": "/"}) == url
    assert store._api.region == ("eu-west-3" if "eu-west-3" in url else "")
