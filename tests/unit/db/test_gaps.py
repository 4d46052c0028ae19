"""Images that lack their size or their hashes get them, and nothing that they have is overwritten."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve
from twisted.internet.task import Clock

from glancetx.db.claims import Claims, Process
from glancetx.db.engine import Engine
from glancetx.db.gaps import MD5_OF_NOTHING, Facts, Gap, Gaps
from glancetx.db.images import Images
from glancetx.db.tasks import Tasks
from glancetx.domain.claim import LOCATION, Claim
from glancetx.domain.context import service_context
from glancetx.domain.errors import StoreUnavailable
from glancetx.domain.image import Image, Location
from glancetx.domain.task import FAILURE, LOCATION_IMPORT, PROCESSING, Task
from glancetx.interfaces import Stored
from glancetx.notifications.events import Events
from glancetx.runtime.threads import Threads
from glancetx.services.completer import FIRST_PAUSE, Completer
from glancetx.stores.registry import Stores
from glancetx.streams import BytesSource, Throttle
from glancetx.testing.fakes import MemoryStore
from glancetx.transfer.completion import Completions
from tests.unit.notifications.test_events import Collected

CONTENT = b"0123456789" * 10
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()
HASHED: dict[str, Any] = {"checksum": MD5, "os_hash_algo": "sha256", "os_hash_value": SHA256}
ADMIN = service_context()


class Flaky(MemoryStore):
    """Cannot be read while it is *away*; counts who tries."""

    away = False
    asked = 0

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> Any:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        return await super().get(url, offset, length)

    async def size(self, url: str) -> int:
        self.asked += 1
        return await super().size(url)


@define
class Scene:
    images: Images
    tasks: Tasks
    gaps: Gaps
    store: Flaky
    completions: Completions
    clock: Clock
    told: Collected

    def completer(self, *, hashes: bool = True) -> Completer:
        return Completer(self.clock, self.gaps, self.completions, hashes=hashes)

    async def image(self, image_id: str, *, failed: bool = False, **values: Any) -> Image:
        """An active one with data; *failed*: its hashes could not be found when its location was added."""
        stored: Stored = await self.store.add(image_id, BytesSource(CONTENT), "attempt")
        said: dict[str, Any] = {"status": "active", "size": len(CONTENT)} | values
        made = await self.images.create(Image(id=image_id, locations=(Location(url=stored.url),), **said))
        if failed:
            await self.task(image_id, FAILURE)
        return made

    async def task(self, image_id: str, status: str) -> None:
        await self.tasks.create(
            Task(id=f"t{image_id}", type=LOCATION_IMPORT, owner="p", image_id=image_id, status=status)
        )

    async def get(self, image_id: str) -> Image:
        return await self.images.get(ADMIN, image_id)


@pytest_twisted.async_yield_fixture
async def scene(engine: Engine) -> AsyncIterator[Scene]:
    from twisted.internet import reactor

    hashing = Threads(reactor, "hashing", 1)  # type: ignore[arg-type]
    hashing.start()
    images, gaps, told, clock = Images(engine), Gaps(engine), Collected(), Clock()
    store = Flaky()
    stores = Stores({"memory": store}, "memory")
    throttle = Throttle(clock, float("inf"))
    completions = Completions(images, gaps, stores, hashing, throttle, Events(told), "sha256", 10**6)
    yield Scene(images, Tasks(engine), gaps, store, completions, clock, told)
    await hashing.stop()


@pytest_twisted.ensureDeferred
async def test_what_is_a_gap(scene: Scene) -> None:
    """Of images in use: no size, unless there is nothing; no hash, if it was to be found and could not be."""
    await scene.image("0", size=None)
    await scene.image("1", size=0)
    await scene.image("2", size=0, checksum=MD5_OF_NOTHING)
    await scene.image("3", failed=True)
    await scene.image("4")
    await scene.image("5", failed=True, **HASHED)
    await scene.image("6", failed=True, size=None, status="deactivated")
    await scene.image("7", failed=True, size=None)
    await scene.image("8")
    await scene.task("8", PROCESSING)
    found = (Gap("0", True, False), Gap("1", True, False), Gap("3", False, True), Gap("7", True, True))
    page = await scene.gaps.after("", 100)
    assert (page.gaps, page.marker) == (found, "")
    parts = [await scene.gaps.after(marker, 4) for marker in ("", "3", "7")]
    assert [part.marker for part in parts] == ["3", "7", ""]
    assert tuple(gap for part in parts for gap in part.gaps) == found


@pytest_twisted.ensureDeferred
async def test_work_that_goes_on(scene: Scene, claims: Claims, process: Process) -> None:
    """While somebody is at it, it is no gap."""
    await scene.image("0", failed=True)
    await claims.take(Claim(id="c", kind=LOCATION, image_id="0", store="", process=process.id))
    assert (await scene.gaps.after("", 100)).gaps == ()


@pytest_twisted.ensureDeferred
async def test_sizes_and_hashes(scene: Scene) -> None:
    """Both are found out and told; who has both is left alone, and not read."""
    await scene.image("0", size=None)
    await scene.image("1", failed=True)
    await scene.image("2", failed=True, size=0)
    before = await scene.image("3", **HASHED)
    completer = scene.completer()
    assert await completer.run_once() == 3
    assert await completer.run_once() == 0
    assert (await scene.get("0")).size == len(CONTENT)
    assert (await scene.get("0")).checksum is None
    for image_id in ("1", "2"):
        image = await scene.get(image_id)
        assert (image.size, image.checksum, image.os_hash_algo, image.os_hash_value) == (100, MD5, "sha256", SHA256)
    assert await scene.get("3") == before
    assert [(event_type, payload["id"]) for event_type, _, payload in scene.told.told] == [
        ("image.update", image_id) for image_id in ("0", "1", "2")
    ]
    assert scene.store.asked == 3


@pytest.mark.parametrize("said", [{"checksum": "0" * 32}, {"size": 99}, {"size": 101}])
@pytest_twisted.ensureDeferred
async def test_other_data_than_was_said(scene: Scene, said: dict[str, Any]) -> None:
    """It is not made to fit: nothing is written."""
    before = await scene.image("0", failed=True, **said)
    assert await scene.completer().run_once() == 0
    assert await scene.get("0") == before


@pytest_twisted.ensureDeferred
async def test_without_hashes(scene: Scene) -> None:
    """If they are not wanted no data is read, and sizes are found out all the same."""
    await scene.image("0", failed=True)
    await scene.image("1", failed=True, size=None)
    assert await scene.completer(hashes=False).run_once() == 1
    assert (await scene.get("1")).size == len(CONTENT)
    assert (await scene.get("1")).checksum is None
    assert scene.store.asked == 1


@pytest_twisted.ensureDeferred
async def test_a_store_that_is_away(scene: Scene) -> None:
    """It is tried again, after pauses that grow; others do not wait for it."""
    await scene.image("0", failed=True)
    await scene.image("1", size=None)
    completer, scene.store.away = scene.completer(), True
    assert await completer.run_once() == 1
    tried = scene.store.asked
    assert await completer.run_once() == 0
    assert scene.store.asked == tried
    scene.clock.advance(FIRST_PAUSE)
    await completer.run_once()
    assert scene.store.asked == tried + 1
    scene.clock.advance(FIRST_PAUSE)
    await completer.run_once()
    assert (scene.store.asked, completer.status()["in_vain"]) == (tried + 1, 1)
    scene.store.away = False
    scene.clock.advance(FIRST_PAUSE)
    assert await completer.run_once() == 1
    assert (await scene.get("0")).os_hash_value == SHA256
    assert completer.status()["in_vain"] == 0


@pytest_twisted.ensureDeferred
async def test_what_has_changed_meanwhile(scene: Scene) -> None:
    """An image that has other hashes by now, or no such location any more, or is gone, is left as it is."""
    facts = Facts(size=100, checksum=MD5, os_hash_algo="sha256", os_hash_value=SHA256)
    hashed = await scene.image("0", os_hash_algo="sha256", os_hash_value="other", checksum=MD5)
    assert not await scene.gaps.complete(hashed, hashed.locations[0], facts)
    moved = await scene.image("1")
    assert not await scene.gaps.complete(moved, evolve(moved.locations[0], id=9999), facts)
    gone = await scene.image("2")
    await scene.images.delete(gone, was="active")
    assert not await scene.gaps.complete(gone, gone.locations[0], facts)
    assert (await scene.get("0")).os_hash_value == "other"
    assert (await scene.get("1")).checksum is None
