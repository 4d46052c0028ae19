"""The Swift store against a real Swift (S-074..S-076, S-079..S-081, S-083)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_twisted
from attrs import evolve

from glancetx.config.settings import ClientTlsSettings
from glancetx.config.store_settings import MIB, SwiftAccount, SwiftSettings
from glancetx.domain.errors import Conflict, DataNotFound, StoreUnavailable
from glancetx.interfaces import IStore
from glancetx.outgoing.client import HttpClient, Patience
from glancetx.outgoing.retries import Retries
from glancetx.runtime.threads import Threads
from glancetx.stores.swift import SwiftStore
from glancetx.stores.swift_sessions import SwiftSessions
from glancetx.stores.swift_tenants import SwiftTenantStore
from glancetx.testing.stores import CONTENT, StoreTests, keep, listed, new_attempt, new_id, read, the_reactor
from tests.services.objects import SwiftServer


def settings_for(server: SwiftServer, **changes: Any) -> SwiftSettings:
    """A container of its own, and small segments for everything large."""
    account = SwiftAccount(auth_address=server.auth_url, version="1", user=server.user, key=server.key)
    values: dict[str, Any] = {
        "accounts": {"ref1": account},
        "container": f"c{uuid.uuid4().hex}",
        "create_container": True,
        "large_object_size": MIB,
        "segment_size": 10 * MIB,
    }
    return SwiftSettings(**(values | changes))


class Made:
    """A store and what it needs."""

    def __init__(self, settings: SwiftSettings, patience: Patience | None = None) -> None:
        reactor: Any = the_reactor()
        self.files = Threads(reactor, "files", 2)
        self.files.start()
        self.sessions = SwiftSessions(settings, reactor, ClientTlsSettings())
        retries = Retries(reactor, most=3, first=0.02)
        client = HttpClient(reactor, patience=patience)
        kind = SwiftTenantStore if settings.multi_tenant else SwiftStore
        self.store = kind(settings, self.sessions, client, retries, self.files, multiple=False)

    async def names(self) -> list[str]:
        """All objects of the store's containers."""
        store = self.store
        return [name async for name in store._api.names(store._settings.container, "")]

    async def close(self) -> None:
        await self.files.stop()


class TestSwift(StoreTests):
    """The suite, with objects in segments of 10 MiB."""

    changes: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _server(self, swift: SwiftServer, tmp_path: Path) -> None:
        self.server, self.folder = swift, tmp_path

    async def make_store(self) -> IStore:
        self.made = Made(settings_for(self.server, **self.changes))
        return self.made.store

    async def dispose(self, store: IStore) -> None:
        await self.made.close()

    async def remains(self, store: IStore) -> Collection[str]:
        return await self.made.names()


class TestWhole(TestSwift):
    """Objects below the threshold go in one piece."""

    changes: ClassVar[dict[str, Any]] = {"large_object_size": 100 * MIB}


class TestSpooled(TestSwift):
    """Segments are kept in files while they are sent."""

    async def make_store(self) -> IStore:
        self.changes = {"spool": self.folder}  # type: ignore[misc]
        return await super().make_store()


@pytest_twisted.ensureDeferred
async def test_many_containers(swift: SwiftServer) -> None:
    """With a seed, images are spread over containers, as glance_store names them."""
    made = Made(settings_for(swift, seed=10))
    image_id = "3A1B5C7D-9e8f-4a3b-8c2d-1e0f9a8b7c6d"
    stored = await keep(made.store, CONTENT, image_id)
    assert stored.url.startswith(made.store.url_prefix)
    assert stored.url.split("/")[-2].endswith("_3a1b5c7d-9e")
    assert await read(made.store, stored.url) == CONTENT
    await made.store.delete(stored.url)
    await made.store.stop()
    await made.close()


@pytest_twisted.ensureDeferred
async def test_missing_container(swift: SwiftServer) -> None:
    """A container is made only if that is wanted."""
    made = Made(settings_for(swift, create_container=False))
    with pytest.raises(StoreUnavailable, match="swift_store_create_container_on_put"):
        await keep(made.store, b"data")
    await made.store.stop()
    await made.close()


@pytest_twisted.ensureDeferred
async def test_locations(swift: SwiftServer) -> None:
    """Locations with credentials, without any, and of an unknown account: read with whom they name, or not at all."""
    settings = settings_for(swift)
    made = Made(settings)
    stored = await keep(made.store, CONTENT)
    path = stored.url.split("/", 3)[3]
    address = swift.auth_url.removeprefix("http://")
    for url in (
        f"swift+http://test%3Atester:testing@{address}/{path}",
        f"swift+http://test:tester:old-password@{address}/{path}",
        f"swift+http://{swift.storage_url.removeprefix('http://')}/{path}",
    ):
        assert await read(made.store, url) == CONTENT
        assert await made.store.size(url) == len(CONTENT)
    with pytest.raises(DataNotFound):
        await made.store.size(f"swift+config://nobody/{path}")
    with pytest.raises(StoreUnavailable):
        await made.store.size(f"swift+http://test%3Asomebody:secret@{address}/{path}")
    await made.store.stop()
    await made.close()


@pytest_twisted.ensureDeferred
async def test_renews_its_token(swift: SwiftServer) -> None:
    """A token that is not accepted any more is replaced, whatever is asked for."""
    made = Made(settings_for(swift))
    session = made.sessions.default
    stored = await keep(made.store, CONTENT)

    async def spoil() -> None:
        entry = await session.enter()
        session._entry = evolve(entry, token="AUTH_tk0")  # type: ignore[union-attr]

    await spoil()
    assert await read(made.store, stored.url) == CONTENT
    await spoil()
    other = await keep(made.store, CONTENT)
    await spoil()
    await made.store.delete(other.url)
    await made.store.stop()
    await made.close()


@pytest_twisted.ensureDeferred
async def test_static_manifest(swift: SwiftServer) -> None:
    """An object whose manifest is static, which others write, is read and deleted with its segments."""
    made = Made(settings_for(swift))
    api, container, image_id = made.store._api, made.store._settings.container, new_id()
    await made.store.delete((await keep(made.store, b"makes the container")).url)
    for number in (1, 2):
        await api.call("PUT", container, f"{image_id}/{number}", body=[CONTENT])
    manifest = json.dumps([{"path": f"/{container}/{image_id}/{number}"} for number in (1, 2)])
    await api.call("PUT", container, image_id, {"multipart-manifest": "put"}, body=[manifest.encode()])
    url = made.store.url_prefix + image_id
    assert await read(made.store, url) == CONTENT + CONTENT
    assert await read(made.store, url, len(CONTENT) - 5, 10) == CONTENT[-5:] + CONTENT[:5]
    await made.store.delete(url)
    assert await made.names() == []
    await made.store.stop()
    await made.close()


@pytest_twisted.ensureDeferred
async def test_ends_a_broken_delete(swift: SwiftServer) -> None:
    """Segments whose manifest is gone already go with the next delete."""
    made = Made(settings_for(swift, segment_size=MIB))
    stored = await keep(made.store, CONTENT + CONTENT)
    assert len(await made.names()) > 2
    api, (container, key) = made.store._api, stored.url.split("/")[-2:]
    await api.call("DELETE", container, key)
    with pytest.raises(DataNotFound):
        await made.store.delete(stored.url)
    assert await made.names() == []
    await made.store.stop()
    await made.close()


@pytest_twisted.ensureDeferred
async def test_object_of_somebody_else(swift: SwiftServer) -> None:
    """Of two processes that finish at once the second one is told so, and the data of the first stays."""
    settings = settings_for(swift)
    made, other = Made(settings), Made(settings)
    image_id = new_id()
    other.store._adding.clear()
    stored = await keep(made.store, b"first", image_id)
    with pytest.raises(Conflict):
        await keep(other.store, b"second", image_id)
    assert await read(other.store, stored.url) == b"first"
    for each in (made, other):
        await each.store.stop()
        await each.close()


@pytest_twisted.ensureDeferred
async def test_discards_after_a_crash(swift: SwiftServer) -> None:
    """Segments of an upload that died are removed; those of another attempt stay."""
    made = Made(settings_for(swift))
    store, image_id, attempt, other = made.store, new_id(), new_attempt(), new_attempt()
    await store.delete((await keep(store, b"makes the container")).url)
    container = store._settings.container
    for owner in (attempt, other):
        for number in (1, 2, 3):
            await store._api.call("PUT", container, f"{image_id}-{owner}-{number:05d}", body=[b"data"])
    await store.discard(image_id, attempt)
    assert await made.names() == [f"{image_id}-{other}-{number:05d}" for number in (1, 2, 3)]
    await store.discard(image_id, other)
    assert await made.names() == []
    await store.stop()
    await made.close()


@pytest_twisted.ensureDeferred
async def test_lists_segments_without_an_object(swift: SwiftServer) -> None:
    """Segments that an object consists of are not told; others are, and are superseded where there is an object."""
    made = Made(settings_for(swift))
    store, api, container = made.store, made.store._api, made.store._settings.container
    whole, lost = new_id(), new_id()
    stored = await keep(store, CONTENT, whole)
    assert any(name.startswith(f"{whole}-") for name in await made.names())
    old, ours, glances = f"{whole}-{new_attempt()}-00001", f"{lost}-{new_attempt()}-00002", f"{lost}-00001"
    for name in (old, ours, glances, "notes", f"{lost}-notes", f"{lost}.txt"):
        await api.call("PUT", container, name, body=[b"0123456789"])
    items = {item.name: item for item in await listed(store, 3)}
    expected = {f"{container}/{name}": name != whole for name in (whole, old, ours, glances)}
    assert {name: item.piece for name, item in items.items()} == expected
    assert items[f"{container}/{old}"].url == stored.url
    for name, superseded in ((old, True), (ours, False), (glances, False)):
        item = items[f"{container}/{name}"]
        kept = await store.look(item)
        assert kept is not None
        assert (kept.size, kept.superseded) == (10, superseded)
        assert -600 < kept.age < 600
        await store.remove(item)
        with pytest.raises(DataNotFound):
            await store.remove(item)
        assert await store.look(item) is None
    segment = next(name for name in await made.names() if name.startswith(f"{whole}-"))
    part = evolve(items[f"{container}/{old}"], name=f"{container}/{segment}")
    assert await store.look(part) is None
    assert await read(store, stored.url) == CONTENT
    await store.remove(items[f"{container}/{whole}"])
    assert sorted(await made.names()) == sorted(["notes", f"{lost}-notes", f"{lost}.txt"])
    await store.stop()
    await made.close()


@pytest_twisted.ensureDeferred
async def test_lists_many_containers(swift: SwiftServer) -> None:
    """With a seed all containers are gone through whose names may be its own, and none beside them."""
    made = Made(settings_for(swift, seed=2))
    store = made.store
    ids = [f"{beginning}5d1c6e-1c1f-4d2c-9c55-7b6d6f0d6a11" for beginning in ("0a", "7f", "ff")]
    urls = [(await keep(store, b"data", image_id)).url for image_id in ids]
    foreign = f"{store._settings.container}_backup"
    await store._api.call("PUT", foreign)
    await store._api.call("PUT", foreign, new_id(), body=[b"data"])
    assert [item.url for item in await listed(store)] == urls
    await store.stop()
    await made.close()
