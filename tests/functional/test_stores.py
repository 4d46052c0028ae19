"""Several stores behind the API: which one takes an upload, and which one a download comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.config.settings import FilesystemSettings, ScrubSettings, StoresSettings
from glancetx.db.children import add_location
from glancetx.db.scrub import restore
from glancetx.domain.errors import Conflict, Forbidden, RemovalUnknown, StoreUnavailable
from glancetx.domain.image import Location, utc_now
from glancetx.interfaces import IStore, Stored
from glancetx.streams import BytesSource, gather
from glancetx.testing.fakes import MemoryStore, ScriptedSource
from tests.running import Api, Started, settings_in


@implementer(IStore)
class Moody(MemoryStore):
    """A store that can be away; *asked* counts who wanted to read."""

    def __init__(self, identifier: str) -> None:
        super().__init__(identifier, metadata={"store": identifier})
        self.away = False
        self.asked = 0
        self.discarded: list[str] = []

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        if self.away:
            body.stopProducing()
            raise StoreUnavailable("away")
        return await super().add(image_id, body, attempt)

    async def discard(self, image_id: str, attempt: str) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.discarded.append(attempt)
        await super().discard(image_id, attempt)

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> Any:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        return await super().get(url, offset, length)


@pytest_twisted.ensureDeferred
async def test_chooses_by_header(start: Started, tmp_path: Path) -> None:
    """X-Image-Meta-Store names the store of an upload; an unknown one is refused before any byte."""
    stores = {name: Moody(name) for name in ("first", "second")}
    api = await start(settings_in(tmp_path), stores=stores)
    image = await api.create()
    assert (await api.upload(image, b"data", X_Image_Meta_Store="third")).status == 400
    assert (await api.upload(image, b"data", X_Image_Meta_Store="second")).status == 204
    assert (await api.show(image))["stores"] == "second"
    assert len(stores["second"].urls) == 1
    assert stores["first"].urls == []
    reply = await api.request("POST", "/v2/images", b"{}", Content_Type="application/json")
    assert reply.header("OpenStack-image-store-ids") == "first,second"


@pytest_twisted.ensureDeferred
async def test_upload_into_a_store_that_is_away(start: Started, tmp_path: Path) -> None:
    """The image is queued again at once, and another store takes it; what the first one may have is discarded later."""
    stores = {name: Moody(name) for name in ("first", "second")}
    first = stores["first"]
    api = await start(settings_in(tmp_path), stores=stores)
    image = await api.create()
    first.away = True
    assert (await api.upload(image, b"data")).status == 503
    assert (await api.show(image))["status"] == "queued"
    assert (await api.upload(image, b"data", X_Image_Meta_Store="second")).status == 204
    reaper = api.service.background.reaper
    await reaper.run_once()
    assert not first.discarded
    first.away = False
    await reaper.run_once()
    await reaper.run_once()
    assert len(first.discarded) == 1
    assert await with_prefer(api, image, "second") == (200, b"data")


async def with_prefer(api: Api, image: str, prefer: str) -> tuple[int, bytes]:
    reply = await api.request("GET", f"/v2/images/{image}/file?prefer={prefer}")
    return reply.status, reply.body


@pytest.mark.parametrize("name", ["first", "second", "second,first"])
@pytest_twisted.ensureDeferred
async def test_prefers(start: Started, tmp_path: Path, name: str) -> None:
    """``prefer`` is a wish: the data comes from wherever it is."""
    stores = {name: Moody(name) for name in ("first", "second")}
    api = await start(settings_in(tmp_path), stores=stores)
    image = await api.create()
    await api.upload(image, b"data", X_Image_Meta_Store="second")
    assert await with_prefer(api, image, name) == (200, b"data")
    assert (await with_prefer(api, image, "third"))[0] == 400
    stores["second"].away = True
    assert (await with_prefer(api, image, name))[0] == 503


@pytest_twisted.ensureDeferred
async def test_prefers_nothing_with_one_store(start: Started, tmp_path: Path) -> None:
    """Without several stores there is nothing to choose."""
    settings = StoresSettings(filesystems=(FilesystemSettings(datadir=tmp_path / "images"),))
    api = await start(settings_in(tmp_path, stores=settings))
    image = await api.create()
    await api.upload(image, b"data")
    assert (await with_prefer(api, image, "file"))[0] == 400
    assert await with_prefer(api, image, "") == (200, b"data")


class Mute(MemoryStore):
    """A store that does not say what became of a removal, which it does or does not do; or refuses it."""

    mood = ""

    def __init__(self, identifier: str) -> None:
        super().__init__(identifier, metadata={"store": identifier})

    async def delete(self, url: str) -> None:
        if self.mood == "refuses":
            raise Forbidden("no")
        if self.mood != "waits":
            await super().delete(url)
        if self.mood:
            raise RemovalUnknown("no answer")


@pytest.mark.parametrize("mood", ["obeys", "waits"])
@pytest_twisted.ensureDeferred
async def test_a_store_that_does_not_say_whether_it_removed(start: Started, tmp_path: Path, mood: str) -> None:
    """The image goes as soon as the store answers: nothing points to data that is gone, and none stays."""
    store = Mute("mute")
    api = await start(settings_in(tmp_path), stores={"mute": store})
    image = await api.create()
    await api.upload(image, b"data")
    store.mood = mood
    assert (await api.request("DELETE", f"/v2/images/{image}")).status == 503
    store.mood = ""
    assert await api.service.background.reaper.run_once() == 1
    assert (await api.request("GET", f"/v2/images/{image}")).status == 404
    assert store.urls == []


@pytest.mark.parametrize("mood", ["obeys", "waits"])
@pytest_twisted.ensureDeferred
async def test_a_copy_of_which_that_is_not_known(start: Started, tmp_path: Path, mood: str) -> None:
    """It is the image's no more, and the scrubber's."""
    api, stores, image = await copied(start, tmp_path)
    stores["first"].mood = mood
    assert (await api.request("DELETE", f"/v2/stores/first/{image}")).status == 204
    assert (await api.show(image))["stores"] == "second"
    stores["first"].mood = ""
    await api.service.background.scrubber.run_once()
    assert stores["first"].urls == []
    assert (await api.request("GET", f"/v2/images/{image}/file")).body == b"data"


@pytest.mark.parametrize("mood", ["obeys", "waits"])
@pytest_twisted.ensureDeferred
async def test_not_restored_without_its_data(start: Started, tmp_path: Path, mood: str) -> None:
    """What a scrubber has perhaps removed does not come back, and is removed when the store answers."""
    store = Mute("mute")
    api = await start(settings_in(tmp_path, scrub=ScrubSettings(delayed_delete=True)), stores={"mute": store})
    image = await api.create()
    await api.upload(image, b"data")
    assert (await api.request("DELETE", f"/v2/images/{image}")).status == 204
    store.mood = mood
    assert await api.service.background.scrubber.run_once() == 0
    with pytest.raises(Conflict):
        await api.service._engine.interact(restore, image)
    store.mood = ""
    assert await api.service.background.reaper.run_once() == 1
    with pytest.raises(Conflict):
        await api.service._engine.interact(restore, image)
    assert store.urls == []


@pytest_twisted.ensureDeferred
async def test_one_store_refuses(start: Started, tmp_path: Path) -> None:
    """The image stays, without the copy that another store has removed; nobody tries to end what was refused."""
    api, stores, image = await copied(start, tmp_path)
    stores["second"].mood = "refuses"
    assert (await api.request("DELETE", f"/v2/images/{image}")).status == 403
    assert (await api.show(image))["stores"] == "second"
    stores["second"].mood = ""
    assert await api.service.background.reaper.run_once() == 0
    assert (await api.request("GET", f"/v2/images/{image}/file")).body == b"data"
    assert (await api.request("DELETE", f"/v2/images/{image}")).status == 204
    assert stores["first"].urls == stores["second"].urls == []


async def copied(start: Started, folder: Path) -> tuple[Api, dict[str, Mute], str]:
    """An image with a copy in each of two stores."""
    stores = {name: Mute(name) for name in ("first", "second")}
    api = await start(settings_in(folder), stores=stores)
    image = await api.create()
    await api.upload(image, b"data")
    stored = await stores["second"].add(image, BytesSource(b"data"), "0" * 32)
    second = Location(url=stored.url, metadata=stored.metadata)
    await api.service._engine.interact(add_location, image, second, utc_now())
    return api, stores, image


class Dying(Moody):
    """A store whose data breaks off after some bytes while it is *away*."""

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> Any:
        away, self.away = self.away, False
        source = await super().get(url, offset, length)
        self.away = away
        if not away:
            return source
        rest = (await self.content(url))[offset:]
        return ScriptedSource(rest[:1000], error=StoreUnavailable("broken"), length=length or len(rest))

    async def content(self, url: str) -> bytes:
        return await gather(await MemoryStore.get(self, url), 1_000_000)


@pytest_twisted.ensureDeferred
async def test_another_copy_goes_on(start: Started, tmp_path: Path) -> None:
    """When a store breaks off, the client gets the rest from another copy, and notices nothing."""
    data = bytes(range(256)) * 100
    stores = {name: Dying(name) for name in ("first", "second")}
    api = await start(settings_in(tmp_path), stores=stores)
    image = await api.create()
    await api.upload(image, data, X_Image_Meta_Store="first")
    await stores["second"].add(image, BytesSource(data), "0" * 32)
    copy = Location(url=f"memory://second/{image}", metadata={"store": "second"})
    await api.service._engine.interact(add_location, image, copy, utc_now())
    stores["first"].away = True
    reply = await api.request("GET", f"/v2/images/{image}/file?prefer=first")
    assert (reply.status, reply.body) == (200, data)
    assert stores["first"].asked == 1
    assert stores["second"].asked == 1
    reply = await api.request("GET", f"/v2/images/{image}/file?prefer=first", Range="bytes=500-24999")
    assert (reply.status, reply.body) == (206, data[500:25000])
