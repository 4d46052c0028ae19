"""Where the data of images lies, changed by patches: what is kept, what is deleted, who is stopped (A-072..A-076)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from twisted.internet.defer import Deferred, gatherResults

from glancetx.config.settings import ImagesSettings
from glancetx.db.sealing import Seal
from glancetx.domain.errors import DataInUse, DataNotFound
from glancetx.testing.fakes import MemoryStore
from tests.running import Api, Reply, Started, settings_in

DATA = b"some image data"
PAGES = {"http://web/a": len(DATA), "http://web/b": len(DATA), "http://web/c": len(DATA), "http://web/empty": 0}


class Web(MemoryStore):
    """A store whose data others have put there."""

    scheme = "http"
    read_only = True

    def __init__(self) -> None:
        super().__init__("web")
        self.url_prefix = "http://"

    async def size(self, url: str) -> int:
        if url not in PAGES:
            raise DataNotFound("nothing there")
        return PAGES[url]


class Clinging(MemoryStore):
    """Refuses to delete, while it is told to."""

    clings = False

    async def delete(self, url: str) -> None:
        if self.clings:
            raise DataInUse("somebody uses it")
        await super().delete(url)


@define
class Scene:
    api: Api
    store: Clinging

    async def image(self, *places: dict[str, Any]) -> str:
        image_id = await self.api.create()
        for each in places:
            assert (await self.add(image_id, each)).status == 200
        return image_id

    async def add(self, image_id: str, location: dict[str, Any], place: str = "-") -> Reply:
        return await self.api.patch(image_id, {"op": "add", "path": f"/locations/{place}", "value": location})

    async def remove(self, image_id: str, place: int) -> Reply:
        return await self.api.patch(image_id, {"op": "remove", "path": f"/locations/{place}"})

    async def urls(self, image_id: str) -> list[str]:
        return [each["url"] for each in (await self.api.show(image_id))["locations"]]


def at(name: str, **metadata: Any) -> dict[str, Any]:
    return {"url": f"http://web/{name}", "metadata": metadata}


@pytest_twisted.async_yield_fixture
async def scene(start: Started, tmp_path: Path) -> AsyncIterator[Scene]:
    """A service that shows locations, and lets an image have three."""
    images = ImagesSettings(show_multiple_locations=True, show_image_direct_url=True, image_location_quota=3)
    store = Clinging("fast", metadata={"store": "fast"})
    yield Scene(await start(settings_in(tmp_path, images=images), stores={"fast": store, "web": Web()}), store)


@pytest_twisted.ensureDeferred
async def test_first_location(scene: Scene) -> None:
    """A queued image becomes active with the size the store tells; nobody knows its hashes."""
    image_id = await scene.image(at("a", note="x"))
    image = await scene.api.show(image_id)
    assert (image["status"], image["size"], image["checksum"]) == ("active", len(DATA), None)
    assert image["locations"] == [{"url": "http://web/a", "metadata": {"note": "x", "store": "web"}}]
    assert (image["direct_url"], image["stores"]) == ("http://web/a", "web")


@pytest_twisted.ensureDeferred
async def test_order(scene: Scene) -> None:
    """Locations stay in the order in which they were put, also where one was put between others."""
    image_id = await scene.image(at("a"), at("c"))
    assert (await scene.add(image_id, at("b"), "1")).status == 200
    assert await scene.urls(image_id) == ["http://web/a", "http://web/b", "http://web/c"]
    order = [at("c"), at("a", note="y"), at("b")]
    reply = await scene.api.patch(image_id, {"op": "replace", "path": "/locations", "value": order})
    assert reply.status == 200
    assert await scene.urls(image_id) == ["http://web/c", "http://web/a", "http://web/b"]
    assert (await scene.api.show(image_id))["locations"][1]["metadata"] == {"note": "y", "store": "web"}


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "FILE:///etc/passwd", "filesystem:///x", "swift+config://a/b/c", "memory://fast/x", "x", "",
     "http://web/empty", "http://web/nothing", "rbd://a/b/c/d"],
)  # fmt: skip
@pytest_twisted.ensureDeferred
async def test_refused(scene: Scene, url: str) -> None:
    """What the service alone may write, what no store reads, and what has no data, is no location."""
    image_id = await scene.image()
    reply = await scene.add(image_id, {"url": url, "metadata": {}})
    assert (reply.status, reply.json["message"].split("<")[0]) == (400, "Invalid location")
    assert (await scene.api.show(image_id))["status"] == "queued"


@pytest_twisted.ensureDeferred
async def test_too_many(scene: Scene) -> None:
    """There is a limit, and no location twice."""
    image_id = await scene.image(at("a"), at("b"))
    assert (await scene.add(image_id, at("a"))).status == 400
    assert (await scene.add(image_id, at("a", other="metadata"))).status == 200
    assert (await scene.add(image_id, at("c"))).status == 413


@pytest_twisted.ensureDeferred
async def test_hashes(scene: Scene) -> None:
    """Hashes can be told with the first location; later ones must agree."""
    digest = hashlib.sha512(DATA).hexdigest()
    data = {"os_hash_algo": "sha512", "os_hash_value": digest, "checksum": "0" * 32}
    image_id = await scene.image(at("a") | {"validation_data": data})
    image = await scene.api.show(image_id)
    assert (image["checksum"], image["os_hash_algo"], image["os_hash_value"]) == ("0" * 32, "sha512", digest)
    assert (await scene.add(image_id, at("b") | {"validation_data": data})).status == 200
    wrong = data | {"checksum": "1" * 32}
    assert (await scene.add(image_id, at("c") | {"validation_data": wrong})).status == 409
    bare = await scene.image(at("a"))
    assert (await scene.add(bare, at("b") | {"validation_data": data})).status == 409


@pytest_twisted.ensureDeferred
async def test_remove(scene: Scene) -> None:
    """The data goes with the location; what is read-only is only forgotten; the last one stays."""
    image_id = await scene.api.create()
    await scene.api.upload(image_id, DATA)
    assert len(scene.store.urls) == 1
    assert (await scene.add(image_id, at("a"))).status == 200
    assert (await scene.add(image_id, at("b"))).status == 200
    assert (await scene.remove(image_id, 3)).status == 400
    assert (await scene.remove(image_id, 1)).status == 200
    assert len(scene.store.urls) == 1
    assert (await scene.remove(image_id, 0)).status == 200
    assert scene.store.urls == []
    assert await scene.urls(image_id) == ["http://web/b"]
    assert (await scene.remove(image_id, 0)).status == 403


@pytest_twisted.ensureDeferred
async def test_remove_what_is_used(scene: Scene) -> None:
    """A store that refuses keeps its location, and the other changes of the patch are not made."""
    image_id = await scene.api.create()
    await scene.api.upload(image_id, DATA)
    await scene.add(image_id, at("a"))
    before = await scene.api.show(image_id)
    scene.store.clings = True
    renamed = {"op": "replace", "path": "/name", "value": "new"}
    reply = await scene.api.patch(image_id, renamed, {"op": "remove", "path": "/locations/0"})
    assert reply.status == 409
    assert await scene.api.show(image_id) == before | {"updated_at": (await scene.api.show(image_id))["updated_at"]}
    scene.store.clings = False
    assert (await scene.remove(image_id, 0)).status == 200


@pytest_twisted.ensureDeferred
async def test_remove_all_at_once(scene: Scene) -> None:
    """Who removes different locations at the same time does not remove the last one."""
    image_id = await scene.image(at("a"), at("b"), at("c"))
    replies = await gatherResults([Deferred.fromCoroutine(scene.remove(image_id, place)) for place in range(3)])
    assert sorted(reply.status for reply in replies).count(200) <= 2
    # 400: the place is gone, if others were through before it was read
    assert all(reply.status in (200, 400, 403, 409) for reply in replies)
    assert len(await scene.urls(image_id)) >= 1


@pytest_twisted.ensureDeferred
async def test_invisible(api: Api) -> None:
    """Where locations are not shown they cannot be changed either."""
    image_id = await api.create()
    reply = await api.patch(image_id, {"op": "add", "path": "/locations/-", "value": at("a")})
    assert reply.status == 403
    assert "invisible" in reply.json["message"]
    assert "locations" not in await api.show(image_id)
    assert (await api.request("GET", f"/v2/images/{image_id}/locations")).json == []


@pytest_twisted.ensureDeferred
async def test_storage_quota(start: Started, tmp_path: Path) -> None:
    """Data that others have put somewhere counts as what is uploaded."""
    images = ImagesSettings(show_multiple_locations=True, user_storage_quota=2 * len(DATA))
    api = await start(settings_in(tmp_path, images=images), stores={"fast": Clinging("fast"), "web": Web()})
    scene = Scene(api, Clinging("fast"))
    image_id = await scene.image(at("a"), at("b"))
    assert (await scene.add(image_id, at("c"))).status == 413
    assert await scene.urls(image_id) == ["http://web/a", "http://web/b"]


@pytest_twisted.ensureDeferred
async def test_remove_from_store(scene: Scene) -> None:
    """A copy is deleted by the name of its store, unless it is the only one."""
    image_id = await scene.api.create()

    async def remove(store: str) -> int:
        return (await scene.api.request("DELETE", f"/v2/stores/{store}/{image_id}")).status

    assert await remove("fast") == 409
    await scene.api.upload(image_id, DATA)
    assert await remove("fast") == 403
    await scene.add(image_id, at("a"))
    assert await remove("elsewhere") == 409
    assert await remove("fast") == 204
    assert scene.store.urls == []
    await scene.add(image_id, at("b"))
    assert await remove("fast") == 404
    assert await remove("web") == 204
    assert await scene.urls(image_id) == ["http://web/b"]


@pytest_twisted.ensureDeferred
async def test_locations_of_another_key(start: Started, tmp_path: Path) -> None:
    """What another metadata_encryption_key has written is not taken for gone: neither image nor data is lost."""
    api = await start(settings_in(tmp_path))
    image_id = await api.create()
    await api.upload(image_id, DATA)
    sealed = "UPDATE image_locations SET value = ? WHERE image_id = ?"
    text = Seal.of("k" * 16).close("file:///x")
    await api.service._engine.interact(lambda c: c.exec_driver_sql(sealed, (text, image_id)) and None)
    for method, path in (("GET", "/file"), ("DELETE", ""), ("GET", "/file")):
        assert (await api.request(method, f"/v2/images/{image_id}{path}")).status == 503
    assert (await api.show(image_id))["status"] == "active"
