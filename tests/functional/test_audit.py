"""The auditor finds every copy that is not what it should be, and only those."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest_twisted
from attrs import evolve
from sqlalchemy import Connection, text

from glancetx.config.settings import AuditSettings, FilesystemSettings, Settings, StoresSettings
from glancetx.db.copies import Copies
from glancetx.domain.copy import CORRUPT, MISSING, SOUND, UNKNOWN, Copy
from tests.running import Api, Started, settings_in

SIZE = 700_001


def two_stores(folder: Path) -> Settings:
    """Two file stores, and an auditor that finds everything due at once and nothing too fast."""
    stores = tuple(FilesystemSettings(identifier=name, datadir=folder / name) for name in ("fast", "cheap"))
    return settings_in(
        folder,
        stores=StoresSettings(multiple=True, default="fast", filesystems=stores),
        audit=AuditSettings(audit_rate=10**10, audit_period=0),
    )


async def filled(api: Api, count: int) -> list[Path]:
    """The files of *count* new images, half of them in each store."""
    files = []
    for number in range(count):
        name = ("fast", "cheap")[number % 2]
        image_id = await api.create(name=f"image {number}")
        reply = await api.upload(image_id, os.urandom(SIZE), X_Image_Meta_Store=name)
        assert reply.status == 204
        files.append(api.folder / name / image_id)
    return files


def copies_of(api: Api) -> Copies:
    return Copies(api.service._engine)


async def states(api: Api) -> dict[str, tuple[str, str | None]]:
    """What was found of each image."""
    found = await copies_of(api).in_state(UNKNOWN, SOUND, CORRUPT, MISSING)
    return {copy.image_id: (copy.state, copy.detail) for copy in found}


def flip(path: Path, at: int) -> None:
    """Turn one bit over."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


@pytest_twisted.ensureDeferred
async def test_every_damage_is_found(start: Started, tmp_path: Path) -> None:
    """Flipped bits, truncated, extended and lost files are told from sound ones, in one pass over both stores."""
    api = await start(two_stores(tmp_path))
    files = await filled(api, 24)
    flipped, cut, longer, gone, sound = files[:8], files[8:12], files[12:14], files[14:18], files[18:]
    for number, path in enumerate(flipped):
        flip(path, (SIZE - 1) * number // 7)
    for path in cut:
        os.truncate(path, SIZE - 1)
    for path in longer:
        path.write_bytes(path.read_bytes() + b"x")
    for path in gone:
        path.unlink()
    assert await api.service.background.auditor.run_once() == 24
    found = await states(api)
    assert {found[path.name] for path in flipped} == {(CORRUPT, "the sha512 is another one")}
    assert {found[path.name] for path in cut} == {(CORRUPT, f"{SIZE - 1} bytes instead of {SIZE}")}
    assert {found[path.name] for path in longer} == {(CORRUPT, f"{SIZE + 1} bytes instead of {SIZE}")}
    assert {found[path.name] for path in gone} == {(MISSING, "the store has nothing there")}
    assert {found[path.name] for path in sound} == {(SOUND, None)}
    assert api.service.background.auditor.found == {CORRUPT: 14, MISSING: 4, SOUND: 6}


@pytest_twisted.ensureDeferred
async def test_what_became_sound_again_is_sound(start: Started, tmp_path: Path) -> None:
    """A later look replaces what an earlier one found."""
    api = await start(two_stores(tmp_path))
    (path,) = await filled(api, 1)
    flip(path, 0)
    await api.service.background.auditor.run_once()
    assert (await states(api))[path.name][0] == CORRUPT
    flip(path, 0)
    await api.service.background.auditor.run_once()
    assert (await states(api))[path.name] == (SOUND, None)


@pytest_twisted.ensureDeferred
async def test_images_of_glance_with_md5_alone(start: Started, tmp_path: Path) -> None:
    """Images older than the secure hash have a checksum; older ones still have their size."""

    def age(connection: Connection, image_id: str, more: str) -> None:
        change = f"UPDATE images SET os_hash_algo = NULL, os_hash_value = NULL {more} WHERE id = :id"
        connection.execute(text(change), {"id": image_id})

    api = await start(two_stores(tmp_path))
    old, older = await filled(api, 2)
    await api.service._engine.interact(age, old.name, "")
    await api.service._engine.interact(age, older.name, ", checksum = NULL")
    flip(old, 5)
    flip(older, 5)
    await api.service.background.auditor.run_once()
    assert await states(api) == {old.name: (CORRUPT, "the md5 is another one"), older.name: (SOUND, None)}


@pytest_twisted.ensureDeferred
async def test_deleted_images_are_forgotten(start: Started, tmp_path: Path) -> None:
    """A deleted image is not missing, neither afterwards nor while it is being deleted."""
    api = await start(two_stores(tmp_path))
    first, second = await filled(api, 2)
    await api.service.background.auditor.run_once()
    (copy,) = [each for each in await copies_of(api).in_state(SOUND) if each.image_id == first.name]
    assert (await api.request("DELETE", f"/v2/images/{first.name}")).status == 204
    assert not await copies_of(api).record(copy, MISSING)
    await api.service.background.auditor.run_once()
    assert await states(api) == {second.name: (SOUND, None)}


@pytest_twisted.ensureDeferred
async def test_only_what_is_due(start: Started, tmp_path: Path) -> None:
    """A copy that was looked at, or made, less than a period ago is left alone."""
    settings = two_stores(tmp_path)
    api = await start(evolve(settings, audit=AuditSettings(audit_rate=10**10, audit_period=3600)))
    await filled(api, 2)
    assert await api.service.background.auditor.run_once() == 0
    assert {state for state, _ in (await states(api)).values()} == {UNKNOWN}


@pytest_twisted.ensureDeferred
async def test_downloads_during_an_audit(start: Started, tmp_path: Path) -> None:
    """The auditor holds nothing that others need: images are read and deleted while it looks at them."""
    from twisted.internet.defer import Deferred

    slow = AuditSettings(audit_rate=1_000_000, audit_period=0)
    api = await start(evolve(two_stores(tmp_path), audit=slow))
    files = await filled(api, 2)
    audit: Any = Deferred.fromCoroutine(api.service.background.auditor.run_once())
    for path in files:
        assert len((await api.request("GET", f"/v2/images/{path.name}/file")).body) == SIZE
        assert (await api.request("DELETE", f"/v2/images/{path.name}")).status == 204
    audit.addErrback(lambda failure: None).cancel()
    await audit
    assert json.loads(json.dumps(api.service.background.auditor.status()))["image"] is None


def test_a_copy_names_no_url_in_its_repr() -> None:
    """Location URIs may hold credentials, which logs must not."""
    from glancetx.domain.image import Location

    copy = Copy(image_id="x", location=Location(url="s3://key:secret@host/b/o"), size=1, algorithm=None, digest=None)
    assert "secret" not in repr(copy)
