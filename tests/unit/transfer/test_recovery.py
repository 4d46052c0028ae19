"""Two reapers over one database, and owners that come back: whatever each of them is held at, no data is lost."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve, field
from sqlalchemy import Connection
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from glancetx.config.settings import ScrubSettings
from glancetx.db.claims import LEASE, NOBODY, Claims, Process, this_process
from glancetx.db.copies import Copies
from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.members import Members
from glancetx.db.own_schema import claims as table
from glancetx.db.scrub import PendingDeletes, restore
from glancetx.db.strays import Strays
from glancetx.domain.claim import DELETE, DISCARD, REPAIR, SCRUB, STAGE, STRAY, UPLOAD, Claim
from glancetx.domain.context import service_context
from glancetx.domain.copy import CORRUPT, SOUND
from glancetx.domain.errors import Conflict, ImageNotFound, StatusConflict, StoreUnavailable
from glancetx.domain.image import Image, Location
from glancetx.domain.limits import UNLIMITED
from glancetx.domain.listed import Item, Stray
from glancetx.notifications.events import Events
from glancetx.notifications.log import LogNotifier
from glancetx.runtime.threads import Threads
from glancetx.services.scrubber import Scrubber
from glancetx.stores.registry import Stores
from glancetx.streams import BytesSource, Throttle
from glancetx.testing.fakes import MemoryStore, until
from glancetx.testing.stores import the_reactor
from glancetx.transfer.readers import Readers
from glancetx.transfer.recovery import Recovery
from glancetx.transfer.repair import Repairs
from glancetx.transfer.scrub import Scrubs
from glancetx.transfer.staging import StagingArea
from glancetx.transfer.strays import Ownership, StrayRemoval

Count = Callable[..., Any]
NewImage = Callable[..., Image]
START = datetime(2026, 1, 1)
DATA = b"some data"


class Distant(MemoryStore):
    """Between its look and the removal anything may happen: who removes something is held until the test lets him."""

    def __init__(self) -> None:
        super().__init__("distant")
        self.held: list[Deferred[None]] = []
        self.away = False
        self.broken = ""  # what nobody can delete for a defect

    async def discard(self, image_id: str, attempt: str) -> None:
        if self.away:
            raise StoreUnavailable("away")
        url = self.url_prefix + image_id
        if url in self._kept and self._kept[url].attempt == attempt:
            await self._hold()
            self._kept.pop(url, None)

    async def delete(self, url: str) -> None:
        if url == self.broken:
            raise RuntimeError("a defect")
        await self._hold()
        await super().delete(url)

    async def _hold(self) -> None:
        self.held.append(Deferred())
        await self.held[-1]

    async def reached(self, number: int = 1) -> Deferred[None]:
        """That so many were held, or are; the last of them."""
        await until(the_reactor(), lambda: len(self.held) >= number)
        return self.held[number - 1]


@define
class Node:
    """A process of some host, whose pid nobody here can look up."""

    claims: Claims
    recovery: Recovery
    scrubs: Scrubs
    removal: StrayRemoval
    repairs: Repairs
    process: Process

    async def sweep(self) -> int:
        """What its reaper does."""
        return await self.recovery.settle_all(await self.claims.orphans())

    def sweeping(self) -> Deferred[int]:
        return Deferred.fromCoroutine(self.sweep())


@define
class Cluster:
    """Nodes on one database, whose time is the clock's; the stores that they have."""

    engine: Engine
    images: Images
    folder: Path
    hashing: Threads
    clock: Clock = field(factory=Clock)
    store: Distant = field(factory=Distant)
    near: MemoryStore = field(factory=lambda: MemoryStore("near"))

    async def node(self) -> Node:
        claims = Claims(self.engine, now=lambda: START + timedelta(seconds=self.clock.seconds()))
        process = evolve(this_process(), host=uuid.uuid4().hex)
        await claims.register(process)
        reactor: Any = the_reactor()
        stores = Stores({"distant": self.store, "near": self.near}, "distant")
        scrubs = Scrubs(PendingDeletes(self.engine), claims, stores, process.id)
        area = StagingArea(self.folder, Threads(reactor, "staging", 1))
        recovery = Recovery(
            self.images, claims, stores, area, Events(LogNotifier()), self._none, self._none, scrubs.finish
        )
        strays = Strays(self.engine)
        removal = StrayRemoval(strays, claims, Ownership(strays, 0), stores, process.id)
        readers = Readers(self.images, Members(self.engine), stores)
        throttle = Throttle(reactor, 1e12)
        repairs = Repairs(Copies(self.engine), stores, recovery, self.hashing, throttle, readers, process.id)
        return Node(claims, recovery, scrubs, removal, repairs, process)

    async def _none(self, _: Claim) -> None:
        raise AssertionError("there are no imports here")

    async def saving(self, node: Node, image: Image) -> Claim:
        """*image* is being uploaded by *node*, and the data is in the store."""
        claim = self.claim(node, UPLOAD, image)
        await self.images.begin(image.to("saving"), "queued", claim, UNLIMITED, len(DATA))
        await self.store.add(image.id, BytesSource(DATA), claim.id)
        return claim

    def claim(self, node: Node, kind: str, image: Image) -> Claim:
        return Claim(id=uuid.uuid4().hex, kind=kind, image_id=image.id, store="distant", process=node.process.id)

    def active(self, image: Image) -> Image:
        location = Location(url=self.store.url_prefix + image.id, metadata={"store": "distant"})
        return evolve(image, status="active", size=len(DATA), checksum="a sum", locations=(location,))

    async def publish(self, image: Image, claim: Claim) -> Image:
        return await self.images.publish(self.active(image), "saving", claim)

    async def pass_a_lease(self, *living: Node) -> None:
        """For all but these it ends."""
        self.clock.advance(LEASE / 2)
        for node in living:
            await node.claims.renew(node.process)
        self.clock.advance(LEASE / 2 + 1)

    async def status(self, image: Image) -> str:
        return (await self.images.get(service_context(), image.id)).status


@pytest_twisted.async_yield_fixture
async def cluster(engine: Engine, images: Images, tmp_path: Path) -> AsyncIterator[Cluster]:
    reactor: Any = the_reactor()
    hashing = Threads(reactor, "hashing", 1)
    hashing.start()
    yield Cluster(engine, images, tmp_path, hashing)
    await hashing.stop()


@pytest_twisted.async_yield_fixture
async def image(images: Images, new_image: NewImage) -> AsyncIterator[Image]:
    yield await images.create(new_image(disk_format="raw", container_format="bare"))


@pytest_twisted.ensureDeferred
async def test_one_reaper_at_a_time(cluster: Cluster, image: Image) -> None:
    """While a reaper removes what an upload left, no other does, and none can begin; what comes after that stays."""
    dead, first, second = [await cluster.node() for _ in range(3)]
    await cluster.saving(dead, image)
    await dead.claims.retire(dead.process)
    seen = await second.claims.orphans()
    sweeping = first.sweeping()
    held = await cluster.store.reached()
    assert await second.sweep() == 0
    assert await second.recovery.settle_all(seen) == 0
    with pytest.raises(StatusConflict):
        await cluster.saving(second, image)
    held.callback(None)
    assert await sweeping == 1
    anew = await cluster.saving(second, image)
    await cluster.publish(image, anew)
    assert len(cluster.store.held) == 1
    assert len(cluster.store.urls) == 1


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", [UPLOAD, DISCARD, REPAIR])
async def test_reaper_that_slept(cluster: Cluster, image: Image, kind: str) -> None:
    """One that slept after it had looked removes nothing when it wakes up: another has ended its work long ago."""
    dead, sleeper, other = [await cluster.node() for _ in range(3)]
    claim = cluster.claim(dead, kind, image)
    await dead.claims.take(claim)
    await cluster.store.add(image.id, BytesSource(DATA), claim.id)
    await dead.claims.retire(dead.process)
    sweeping = sleeper.sweeping()
    asleep = await cluster.store.reached()
    await cluster.pass_a_lease(other)
    taking_over = other.sweeping()
    (await cluster.store.reached(2)).callback(None)
    assert await taking_over == 1
    anew = await cluster.saving(other, image)
    await cluster.publish(image, anew)
    await sleeper.claims.renew(sleeper.process)
    asleep.callback(None)
    assert await sweeping == 0
    assert len(cluster.store.urls) == 1
    assert await cluster.status(image) == "active"


@pytest_twisted.ensureDeferred
async def test_reaper_that_slept_and_was_not_missed(cluster: Cluster, image: Image, count: Count) -> None:
    """If nobody has taken its work over, it does it the next time."""
    dead, sleeper = await cluster.node(), await cluster.node()
    await cluster.saving(dead, image)
    await dead.claims.retire(dead.process)
    sweeping = sleeper.sweeping()
    held = await cluster.store.reached()
    await cluster.pass_a_lease()
    await sleeper.claims.renew(sleeper.process)
    held.callback(None)
    assert await sweeping == 0
    again = sleeper.sweeping()
    (await cluster.store.reached(2)).callback(None)
    assert await again == 1
    assert await count(table) == 0
    assert await cluster.status(image) == "queued"


@pytest_twisted.ensureDeferred
async def test_owner_that_comes_back(cluster: Cluster, image: Image) -> None:
    """Who slept during his upload can neither publish it, nor undo what a reaper is undoing."""
    owner, reaper = await cluster.node(), await cluster.node()
    claim = await cluster.saving(owner, image)
    with owner.claims.working_on(claim):
        await cluster.pass_a_lease(reaper)
        sweeping = reaper.sweeping()
        held = await cluster.store.reached()
        await owner.claims.renew(owner.process)
        with pytest.raises(StatusConflict):
            await cluster.publish(image, claim)
        assert not await owner.recovery.give_up(claim)
        assert await cluster.status(image) == "saving"
    assert await owner.sweep() == 0
    held.callback(None)
    assert await sweeping == 1
    assert len(cluster.store.held) == 1
    assert await cluster.status(image) == "queued"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("held", [False, True])
async def test_data_that_comes_late(cluster: Cluster, image: Image, held: bool, count: Count) -> None:
    """What who slept stores after his upload was undone, or while that is being done, is not in the way of the next."""
    owner, reaper = await cluster.node(), await cluster.node()
    claim = cluster.claim(owner, UPLOAD, image)
    with owner.claims.working_on(claim):
        await cluster.images.begin(image.to("saving"), "queued", claim, UNLIMITED, len(DATA))
        await cluster.pass_a_lease(reaper)
        (orphan,) = await reaper.claims.orphans()
        adopted = await reaper.claims.adopt(orphan)
        assert adopted is not None
        if not held:
            assert await cluster.images.requeue(adopted)
        await owner.claims.renew(owner.process)
        await cluster.store.add(image.id, BytesSource(DATA), claim.id)
        with pytest.raises(StatusConflict):
            await cluster.publish(image, claim)
        assert not await owner.recovery.give_up(claim)
    if held:
        assert await cluster.images.requeue(adopted)
        assert await owner.sweep() == 0
    sweeping = reaper.sweeping()
    (await cluster.store.reached()).callback(None)
    assert await sweeping == 1
    await cluster.publish(image, await cluster.saving(owner, image))
    assert await count(table) == 0


@pytest_twisted.ensureDeferred
async def test_published_after_all(cluster: Cluster, image: Image, count: Count) -> None:
    """Who was cancelled when his upload was published leaves its data alone."""
    owner = await cluster.node()
    claim = await cluster.saving(owner, image)
    await cluster.publish(image, claim)
    assert not await owner.recovery.give_up(claim)
    assert await count(table) == 0


@pytest_twisted.ensureDeferred
async def test_owner_that_slept_while_undoing(cluster: Cluster, image: Image) -> None:
    """Who slept while he undid his upload leaves alone what has come since."""
    owner, reaper = await cluster.node(), await cluster.node()
    claim = await cluster.saving(owner, image)
    with owner.claims.working_on(claim):
        undoing = Deferred.fromCoroutine(owner.recovery.give_up(claim))
        asleep = await cluster.store.reached()
        assert await reaper.sweep() == await owner.sweep() == 0
        await cluster.pass_a_lease(reaper)
        sweeping = reaper.sweeping()
        (await cluster.store.reached(2)).callback(None)
        assert await sweeping == 1
        anew = await cluster.saving(reaper, image)
        await owner.claims.renew(owner.process)
        undoing.addErrback(lambda failure: None)
        asleep.callback(None)
        await undoing
    await cluster.publish(image, anew)
    assert len(cluster.store.urls) == 1


@pytest_twisted.ensureDeferred
async def test_store_that_is_away(cluster: Cluster, image: Image, count: Count) -> None:
    """What is left to be discarded is not discarded while the next upload goes on, nor begins that meanwhile."""
    dead, first, second = [await cluster.node() for _ in range(3)]
    claim = await cluster.saving(dead, image)
    await dead.claims.retire(dead.process)
    cluster.store.away = True
    assert await first.sweep() == 1
    assert await cluster.status(image) == "queued"
    cluster.store.away = False
    filling = cluster.claim(second, UPLOAD, image)
    with second.claims.working_on(filling):
        await cluster.images.begin(image.to("saving"), "queued", filling, UNLIMITED, 1)
        assert await first.sweep() == 0
        await cluster.images.requeue(filling)
    sweeping = first.sweeping()
    held = await cluster.store.reached()
    with pytest.raises(Conflict):
        await cluster.images.begin(image.to("saving"), "queued", filling, UNLIMITED, 1)
    held.callback(None)
    assert await sweeping == 1
    assert await second.claims.existing([claim.id]) == set()
    await cluster.publish(image, await cluster.saving(second, image))


@pytest_twisted.ensureDeferred
async def test_image_deleted_meanwhile(cluster: Cluster, image: Image, count: Count) -> None:
    """A delete that is being finished, and one that comes in between, both end."""
    dead, reaper, other = [await cluster.node() for _ in range(3)]
    published = await cluster.publish(image, await cluster.saving(dead, image))
    await dead.claims.take(cluster.claim(dead, DELETE, image))
    await dead.claims.retire(dead.process)
    sweeping = reaper.sweeping()
    held = await cluster.store.reached()
    assert await other.sweep() == 0
    await cluster.images.delete(published, was="active")
    held.callback(None)
    assert await sweeping == 1
    assert await count(table) == 0
    assert cluster.store.urls == []
    with pytest.raises(ImageNotFound):
        await cluster.status(image)


@pytest_twisted.ensureDeferred
async def test_refused_delete_of_one_that_slept(cluster: Cluster, image: Image) -> None:
    """Who slept, and then is refused, does not end the delete that another is finishing."""
    owner, reaper = await cluster.node(), await cluster.node()
    await cluster.publish(image, await cluster.saving(owner, image))
    claim = cluster.claim(owner, DELETE, image)
    with owner.claims.working_on(claim):
        await owner.claims.take(claim)
        await cluster.pass_a_lease(reaper)
        sweeping = reaper.sweeping()
        held = await cluster.store.reached()
        await owner.claims.release(claim)
    held.callback(None)
    assert await sweeping == 1
    with pytest.raises(ImageNotFound):
        await cluster.status(image)


@pytest_twisted.ensureDeferred
async def test_scrubber_that_slept(cluster: Cluster, image: Image, count: Count) -> None:
    """What a scrubber has begun is finished: an image of which it may have removed something does not come back."""
    scrubber, reaper = await cluster.node(), await cluster.node()
    published = await cluster.publish(image, await cluster.saving(scrubber, image))
    await cluster.images.delete(published, was="active", later=True)
    service = Scrubber(cluster.clock, PendingDeletes(cluster.engine), scrubber.scrubs, ScrubSettings())
    scrubbing = Deferred.fromCoroutine(service.run_all())
    asleep = await cluster.store.reached()
    await cluster.pass_a_lease(reaper)
    sweeping = reaper.sweeping()
    held = await cluster.store.reached(2)

    def back(connection: Connection) -> None:
        restore(connection, image.id)

    with pytest.raises(Conflict):
        await cluster.engine.interact(back)
    held.callback(None)
    assert await sweeping == 1
    with pytest.raises(Conflict):
        await cluster.engine.interact(back)
    asleep.callback(None)
    with pytest.raises(CancelledError):
        await scrubbing
    assert await count(table) == 0
    assert cluster.store.urls == []


@pytest_twisted.ensureDeferred
async def test_scrubber_that_is_stopped(cluster: Cluster, image: Image) -> None:
    """Its store may have removed the data already: the image does not come back, and is finished."""
    node = await cluster.node()
    published = await cluster.publish(image, await cluster.saving(node, image))
    await cluster.images.delete(published, was="active", later=True)
    (doomed,) = await PendingDeletes(cluster.engine).due(0, 10)
    scrubbing = Deferred.fromCoroutine(node.scrubs.scrub(doomed))
    await cluster.store.reached()
    scrubbing.cancel()
    with pytest.raises(CancelledError):
        await scrubbing
    with pytest.raises(Conflict):
        await cluster.engine.interact(lambda connection: restore(connection, image.id))
    sweeping = node.sweeping()
    (await cluster.store.reached(2)).callback(None)
    assert await sweeping == 1
    assert cluster.store.urls == []


@pytest_twisted.ensureDeferred
async def test_a_scrubber_that_meets_a_defect(cluster: Cluster, images: Images, new_image: NewImage) -> None:
    """It goes on with what else a dead one has begun."""
    dead, other = await cluster.node(), await cluster.node()
    for image in [await images.create(new_image(disk_format="raw", container_format="bare")) for _ in range(2)]:
        published = await cluster.publish(image, await cluster.saving(dead, image))
        await images.delete(published, was="active", later=True)
    scrubbing = [
        Deferred.fromCoroutine(dead.scrubs.scrub(doomed)) for doomed in await PendingDeletes(cluster.engine).due(0, 10)
    ]
    asleep = [await cluster.store.reached(number) for number in (1, 2)]
    await cluster.pass_a_lease(other)
    (first, *_) = await other.claims.orphans()
    cluster.store.broken = cluster.store.url_prefix + first.image_id
    going_on = Deferred.fromCoroutine(other.scrubs.go_on())
    (await cluster.store.reached(3)).callback(None)
    assert await going_on == [False, True]
    assert cluster.store.urls == [cluster.store.broken]
    for held in asleep:  # in whatever order they came
        held.callback(None)
    for each in scrubbing:
        with pytest.raises((CancelledError, RuntimeError)):
            await each


@pytest_twisted.ensureDeferred
async def test_removal_of_a_stray_that_slept(cluster: Cluster, image: Image) -> None:
    """What an upload has put there meanwhile stays."""
    sleeper, other = await cluster.node(), await cluster.node()
    url = (await cluster.store.add(image.id, BytesSource(DATA), uuid.uuid4().hex)).url
    item = Item(name=url, image_id=image.id, url=url)
    stray = Stray(store="distant", item=item, size=len(DATA), changed=START, first_seen=START)
    removing = Deferred.fromCoroutine(sleeper.removal.remove(stray))
    asleep = await cluster.store.reached()
    await cluster.pass_a_lease(other)
    assert await other.sweep() == 1
    cluster.store._kept.clear()
    await cluster.publish(image, await cluster.saving(other, image))
    asleep.callback(None)
    with pytest.raises(CancelledError):
        await removing
    assert cluster.store.urls == [url]


@pytest_twisted.ensureDeferred
async def test_repair_that_slept(cluster: Cluster, image: Image, count: Count) -> None:
    """The copy that another has remade meanwhile stays."""
    sleeper, other = await cluster.node(), await cluster.node()
    claim = await cluster.saving(sleeper, image)
    await cluster.near.add(image.id, BytesSource(DATA), claim.id)
    active = cluster.active(image)
    sister = Location(url=cluster.near.url_prefix + image.id, metadata={"store": "near"})
    active = evolve(active, checksum=hashlib.md5(DATA).hexdigest(), locations=(*active.locations, sister))
    await cluster.images.publish(active, "saving", claim)
    copies = Copies(cluster.engine)
    await copies.enrol()
    (copy,) = [each for each in await copies.in_state("unknown") if each.location.store == "distant"]
    assert await copies.record(copy, CORRUPT)
    (copy,) = await copies.in_state(CORRUPT)
    remaking = Deferred.fromCoroutine(sleeper.repairs.repair(copy))
    asleep = await cluster.store.reached()
    await cluster.pass_a_lease(other)
    assert await other.sweep() == 1
    anew = Deferred.fromCoroutine(other.repairs.repair(copy))
    (await cluster.store.reached(2)).callback(None)
    assert await anew
    asleep.callback(None)
    with pytest.raises(CancelledError):
        await remaking
    assert cluster.store.urls == [copy.location.url]
    assert await count(table) == 0
    assert not await copies.record(copy, CORRUPT, "what somebody saw before it was remade")
    assert await copies.counts() == {SOUND: 2}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", [UPLOAD, DELETE, REPAIR, STAGE, DISCARD, SCRUB, STRAY])
async def test_each_kind_has_one_owner(cluster: Cluster, image: Image, kind: str, count: Count) -> None:
    """Of two reapers that have seen the same orphan, one settles it."""
    dead, first, second = [await cluster.node() for _ in range(3)]
    await dead.claims.take(cluster.claim(dead, kind, image))
    await dead.claims.retire(dead.process)
    seen = [await node.claims.orphans() for node in (first, second)]
    assert [each.process for both in seen for each in both] == [NOBODY, NOBODY]
    done = [
        Deferred.fromCoroutine(node.recovery.settle_all(each)) for node, each in zip((first, second), seen, strict=True)
    ]
    assert sorted([await each for each in done]) == [0, 1]
    assert await count(table) == 0
