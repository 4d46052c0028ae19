"""What the image cache of a node has is served, and mends the stores, when no copy in them is sound any more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from glancetx.config.settings import AuditSettings, CacheSettings, Settings
from glancetx.db.copies import Copies
from glancetx.domain.copy import CORRUPT, MISSING, SOUND
from glancetx.testing.fakes import until
from glancetx.testing.stores import the_reactor
from tests.functional.test_audit import flip
from tests.running import Api, Reply, Started, settings_in

CONTENT = os.urandom(300_007)
FAST = AuditSettings(audit_rate=10**10, audit_period=0, repair_rate=10**10)


def node(folder: Path, name: str | None) -> Settings:
    """A service on the database and the store of *folder*, with a cache of its own if it has a *name*."""
    settings = settings_in(folder, audit=FAST)
    if name is None:
        return settings
    return evolve(settings, cache=CacheSettings(directory=folder / name, node=f"http://{name}", interval=0))


async def cached(api: Api) -> tuple[str, Path]:
    """An image that was downloaded through the cache, and its one file in the store."""
    image_id = await api.create()
    assert (await api.upload(image_id, CONTENT)).status == 204
    await fill(api, image_id)
    return image_id, api.folder / "images" / image_id


async def fill(api: Api, image_id: str) -> None:
    """Have it cached: a reader may be done a moment before the file is."""
    assert (await read(api, image_id)).body == CONTENT
    cache = api.service.cache
    assert cache is not None
    await until(the_reactor(), lambda: (cache.settings.directory / image_id).exists())


async def read(api: Api, image_id: str, **headers: str) -> Reply:
    return await api.request("GET", f"/v2/images/{image_id}/file", **headers)


def flip_silently(path: Path, at: int) -> None:
    """As a disk does it."""
    before = path.stat()
    flip(path, at)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


async def states(api: Api) -> dict[str, int]:
    return await Copies(api.service._engine).counts()


async def mend(*apis: Api) -> int:
    """How many copies were remade from the caches of these services, which all begin at once."""
    menders = [api.service.background.mender for api in apis]
    runs = [Deferred.fromCoroutine(mender.run_once()) for mender in menders if mender is not None]
    return sum(await gatherResults(runs))


@pytest.mark.parametrize("damage", ["flip", "delete"])
@pytest_twisted.ensureDeferred
async def test_served_and_mended(start: Started, tmp_path: Path, damage: str) -> None:
    """Readers get the image, and ranges of it, from the cache; then the copy is made again from there.

    Until then the file is not pruned.
    """
    settings = node(tmp_path, "cache")
    assert settings.cache is not None
    api = await start(evolve(settings, cache=evolve(settings.cache, max_size=0)))
    cache = api.service.cache
    assert cache is not None
    image_id, path = await cached(api)
    if damage == "flip":
        flip(path, 1000)
    else:
        path.unlink()
    await api.service.background.auditor.run_once()
    assert await states(api) == {CORRUPT if damage == "flip" else MISSING: 1}
    reply = await read(api, image_id)
    assert (reply.status, reply.body) == (200, CONTENT)
    reply = await read(api, image_id, Range="bytes=990-1009")
    assert (reply.status, reply.body) == (206, CONTENT[990:1010])
    assert (await cache.prune()).files == 0
    assert await mend(api) == 1
    assert path.read_bytes() == CONTENT
    assert await states(api) == {SOUND: 1}
    assert await mend(api) == 0
    assert (await cache.prune()).files == 1


@pytest.mark.parametrize("silent", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_cached_file_that_is_wrong(start: Started, tmp_path: Path, silent: bool) -> None:
    """A file that went bad in the cache, whether its times tell so or not, mends nothing, and is not served any more.

    The store's data stays as it is.
    """
    api = await start(node(tmp_path, "cache"))
    image_id, path = await cached(api)
    flip(path, 1000)
    flip_silently(tmp_path / "cache" / image_id, 2000)
    if not silent:
        os.utime(tmp_path / "cache" / image_id)
    found = path.read_bytes()
    await api.service.background.auditor.run_once()
    if not silent:
        assert (await read(api, image_id)).status == 503
    assert await mend(api) == 0
    assert path.read_bytes() == found
    invalid = tmp_path / "cache" / "invalid" / image_id
    await until(the_reactor(), invalid.exists)
    reply = await read(api, image_id)
    assert (reply.status, b"damaged" in reply.body) == (503, True)
    assert await states(api) == {CORRUPT: 1}


@pytest_twisted.ensureDeferred
async def test_only_who_has_it(start: Started, tmp_path: Path) -> None:
    """A node without the file refuses, and leaves the copy to the one that has it; of two that have it, one mends."""
    first, second = await start(node(tmp_path, "one")), await start(node(tmp_path, "two"))
    other = await start(node(tmp_path, None))
    image_id, path = await cached(first)
    await fill(second, image_id)
    path.unlink()
    await other.service.background.auditor.run_once()
    assert other.service.background.mender is None
    assert await other.service.background.replicator.run_once() == 0
    assert (await read(other, image_id)).status != 200
    assert await mend(first, second) == 1
    assert (await read(other, image_id)).body == CONTENT
    assert await states(other) == {SOUND: 1}


@pytest_twisted.ensureDeferred
async def test_the_replicator_takes_it_too(start: Started, tmp_path: Path) -> None:
    """The process that repairs for all uses what its own node has, before it gives up."""
    api = await start(node(tmp_path, "cache"))
    _, path = await cached(api)
    os.truncate(path, 17)
    await api.service.background.auditor.run_once()
    assert await api.service.background.replicator.run_once() == 1
    assert path.read_bytes() == CONTENT
