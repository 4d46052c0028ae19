"""Looking after the image cache: its API, the queue, pruning and cleaning (P-076..P-079)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted

from glancetx.cache.cache import ImageCache
from glancetx.config.settings import Settings
from glancetx.domain.cached import Pruned
from tests.functional.test_cache import (
    CONTENT,
    WatchedStore,
    cached_in,
    entries,
    files,
    image_with,
    indexed,
    read,
    soon,
    whole,
)
from tests.running import Api, Started

SMALL = 1000


def the_cache(api: Api) -> ImageCache:
    assert api.service.cache is not None
    return api.service.cache


async def filled(api: Api, *sizes: int) -> list[str]:
    """New images of these sizes, cached one after the other."""
    ids = []
    for size in sizes:
        ids.append(await image_with(api, os.urandom(size)))
        await read(api, ids[-1])
        await indexed(api, ids[-1])
    return ids


@pytest_twisted.async_yield_fixture
async def api(start: Started, tmp_path: Path) -> AsyncIterator[Api]:
    yield await start(cached_in(tmp_path, max_size=2 * SMALL))


@pytest_twisted.ensureDeferred
async def test_queued_image_is_fetched(start: Started, tmp_path: Path) -> None:
    """PUT answers at once; the image is cached soon, and then it is not queued any more."""
    store = WatchedStore()
    api = await start(cached_in(tmp_path), stores={"memory": store})
    image_id = await image_with(api)
    assert (await api.request("PUT", f"/v2/cache/{image_id}")).status == 202
    await soon(whole(tmp_path, image_id).exists)
    await indexed(api, image_id)
    assert files(tmp_path)["queue"] == []
    assert store.opened == [0]
    assert (await read(api, image_id)).body == CONTENT
    assert store.opened == [0]
    shown = (await api.request("GET", "/v2/cache")).json
    assert [each["image_id"] for each in shown["cached_images"]] == [image_id]
    assert (await api.request("GET", f"/v2/cache/nodes/{image_id}")).json == ["http://here"]


@pytest_twisted.ensureDeferred
async def test_queue_without_downloads(start: Started, tmp_path: Path) -> None:
    """Where the pipeline has no cache an image can still be fetched ahead of time."""
    api = await start(cached_in(tmp_path, downloads=False))
    image_id = await image_with(api)
    await api.request("PUT", f"/v2/cache/{image_id}")
    await soon(whole(tmp_path, image_id).exists)


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_fetched(start: Started, tmp_path: Path) -> None:
    """It stays on the queue for the next run and does not keep others from their turn; an unknown image leaves it."""
    api = await start(cached_in(tmp_path))
    cache = the_cache(api)
    lost, empty, good = await image_with(api), await api.create(), await image_with(api)
    unknown = "0f44c25c-d457-4b7e-bbdb-39a4fdd6ae88"
    (tmp_path / "images" / lost).unlink()
    for number, image_id in enumerate((lost, empty, unknown, good)):
        await cache.enqueue(image_id)
        os.utime(tmp_path / "cache" / "queue" / image_id, (number, number))
    prefetcher = api.service.background.works["prefetcher"]
    assert await prefetcher.run_once() == 1
    assert files(tmp_path)[""] == [good]
    assert await cache.queued() == [lost, empty]
    assert (prefetcher.status()["fetched"], prefetcher.status()["failed"]) == (1, 1)


@pytest_twisted.ensureDeferred
async def test_shared_queue(start: Started, tmp_path: Path) -> None:
    """Two services that fetch from one queue read each image once."""
    stores = [WatchedStore(), WatchedStore()]
    one = await start(cached_in(tmp_path), stores={"memory": stores[0]})
    ids = [await image_with(one) for _ in range(4)]
    stores[1]._kept = stores[0]._kept
    other = await start(cached_in(tmp_path), stores={"memory": stores[1]})
    for image_id in ids:
        await the_cache(one).enqueue(image_id)
    for api in (one, other):
        api.service.background.works["prefetcher"].wake()
    await soon(lambda: files(tmp_path)[""] == sorted(ids) and files(tmp_path)["queue"] == [])
    assert len(stores[0].opened + stores[1].opened) == 4


@pytest.mark.parametrize("driver", ["centralized_db", "sqlite", "xattr"])
@pytest_twisted.ensureDeferred
async def test_prune(start: Started, tmp_path: Path, driver: str) -> None:
    """What was not read for the longest time goes, until the cache is not larger than its limit."""
    api = await start(cached_in(tmp_path, driver=driver, max_size=2 * SMALL))
    ids = await filled(api, SMALL, SMALL, SMALL, SMALL)
    await read(api, ids[0])
    await indexed(api, ids[0], hits=1)
    assert (await api.request("POST", "/v2/cache/prune")).json == {
        "total_files_pruned": 2,
        "total_bytes_pruned": 2 * SMALL,
    }
    assert files(tmp_path)[""] == sorted([ids[0], ids[3]])
    assert set(await entries(api)) == {ids[0], ids[3]}
    assert await api.service.background.works["pruner"].run_once() == 0


@pytest_twisted.ensureDeferred
async def test_file_in_use_stays(start: Started, tmp_path: Path) -> None:
    """A file that somebody reads, here or in another process, is not pruned; the next one is."""
    api = await start(cached_in(tmp_path, max_size=SMALL))
    oldest, *others = await filled(api, SMALL, SMALL, SMALL)
    opened = the_cache(api)._folder.opened(oldest)
    assert opened.open()
    pruner = api.service.background.works["pruner"]
    assert await pruner.run_once() == 2
    assert files(tmp_path)[""] == [oldest]
    opened.close()
    await filled(api, SMALL)
    assert await pruner.run_once() == 1
    assert others
    facts = pruner.status()
    assert (facts["files_pruned"], facts["bytes_pruned"]) == (3, 3 * SMALL)


@pytest_twisted.ensureDeferred
async def test_clean(api: Api, tmp_path: Path) -> None:
    """Files and entries of images that are gone, invalid and stale files, and what has lost its other half."""
    good, gone, lost, unknown = await filled(api, 10, 11, 12, 13)
    cache, folder = the_cache(api), tmp_path / "cache"
    whole(tmp_path, lost).unlink()  # the entry has no file
    await cache.index.remove(unknown)  # the file has no entry
    stranger = "0f44c25c-d457-4b7e-bbdb-39a4fdd6ae88"
    for place in (folder / stranger, folder / "queue" / stranger, folder / "invalid" / good):
        place.write_bytes(b"x")
    stale = folder / "incomplete" / stranger
    stale.write_bytes(b"x")
    os.utime(stale, (1, 1))
    os.link(whole(tmp_path, gone), tmp_path / "kept")
    await api.request("DELETE", f"/v2/images/{gone}")
    os.link(tmp_path / "kept", whole(tmp_path, gone))  # as if another node had deleted it
    assert (await api.request("POST", "/v2/cache/clean")).status == 200
    assert files(tmp_path) == {"": sorted([good, unknown]), "incomplete": [], "invalid": [], "queue": []}
    assert set(await entries(api)) == {good, unknown}


@pytest_twisted.ensureDeferred
async def test_periodically(start: Started, tmp_path: Path) -> None:
    """With an interval all of that happens by itself."""
    settings: Settings = cached_in(tmp_path, max_size=SMALL, interval=0.05)
    api = await start(settings)
    await filled(api, SMALL, SMALL)
    await soon(lambda: len(files(tmp_path)[""]) == 1)
    (tmp_path / "cache" / "invalid" / "x").touch()
    await soon(lambda: files(tmp_path)["invalid"] == [])
    image_id = await image_with(api, b"x")
    await the_cache(api).enqueue(image_id)
    await soon(lambda: files(tmp_path)["queue"] == [])
    assert {"pruner", "cleaner", "prefetcher"} <= set(api.service.statuses())


@pytest_twisted.ensureDeferred
async def test_many_parallel_fills_and_one_prune(start: Started, tmp_path: Path) -> None:
    """Filled beyond its limit by ten images at once, the cache is below it after one prune."""
    from twisted.internet.defer import gatherResults

    api = await start(cached_in(tmp_path, max_size=3 * SMALL))
    ids = [await image_with(api, os.urandom(SMALL)) for _ in range(10)]
    await gatherResults([read(api, image_id) for image_id in ids])
    await soon(lambda: files(tmp_path)[""] == sorted(ids))
    for image_id in ids:
        await indexed(api, image_id)
    assert await the_cache(api).prune() == Pruned(7, 7 * SMALL)
    assert len(files(tmp_path)[""]) == 3


@pytest_twisted.ensureDeferred
async def test_sqlite_is_taken_over(start: Started, tmp_path: Path) -> None:
    """Entries of the driver sqlite move into the central database when that becomes the driver (P-075)."""
    before = await start(cached_in(tmp_path, driver="sqlite"))
    (image_id,) = await filled(before, SMALL)
    await read(before, image_id)
    await indexed(before, image_id, hits=1)
    after = await start(cached_in(tmp_path))
    entry = (await entries(after))[image_id]
    assert (entry.hits, entry.size) == (1, SMALL)
    assert await entries(before) == {}
    assert (await read(after, image_id)).status == 200
