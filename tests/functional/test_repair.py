"""Damaged copies are remade from sound ones, and never read meanwhile."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from sqlalchemy import Connection, insert
from twisted.internet.defer import Deferred, DeferredList

from glancetx.config.settings import AuditSettings, FilesystemSettings, StoresSettings
from glancetx.db.copies import Copies
from glancetx.db.images import Images
from glancetx.db.locations import LocationRows
from glancetx.db.schema import image_locations
from glancetx.domain.claim import REPAIR, Claim
from glancetx.domain.context import service_context
from glancetx.domain.copy import CORRUPT, MISSING, SOUND, UNKNOWN, Copy
from glancetx.domain.image import utc_now
from tests.functional.test_audit import flip
from tests.running import Api, Started, settings_in

SIZE = 300_007
FAST = AuditSettings(audit_rate=10**10, audit_period=0, repair_rate=10**10)


@frozen
class Twice:
    """An image with a copy in each of two stores."""

    id: str
    content: bytes
    files: tuple[Path, Path]


def add_location(connection: Connection, image_id: str, path: Path, store: str) -> None:
    now = utc_now()
    values = {"image_id": image_id, "value": f"file://{path}", "meta_data": f'{{"store": "{store}"}}'}
    connection.execute(
        insert(image_locations).values(
            **values, status="active", created_at=now, updated_at=now, deleted=False, deleted_at=None
        )
    )


def two_stores(folder: Path) -> StoresSettings:
    stores = tuple(FilesystemSettings(identifier=name, datadir=folder / name) for name in ("fast", "cheap"))
    return StoresSettings(multiple=True, default="fast", filesystems=stores)


async def service(start: Started, folder: Path) -> Api:
    return await start(settings_in(folder, stores=two_stores(folder), audit=FAST))


async def twice(api: Api) -> Twice:
    content = os.urandom(SIZE)
    image_id = await api.create()
    assert (await api.upload(image_id, content)).status == 204
    first, second = api.folder / "fast" / image_id, api.folder / "cheap" / image_id
    second.write_bytes(content)
    await api.service._engine.interact(add_location, image_id, second, "cheap")
    return Twice(image_id, content, (first, second))


def is_gone(copy: Copy) -> bool:
    return not Path(copy.location.url.removeprefix("file://")).exists()


async def states(api: Api) -> dict[str, int]:
    return await Copies(api.service._engine).counts()


async def read(api: Api, image: Twice) -> tuple[int, bytes]:
    reply = await api.request("GET", f"/v2/images/{image.id}/file")
    return reply.status, reply.body


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
@pytest_twisted.ensureDeferred
async def test_remade(start: Started, tmp_path: Path, which: int, damage: str) -> None:
    """Whatever happened to whichever copy: afterwards both are what was uploaded."""
    api = await service(start, tmp_path)
    image = await twice(api)
    path = image.files[which]
    if damage == "flip":
        flip(path, SIZE // 2)
    elif damage == "truncate":
        os.truncate(path, 1000)
    else:
        path.unlink()
    await api.service.background.auditor.run_once()
    assert await api.service.background.replicator.run_once() == 1
    assert [each.read_bytes() == image.content for each in image.files] == [True, True]
    assert await states(api) == {SOUND: 2}
    assert sorted(each.name for each in path.parent.iterdir()) == [image.id]


@pytest_twisted.ensureDeferred
async def test_no_wrong_byte_is_read(start: Started, tmp_path: Path) -> None:
    """A copy known to be corrupt is read by nobody: others are, and if there is none the answer is 503."""
    api = await service(start, tmp_path)
    image = await twice(api)
    flip(image.files[0], 7)
    await api.service.background.auditor.run_once()
    assert await read(api, image) == (200, image.content)
    flip(image.files[1], 9)
    await api.service.background.auditor.run_once()
    status, body = await read(api, image)
    assert (status, b"damaged" in body) == (503, True)
    assert await api.service.background.replicator.run_once() == 0
    assert await states(api) == {CORRUPT: 2}
    flip(image.files[1], 9)
    await api.service.background.auditor.run_once()
    assert await api.service.background.replicator.run_once() == 1
    assert await read(api, image) == (200, image.content)


@pytest_twisted.ensureDeferred
async def test_a_sister_that_went_bad_since(start: Started, tmp_path: Path) -> None:
    """A copy that was sound at the last look is read again before it mends another, and noted if it is not."""
    api = await service(start, tmp_path)
    image = await twice(api)
    image.files[0].unlink()
    await api.service.background.auditor.run_once()
    flip(image.files[1], 0)
    assert await api.service.background.replicator.run_once() == 0
    assert not image.files[0].exists()
    assert await states(api) == {MISSING: 1, CORRUPT: 1}


@pytest_twisted.ensureDeferred
async def test_an_image_deleted_during_the_repair(start: Started, tmp_path: Path) -> None:
    """Nothing of it comes back."""
    api = await service(start, tmp_path)
    image = await twice(api)
    image.files[0].unlink()
    await api.service.background.auditor.run_once()
    repair = Deferred.fromCoroutine(api.service.background.replicator.run_once())
    delete = Deferred.fromCoroutine(api.request("DELETE", f"/v2/images/{image.id}"))
    both: list[Deferred[Any]] = [repair, delete]
    await DeferredList(both)
    assert (await api.request("GET", f"/v2/images/{image.id}")).status == 404
    for store in ("fast", "cheap"):
        assert list((tmp_path / store).iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_many_damages_and_readers(start: Started, tmp_path: Path) -> None:
    """40 images, a third of the copies damaged: one audit, one repair, and no reader ever gets a wrong byte."""
    api = await service(start, tmp_path)
    images = [await twice(api) for _ in range(40)]
    dice = random.Random(7)
    damaged = 0
    for image in images:
        path = dice.choice(image.files)
        match dice.randrange(6):
            case 0:
                flip(path, dice.randrange(SIZE))
            case 1:
                os.truncate(path, dice.randrange(SIZE))
            case 2:
                path.unlink()
            case _:
                continue
        damaged += 1
    assert damaged > 10
    await api.service.background.auditor.run_once()
    repairing = Deferred.fromCoroutine(api.service.background.replicator.run_once())
    for image in images:
        assert await read(api, image) == (200, image.content)
    assert await repairing == damaged
    assert await states(api) == {SOUND: 80}
    assert all(path.read_bytes() == image.content for image in images for path in image.files)


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_remade_is_in_nobodys_way(
    start: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many copies have no sound sister, those that have one get their turn."""
    monkeypatch.setattr("glancetx.services.replicator.BATCH", 3)
    quiet = AuditSettings(audit_rate=0, repair_rate=0)
    api = await start(settings_in(tmp_path, stores=two_stores(tmp_path), audit=quiet))
    images = [await twice(api) for _ in range(5)]
    await Copies(api.service._engine).enrol()
    for image in images[:4]:
        for path in image.files:
            path.unlink()
    images[4].files[0].unlink()
    for copy in await Copies(api.service._engine).in_state(UNKNOWN):
        await Copies(api.service._engine).record(copy, MISSING if is_gone(copy) else SOUND)
    replicator = api.service.background.replicator
    assert [await replicator.run_once() for _ in range(3)] == [0, 0, 1]
    assert await states(api) == {MISSING: 8, SOUND: 2}


@pytest_twisted.ensureDeferred
async def test_what_is_needed_cannot_be_removed(start: Started, tmp_path: Path) -> None:
    """The last sound copy stays, by which others are remade; so do all while one is remade; then each may go."""
    api = await service(start, tmp_path)
    image = await twice(api)
    flip(image.files[0], 3)
    await api.service.background.auditor.run_once()
    engine, claims = api.service._engine, api.service._claims

    async def remove(store: str) -> int:
        return (await api.request("DELETE", f"/v2/stores/{store}/{image.id}")).status

    assert await remove("cheap") == 409
    (damaged,) = await Copies(engine).in_state(CORRUPT)
    claim = Claim(id="c" * 32, kind=REPAIR, image_id=image.id, store="fast", process=api.service._process.id)
    with claims.working_on(claim):
        assert await Copies(engine).begin_repair(damaged, claim)
        assert [await remove("cheap"), await remove("fast")] == [409, 409]
        await claims.release(claim)
    assert await api.service.background.replicator.run_once() == 1
    assert await remove("cheap") == 204
    assert await read(api, image) == (200, image.content)


@pytest_twisted.ensureDeferred
async def test_what_is_being_removed_is_not_remade(start: Started, tmp_path: Path) -> None:
    """A copy that somebody is removing from its store does not come back."""
    api = await service(start, tmp_path)
    image = await twice(api)
    flip(image.files[0], 3)
    await api.service.background.auditor.run_once()
    (damaged,) = await Copies(api.service._engine).in_state(CORRUPT)
    found = await Images(api.service._engine).get(service_context(), image.id)
    await LocationRows(api.service._engine).retire(found, damaged.location)
    claim = Claim(id="c" * 32, kind=REPAIR, image_id=image.id, store="fast", process=api.service._process.id)
    assert not await Copies(api.service._engine).begin_repair(damaged, claim)
