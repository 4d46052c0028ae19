"""Copies of active images in more stores: from one read, all or as many as may be, and the image stays as it is.

Contract rows P-013.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from sqlalchemy import update
from twisted.internet.defer import Deferred

from glancetx.config.settings import FilesystemSettings, ImportSettings, Settings, StoresSettings
from glancetx.db.copies import LONG_AGO
from glancetx.db.schema import image_locations
from glancetx.domain.importing import COPY_IMAGE
from glancetx.testing.fakes import MemoryStore, until
from glancetx.testing.stores import the_reactor
from tests.functional.test_import import FailingStore, Told, WaitingStore, ended, staged, start_import
from tests.running import Api, Started, settings_in

CONTENT = os.urandom(700_000)
COPY = {"method": {"name": COPY_IMAGE}}
NAMES = ("fast", "cheap", "far")


def copying(folder: Path) -> ImportSettings:
    return ImportSettings(methods=(COPY_IMAGE,), staging=folder / "staging")


def three_stores(folder: Path) -> Settings:
    filesystems = tuple(FilesystemSettings(identifier=name, datadir=folder / name) for name in NAMES)
    stores = StoresSettings(multiple=True, default="fast", filesystems=filesystems)
    return settings_in(folder, stores=stores, imports=copying(folder))


async def uploaded(api: Api) -> str:
    image_id = await api.create()
    assert (await api.upload(image_id, CONTENT)).status == 204
    return image_id


def held(folder: Path, image_id: str) -> list[str]:
    return [name for name in NAMES if (folder / name / image_id).exists()]


@pytest.mark.parametrize(
    ("body", "stores"),
    [
        ({"all_stores": True}, ["fast", "cheap", "far"]),
        ({"all_stores": True, "all_stores_must_succeed": False}, ["fast", "cheap", "far"]),
        ({"stores": ["far"]}, ["fast", "far"]),
        ({"stores": ["far", "cheap"]}, ["fast", "far", "cheap"]),
    ],
)
@pytest_twisted.ensureDeferred
async def test_copied(start: Started, tmp_path: Path, body: dict[str, Any], stores: list[str]) -> None:
    """The image has more locations, and is otherwise as it was; nothing is staged on the way."""
    told = Told()
    api = await start(three_stores(tmp_path), notifier=told)
    image_id = await uploaded(api)
    before = await api.show(image_id)
    number = len(told.events)
    assert (await start_import(api, image_id, COPY | body)).status == 202
    task = await ended(api, image_id)
    assert task["status"] == "success", task
    image = await api.show(image_id)
    assert image["stores"].split(",") == stores
    changing = {"stores", "updated_at", "os_glance_importing_to_stores", "os_glance_failed_import"}
    assert {key: value for key, value in image.items() if key not in changing} == {
        key: value for key, value in before.items() if key not in changing
    }
    assert held(tmp_path, image_id) == [name for name in NAMES if name in stores]
    assert {(tmp_path / name / image_id).read_bytes() for name in stores} == {CONTENT}
    assert staged(api) == []
    names = [name for name, _ in told.events[number:]]
    assert "image.activate" not in names
    assert names.count("image.upload") == len(stores) - 1


@pytest_twisted.ensureDeferred
async def test_everywhere(start: Started, tmp_path: Path) -> None:
    """There is nothing to do, and no task."""
    api = await start(three_stores(tmp_path))
    image_id = await uploaded(api)
    await start_import(api, image_id, COPY | {"all_stores": True})
    await ended(api, image_id)
    assert (await start_import(api, image_id, COPY | {"all_stores": True})).status == 202
    assert len((await api.request("GET", f"/v2/images/{image_id}/tasks")).json["tasks"]) == 1


@pytest_twisted.ensureDeferred
async def test_refused(start: Started, tmp_path: Path) -> None:
    """A store that has it, one that is unknown, an image without data."""
    api = await start(three_stores(tmp_path))
    image_id = await uploaded(api)
    assert (await start_import(api, image_id, COPY | {"stores": ["far", "fast"]})).status == 400
    assert (await start_import(api, image_id, COPY)).status == 400  # the default store
    assert (await start_import(api, image_id, COPY | {"stores": ["nope"]})).status == 409
    assert (await start_import(api, await api.create(), COPY | {"stores": ["far"]})).status == 409
    assert (await start_import(api, "nope", COPY | {"stores": ["far"]})).status == 404


@pytest_twisted.ensureDeferred
async def test_one_store(start: Started, tmp_path: Path) -> None:
    """Where there is but one store the image is there already, though its location does not tell."""
    api = await start(settings_in(tmp_path, imports=copying(tmp_path)))
    image_id = await uploaded(api)
    assert (await start_import(api, image_id, COPY)).status == 400


@pytest.mark.parametrize("must", [True, False])
@pytest_twisted.ensureDeferred
async def test_one_store_fails(start: Started, tmp_path: Path, must: bool) -> None:
    """The others keep their copies if they may; the image is active all the time."""
    stores = {name: MemoryStore(name, metadata={"store": name}) for name in ("first", "good")}
    settings = settings_in(tmp_path, imports=copying(tmp_path))
    api = await start(settings, stores=stores | {"bad": FailingStore("bad", metadata={"store": "bad"})})
    image_id = await uploaded(api)
    body = COPY | {"all_stores": True, "all_stores_must_succeed": must}
    assert (await start_import(api, image_id, body)).status == 202
    assert (await ended(api, image_id))["status"] == ("failure" if must else "success")
    image = await api.show(image_id)
    assert (image["status"], image["os_glance_failed_import"]) == ("active", "bad")
    assert image["stores"] == ("first" if must else "first,good")
    assert len(stores["good"].urls) == (0 if must else 1)
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == CONTENT


@pytest_twisted.ensureDeferred
async def test_damaged(start: Started, tmp_path: Path) -> None:
    """What is read is compared with what the image says: a damaged copy is not multiplied."""
    api = await start(three_stores(tmp_path))
    image_id = await uploaded(api)
    path = tmp_path / "fast" / image_id
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    await start_import(api, image_id, COPY | {"stores": ["far"]})
    assert (await ended(api, image_id))["status"] == "failure"
    assert held(tmp_path, image_id) == ["fast"]
    assert (await api.show(image_id))["status"] == "active"


@pytest_twisted.ensureDeferred
async def test_deleted_meanwhile(start: Started, tmp_path: Path) -> None:
    """Deleting the image ends the copying, and no store keeps anything."""
    from twisted.internet import reactor

    first, slow = MemoryStore("first", metadata={"store": "first"}), WaitingStore("slow")
    settings = settings_in(tmp_path, imports=copying(tmp_path))
    api = await start(settings, stores={"first": first, "slow": slow})
    image_id = await uploaded(api)
    await start_import(api, image_id, COPY | {"all_stores": True})
    await until(reactor, lambda: slow.reached)
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 204
    await until(reactor, lambda: slow.left)
    assert (first.urls, slow.urls) == ([], [])


@pytest_twisted.ensureDeferred
async def test_stopped_and_started(start: Started, tmp_path: Path) -> None:
    """The next service goes on with it."""
    from twisted.internet import reactor

    first, slow = MemoryStore("first", metadata={"store": "first"}), WaitingStore("slow")
    settings = settings_in(tmp_path, imports=copying(tmp_path))
    api = await start(settings, stores={"first": first, "slow": slow})
    image_id = await uploaded(api)
    await start_import(api, image_id, COPY | {"all_stores": True})
    await until(reactor, lambda: slow.reached)
    await api.service.stopService()
    free = MemoryStore("slow", metadata={"store": "slow"})
    again = await start(evolve(settings), stores={"first": first, "slow": free})
    assert (await ended(again, image_id))["status"] == "success"
    assert (await again.show(image_id))["stores"] == "first,slow"
    assert len(free.urls) == 1


class HeldStore(MemoryStore):
    """Who removes data is held between his look and the removal, until the test lets him."""

    def __init__(self, identifier: str) -> None:
        super().__init__(identifier, metadata={"store": identifier})
        self.held: Deferred[None] | None = None

    async def delete(self, url: str) -> None:
        if self.held is None:
            self.held = Deferred()
            await self.held
        await super().delete(url)


@pytest_twisted.ensureDeferred
async def test_a_removal_that_slept(start: Started, tmp_path: Path) -> None:
    """The scrubber has done its work, and the image was copied there again: that copy stays."""
    slow = HeldStore("slow")
    stores = {"first": MemoryStore("first", metadata={"store": "first"}), "slow": slow}
    api = await start(settings_in(tmp_path, imports=copying(tmp_path)), stores=stores)
    image_id = await uploaded(api)
    assert (await start_import(api, image_id, COPY | {"stores": ["slow"]})).status == 202
    assert (await ended(api, image_id))["status"] == "success"
    removing = Deferred.fromCoroutine(api.request("DELETE", f"/v2/stores/slow/{image_id}"))
    await until(the_reactor(), lambda: slow.held is not None)
    left = update(image_locations).where(image_locations.c.status == "pending_delete")
    await api.service._engine.interact(lambda connection: connection.execute(left.values(updated_at=LONG_AGO)) and None)
    await api.service.background.scrubber.run_once()
    assert slow.urls == []
    assert (await start_import(api, image_id, COPY | {"stores": ["slow"]})).status == 202
    assert (await ended(api, image_id))["status"] == "success"
    api.service._claims._renewed = LONG_AGO
    assert slow.held is not None
    slow.held.callback(None)
    assert (await removing).status == 503
    assert slow.urls == [slow.url_prefix + image_id]
    assert (await api.show(image_id))["stores"] == "first,slow"
