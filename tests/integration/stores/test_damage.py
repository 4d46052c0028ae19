"""A hundred and forty damaged copies in a directory and in Swift: all are found, and mended from the others."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest_twisted
from attrs import define, evolve
from sqlalchemy import insert, select, update
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.task import cooperate
from twisted.web.client import ResponseFailed

from glancetx.config.settings import AuditSettings, FilesystemSettings, StoresSettings
from glancetx.db.copies import Copies
from glancetx.db.schema import image_locations, images
from glancetx.domain.copy import CORRUPT, MISSING, SOUND, Copy
from glancetx.domain.image import utc_now
from glancetx.streams import BytesSource
from glancetx.testing.stores import new_attempt, read
from tests.functional.conftest import start as start
from tests.functional.test_audit import flip
from tests.integration.stores.test_swift import settings_for
from tests.running import Api, Started, settings_in
from tests.services.objects import SwiftServer
from tests.services.programs import Processes

IMAGES: Final = 150
FLIPPED, GONE, CUT = 100, 20, 20
READERS: Final = 2
Place = tuple[str, str]
"""A copy: the id of its image, and its store."""


@define
class Damaged:
    """The service, what its images are, and where the bytes of each copy lie."""

    api: Api
    contents: dict[str, bytes]
    files: dict[Place, Path]


async def filled(api: Api, swift: SwiftServer, devices: Path) -> Damaged:
    """Images with a copy in each store, made two days ago as far as the database knows."""
    damaged = Damaged(api, {}, {})
    store = api.service._stores.get("cloud")
    urls = dict[str, str]()

    async def add(content: bytes) -> None:
        image_id = await api.create()
        assert (await api.upload(image_id, content)).status == 204
        urls[image_id] = (await store.add(image_id, BytesSource(content), new_attempt())).url
        damaged.contents[image_id] = content

    at_once = DeferredSemaphore(4)
    contents = [os.urandom(random.randrange(3000, 6000)) for _ in range(IMAGES)]
    await gatherResults([at_once.run(lambda content: Deferred.fromCoroutine(add(content)), each) for each in contents])
    objects = data_files(devices)
    for image_id, url in urls.items():
        damaged.files[image_id, "disk"] = api.folder / "images" / image_id
        damaged.files[image_id, "cloud"] = objects[object_name(swift, url)]

    def note(connection: Any) -> None:
        old = utc_now() - timedelta(days=2)
        for image_id, url in urls.items():
            values = {"image_id": image_id, "value": url, "meta_data": '{"store": "cloud"}', "status": "active"}
            connection.execute(insert(image_locations).values(**values, created_at=old, updated_at=old, deleted=False))
        connection.execute(update(image_locations).values(created_at=old))
        connection.execute(update(images).values(updated_at=old))

    await api.service._engine.interact(note)
    return damaged


def data_files(devices: Path) -> dict[str, Path]:
    """All objects of Swift, by the names of their folders."""
    return {path.parent.name: path for path in devices.glob("d1/objects/*/*/*/*.data")}


def object_name(swift: SwiftServer, url: str) -> str:
    """What Swift calls the folder of an object, of which there is one replica."""
    container, key = url.split("/")[-2:]
    account = urlsplit(swift.storage_url).path.split("/")[-1]
    return hashlib.md5(f"a/{account}/{container}/{key}b".encode()).hexdigest()


def damage(damaged: Damaged, dice: random.Random) -> set[Place]:
    """Flip a bit in a hundred copies, delete twenty and cut twenty short; of some images in both stores."""
    places = dice.sample(sorted(damaged.files), FLIPPED + GONE + CUT)
    for number, place in enumerate(places):
        path, size = damaged.files[place], len(damaged.contents[place[0]])
        if number < FLIPPED:
            flip(path, dice.randrange(size))
        elif number < FLIPPED + GONE:
            path.unlink()
        else:
            os.truncate(path, dice.randrange(size))
    return set(places)


@define
class Reader:
    """Reads images at random until it is told to stop. *whole* and *broken* count how that ended."""

    damaged: Damaged
    dice: random.Random
    whole: int = 0
    broken: int = 0
    stopped: bool = False

    def run(self) -> Iterator[Deferred[None]]:
        while not self.stopped:
            yield Deferred.fromCoroutine(self.read(self.dice.choice(list(self.damaged.contents))))

    async def read(self, image_id: str) -> None:
        """An answer that is complete for a client has the right bytes, or is an error."""
        try:
            reply = await self.damaged.api.request("GET", f"/v2/images/{image_id}/file")
        except ResponseFailed:
            self.broken += 1
            return
        if reply.status == 200:
            assert reply.body == self.damaged.contents[image_id], f"wrong bytes of {image_id}"
            self.whole += 1
        else:
            assert reply.status in (204, 404, 503), reply
            self.broken += 1


async def states(damaged: Damaged) -> dict[Place, str]:
    """What is known of each copy."""
    copies: list[Copy] = await Copies(damaged.api.service._engine).in_state(CORRUPT, MISSING, SOUND)
    return {(copy.image_id, copy.location.metadata["store"]): copy.state for copy in copies}


@pytest_twisted.async_yield_fixture
async def two_stores(
    start: Started, tmp_path: Path, swift: SwiftServer, processes: Processes
) -> AsyncIterator[Damaged]:
    """Auditor and replicator work when they are told to, and as fast as they can."""
    stores = StoresSettings(
        multiple=True,
        default="disk",
        filesystems=(FilesystemSettings(identifier="disk", datadir=tmp_path / "images", weight=10),),
        others=(evolve(settings_for(swift), identifier="cloud"),),
    )
    audit = AuditSettings(audit_rate=0, audit_period=86400, repair_rate=0)
    api = await start(settings_in(tmp_path, stores=stores, audit=audit))
    yield await filled(api, swift, processes.folder / "srv")


@pytest_twisted.ensureDeferred
async def test_all_is_found_and_mended(two_stores: Damaged) -> None:
    """One pass of the auditor finds 140 of 140 and blames no other copy; the replicator makes all anew that have a
    sound sister; and of what others read all the while not one complete answer is wrong.
    """
    seed = int(os.environ.get("GLANCETX_SEED", "0")) or random.randrange(1, 10**6)
    print("GLANCETX_SEED =", seed)
    dice = random.Random(seed)
    background = two_stores.api.service.background
    readers = [Reader(two_stores, random.Random(dice.random())) for _ in range(READERS)]
    reading = [cooperate(reader.run()).whenDone() for reader in readers]
    places = damage(two_stores, dice)
    await background.auditor.run_once()
    found = await states(two_stores)
    assert len(found) == 2 * IMAGES
    assert {place for place, state in found.items() if state != SOUND} == places
    lost = {image_id for image_id, _ in places if {(image_id, "disk"), (image_id, "cloud")} <= places}
    assert 0 < len(lost) < len(places) / 2
    assert await background.replicator.run_once() == len(places) - 2 * len(lost)
    for reader in readers:
        reader.stopped = True
    await gatherResults(reading)
    assert all(reader.whole > 10 for reader in readers)
    found = await states(two_stores)
    assert {image_id for (image_id, _), state in found.items() if state != SOUND} == lost
    for image_id, content in two_stores.contents.items():
        check = Reader(two_stores, dice)
        await check.read(image_id)
        assert check.whole == (image_id not in lost)
        for location in await located(two_stores, image_id) if image_id not in lost else ():
            await check_copy(two_stores, location, content)


async def located(damaged: Damaged, image_id: str) -> list[tuple[str, str]]:
    """The store and the URL of each copy."""
    table = image_locations
    query = select(table.c.meta_data, table.c.value).where(table.c.image_id == image_id)
    rows = await damaged.api.service._engine.read(lambda connection: connection.execute(query).all())
    return [("cloud" if "cloud" in metadata else "disk", url) for metadata, url in rows]


async def check_copy(damaged: Damaged, location: tuple[str, str], content: bytes) -> None:
    store, url = location
    assert await read(damaged.api.service._stores.get(store), url) == content
