"""Data that no image has is found, told, and removed only if that is certain and wanted."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from sqlalchemy import insert, update
from twisted.internet.defer import Deferred, gatherResults

from glancetx.config.settings import (
    FilesystemSettings,
    ImagesSettings,
    ScrubSettings,
    Settings,
    StoresSettings,
    StraySettings,
)
from glancetx.db.census import Census
from glancetx.db.schema import image_locations, image_properties, images
from glancetx.db.scrub import restore
from glancetx.db.strays import Strays
from glancetx.domain.claim import LOCATION, UPLOAD, Claim
from glancetx.domain.image import utc_now
from glancetx.domain.listed import Item, Stray
from glancetx.streams import BytesSource
from glancetx.testing.fakes import MemoryStore
from tests.running import Api, Started, settings_in

AT_ONCE = StraySettings(stray_rate=10**9, stray_grace=0, stray_period=0)


def two_stores(folder: Path, **changes: Any) -> Settings:
    stores = tuple(FilesystemSettings(identifier=name, datadir=folder / name) for name in ("fast", "cheap"))
    settings = settings_in(folder, stores=StoresSettings(multiple=True, default="fast", filesystems=stores))
    return evolve(settings, strays=evolve(AT_ONCE, **changes))


def one_store(folder: Path, **changes: Any) -> Settings:
    return settings_in(folder, strays=evolve(AT_ONCE, **changes))


def strew(folder: Path, name: str | None = None, data: bytes = b"0123456789") -> Path:
    """A file that nobody knows."""
    path = folder / (name or str(uuid.uuid4()))
    path.write_bytes(data)
    return path


async def survey(api: Api) -> list[Stray]:
    """What is noted after a whole walk through all stores."""
    await api.service.background.surveyor.run_all()
    return await strays_of(api).listed()


def strays_of(api: Api) -> Strays:
    return Strays(api.service._engine)


async def names(api: Api) -> list[str]:
    return sorted(stray.item.name for stray in await survey(api))


async def remove(api: Api, *strays: Stray) -> list[bool]:
    return [await api.service.background.stray_removal.remove(stray) for stray in strays]


async def filled(api: Api, **headers: str) -> str:
    image_id = await api.create()
    assert (await api.upload(image_id, b"0123456789", **headers)).status == 204
    return image_id


@pytest_twisted.ensureDeferred
async def test_found(start: Started, tmp_path: Path) -> None:
    """In both stores what no image has is found, whole or not; what images have, and what is no image's, is not."""
    api = await start(two_stores(tmp_path))
    for store in ("fast", "cheap", "fast"):
        await filled(api, X_Image_Meta_Store=store)
    gone = await filled(api)
    lost = strew(tmp_path / "cheap", await filled(api))  # an image's, but not in this store
    (tmp_path / "kept").write_bytes((tmp_path / "fast" / gone).read_bytes())
    assert (await api.request("DELETE", f"/v2/images/{gone}")).status == 204
    back = strew(tmp_path / "fast", gone)
    part = strew(tmp_path / "cheap", f".{uuid.uuid4()}.{uuid.uuid4().hex}.part")
    for other in ("notes.txt", ".mounted", f"{uuid.uuid4()}.bak", f".{uuid.uuid4()}.part", "x" * 36):
        strew(tmp_path / "fast", other)
    (tmp_path / "fast" / str(uuid.uuid4())).mkdir()
    assert await names(api) == sorted(map(str, (lost, back, part)))
    counts = await strays_of(api).counts()
    assert {name: (found.count, found.size) for name, found in counts.items()} == {"fast": (1, 10), "cheap": (2, 20)}
    assert api.service.background.surveyor.status()["strays"] == {"fast": 1, "cheap": 2}
    facts = await Census(api.service._engine).facts()
    assert facts.strays == counts


@pytest_twisted.ensureDeferred
async def test_young_data_is_left_alone(start: Started, tmp_path: Path) -> None:
    """Whoever has just written it may be about to say so."""
    api = await start(one_store(tmp_path, stray_grace=3600))
    young, old = strew(tmp_path / "images"), strew(tmp_path / "images")
    os.utime(old, (0, 0))  # the time of the last change of any kind still is now
    assert await survey(api) == []
    await api.service.stopService()
    api = await start(one_store(tmp_path))
    assert await names(api) == sorted(map(str, (young, old)))


@pytest_twisted.ensureDeferred
async def test_pages(start: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk goes on where the one before ended, page by page, and sees everything once, whoever goes on."""
    monkeypatch.setattr("glancetx.services.surveyor.PAGE", 7)
    api = await start(two_stores(tmp_path))
    for store in ("fast", "cheap"):
        for _ in range(20):
            strew(tmp_path / store)
    looked = await gatherResults([Deferred.fromCoroutine(api.service.background.surveyor.run_all()) for _ in range(3)])
    assert sum(looked) >= 40
    assert len(await strays_of(api).listed()) == 40
    assert {name: found.count for name, found in (await strays_of(api).counts()).items()} == {"fast": 20, "cheap": 20}
    for path in (tmp_path / "fast").iterdir():
        path.unlink()
    assert len(await survey(api)) == 20


@pytest_twisted.ensureDeferred
async def test_what_somebody_may_be_about_to_have(start: Started, tmp_path: Path) -> None:
    """Images that are filled, by us or by a Glance, are to be copied, or wait for the scrubber are not touched."""
    api = await start(one_store(tmp_path))
    engine, folder = api.service._engine, tmp_path / "images"
    filling = {status: await api.create() for status in ("saving", "uploading", "importing", "pending_delete")}
    copying, claimed, queued = await api.create(), str(uuid.uuid4()), await api.create()

    def prepare(connection: Any) -> None:
        for status, image_id in filling.items():
            connection.execute(update(images).where(images.c.id == image_id).values(status=status))
        now = utc_now()
        connection.execute(
            insert(image_properties).values(
                image_id=copying, name="os_glance_import_task", value="x", created_at=now, updated_at=now, deleted=False
            )
        )

    await engine.interact(prepare)
    process = api.service._process.id
    claim = Claim(id="c" * 32, kind=UPLOAD, image_id=claimed, store="file", process=process)
    with api.service._claims.working_on(claim):
        await api.service._claims.take(claim)
        for image_id in (*filling.values(), copying, claimed):
            strew(folder, image_id)
        left = strew(folder, queued)  # a Glance that died leaves such a file, which is in the way of every upload
        assert await names(api) == [str(left)]


@pytest_twisted.ensureDeferred
async def test_other_names_for_the_same(start: Started, tmp_path: Path) -> None:
    """What a location reaches by another path, or has under another image's id, is no stray."""
    api = await start(one_store(tmp_path))
    folder = tmp_path / "images"
    (tmp_path / "old").symlink_to(folder)
    linked, moved, shared = [await filled(api) for _ in range(3)]
    strew(folder, "11111111-2222-3333-4444-555555555555")

    def change(connection: Any) -> None:
        urls = {
            linked: f"file://{tmp_path}/old/{linked}",
            moved: f"filesystem:///somewhere/else/{moved}",
            shared: f"file://{folder}/11111111-2222-3333-4444-555555555555",
        }
        for image_id, url in urls.items():
            connection.execute(update(image_locations).where(image_locations.c.image_id == image_id).values(value=url))

    await api.service._engine.interact(change)
    assert await names(api) == [str(folder / shared)]


@pytest_twisted.ensureDeferred
async def test_superseded_drafts(start: Started, tmp_path: Path) -> None:
    """A draft beside an image's whole data is nobody's; one of an image whose data is missing may be all there is."""
    api = await start(one_store(tmp_path))
    whole, missing = await filled(api), await filled(api)
    drafts = [strew(tmp_path / "images", f".{image_id}.{'a' * 32}.part") for image_id in (whole, missing)]
    (tmp_path / "images" / missing).unlink()
    (found,) = await survey(api)
    assert found.item.name == str(drafts[0])
    assert await remove(api, found) == [True]
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == sorted([whole, drafts[1].name])


@pytest_twisted.ensureDeferred
async def test_removed(start: Started, tmp_path: Path) -> None:
    """What is removed is gone, from the store and from the list; what is gone already is success."""
    api = await start(one_store(tmp_path))
    paths = [strew(tmp_path / "images") for _ in range(2)]
    found = await survey(api)
    paths[0].unlink()
    assert await remove(api, *found) == [True, True]
    assert list((tmp_path / "images").iterdir()) == []
    assert await strays_of(api).listed() == []
    assert await api.service._claims.orphans() == []


@pytest_twisted.ensureDeferred
async def test_somebody_has_it_by_now(start: Started, tmp_path: Path) -> None:
    """Since it was found an image came to have it, it was written to, or somebody has begun to work: it stays."""
    api = await start(one_store(tmp_path))
    folder, engine = tmp_path / "images", api.service._engine
    restored = await filled(api)
    taken, written, worked = (strew(folder) for _ in range(3))

    def lose(connection: Any) -> None:
        gone = {"status": "deleted", "deleted": True, "deleted_at": utc_now()}
        connection.execute(update(image_locations).where(image_locations.c.image_id == restored).values(gone))

    def regain(connection: Any) -> None:
        back = {"status": "active", "deleted": False, "deleted_at": None}
        table = image_locations
        connection.execute(update(table).where(table.c.image_id == restored).values(back))
        now = utc_now()
        connection.execute(
            insert(table).values(
                {"image_id": restored, "value": f"file://{taken}", "created_at": now, "updated_at": now, **back}
            )
        )

    await engine.interact(lose)
    found = await survey(api)
    assert len(found) == 4
    await engine.interact(regain)
    written.write_bytes(b"more than there was")
    process = api.service._process.id
    for claim in (
        Claim(id="c" * 32, kind=UPLOAD, image_id=worked.name, store="file", process=process),
        Claim(id="d" * 32, kind=LOCATION, image_id=restored, store="", process=process),
    ):
        with api.service._claims.working_on(claim):
            await api.service._claims.take(claim)
            assert await remove(api, *found) == [False] * 4
            await api.service._claims.release(claim)
    assert len(list(folder.iterdir())) == 4
    assert sorted(await names(api)) == sorted(map(str, (written, worked)))
    assert (await api.request("GET", f"/v2/images/{restored}/file")).body == b"0123456789"


class InterruptedStore(MemoryStore):
    """Has *interrupted* done in the last moment before it removes data."""

    interrupted: Callable[[], Awaitable[None]]

    async def remove(self, item: Item) -> None:
        await self.interrupted()
        await super().remove(item)


@pytest_twisted.ensureDeferred
async def test_a_location_in_the_last_moment(start: Started, tmp_path: Path) -> None:
    """Whoever adds a location to data that is just being removed is refused, as if it was gone."""
    store, stray = InterruptedStore(), str(uuid.uuid4())
    settings = evolve(one_store(tmp_path), images=ImagesSettings(show_multiple_locations=True))
    api = await start(settings, stores={"memory": store})
    stored = await store.add(stray, BytesSource(b"0123456789"), uuid.uuid4().hex)
    image_id, answers = await api.create(), []

    async def add() -> None:
        place = {"op": "add", "path": "/locations/-", "value": {"url": stored.url, "metadata": {}}}
        answers.append((await api.patch(image_id, place)).status)

    store.interrupted = add
    assert await remove(api, *await survey(api)) == [True]
    assert answers == [400]
    assert (await api.show(image_id))["locations"] == []
    assert await api.service._claims.orphans() == []


@pytest_twisted.ensureDeferred
async def test_what_the_scrubber_keeps(start: Started, tmp_path: Path) -> None:
    """The data of an image that waits for the scrubber is no stray, and it comes back whole."""
    api = await start(evolve(one_store(tmp_path), scrub=ScrubSettings(delayed_delete=True, scrub_time=3600)))
    image_id = await filled(api)
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 204
    assert await survey(api) == []
    await api.service._engine.interact(restore, image_id)
    assert await survey(api) == []
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == b"0123456789"


@pytest_twisted.ensureDeferred
async def test_removed_by_itself(start: Started, tmp_path: Path) -> None:
    """Only if the operator wants that, after the time he gives, and not if most of the store is nobody's."""
    api = await start(one_store(tmp_path, remove_strays_after=1e-9))
    paths = [strew(tmp_path / "images") for _ in range(3)]
    assert len(await survey(api)) == 3
    for _ in range(3):
        await filled(api)
    await survey(api)
    await survey(api)
    assert not any(path.exists() for path in paths)
    assert len(list((tmp_path / "images").iterdir())) == 3
    assert api.service.background.surveyor.removed == 3


@pytest_twisted.ensureDeferred
async def test_stores_that_are_left_out(start: Started, tmp_path: Path) -> None:
    """Of a store that others use as well the operator says that it is not to be searched."""
    api = await start(two_stores(tmp_path, stray_stores=("cheap",)))
    strew(tmp_path / "fast")
    path = strew(tmp_path / "cheap")
    assert await names(api) == [str(path)]


@pytest_twisted.ensureDeferred
async def test_a_store_that_fails(start: Started, tmp_path: Path) -> None:
    """It keeps no other store from its turn."""
    api = await start(two_stores(tmp_path))
    path = strew(tmp_path / "cheap")
    (tmp_path / "fast").rmdir()
    assert await names(api) == [str(path)]


@pytest_twisted.ensureDeferred
async def test_by_the_period(start: Started, tmp_path: Path) -> None:
    """A run does nothing until the next walk is due; what is found stays known."""
    api = await start(one_store(tmp_path, stray_period=3600))
    strew(tmp_path / "images")
    surveyor = api.service.background.surveyor
    assert await surveyor.run_once() == 1
    strew(tmp_path / "images")
    assert await surveyor.run_once() == 0
    assert len(await strays_of(api).listed()) == 1
    assert json.loads(json.dumps(surveyor.status()))["strays"] == {"file": 1}
