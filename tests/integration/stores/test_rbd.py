"""The rbd store against a real Ceph: the suite, and what is Ceph's own (S-047..S-055)."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.web.iweb import UNKNOWN_LENGTH

from glancetx.config.store_settings import MIB
from glancetx.domain.errors import (
    ConfigurationError,
    Conflict,
    DataInUse,
    DataNotFound,
    StoreFull,
    StoreUnavailable,
)
from glancetx.interfaces import IStore
from glancetx.stores.rbd import RbdStore
from glancetx.stores.rbd_draft import MARK, part_name
from glancetx.testing.fakes import Recorder, ScriptedSource, turns, until
from glancetx.testing.stores import StoreTests, keep, listed, new_attempt, new_id, read, the_reactor
from tests.ports import free_port
from tests.services.ceph import Ceph

CONTENT = os.urandom(9 * MIB + 17)


def store_of(ceph: Ceph, **changes: Any) -> RbdStore:
    reactor: Any = the_reactor()
    return RbdStore(ceph.settings(**({"chunk_size": MIB} | changes)), reactor, multiple=False)


@asynccontextmanager
async def opened(ceph: Ceph, **changes: Any) -> AsyncIterator[RbdStore]:
    """A started store; all images go when it is stopped."""
    store = store_of(ceph, **changes)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()
        ceph.clear()


@contextmanager
def image(ceph: Ceph, name: str, **how: Any) -> Iterator[Any]:
    """An image, opened by another client of Ceph."""
    with ceph.pool() as pool, ceph.rbd.Image(pool, name, **how) as found:
        yield found


def image_names(ceph: Ceph) -> list[str]:
    with ceph.pool() as pool:
        return list(ceph.rbd.RBD().list(pool))


class TestRbdStore(StoreTests):
    """The suite."""

    @pytest.fixture(autouse=True)
    def _cluster(self, ceph: Ceph) -> None:
        self.ceph = ceph

    async def make_store(self) -> IStore:
        return store_of(self.ceph)

    async def remains(self, store: IStore) -> Collection[str]:
        return self.ceph.objects()

    async def dispose(self, store: IStore) -> None:
        self.ceph.clear()


@pytest_twisted.ensureDeferred
async def test_image(ceph: Ceph) -> None:
    """What Glance would have made: name, size, objects, features, and a protected snapshot to clone from."""
    async with opened(ceph, chunk_size=4 * MIB) as store:
        image_id = new_id()
        stored = await keep(store, CONTENT, image_id)
        assert stored.url == f"rbd://{ceph.fsid}/images/{image_id}/snap"
        assert store.url_prefix == f"rbd://{ceph.fsid}/images/"
        assert image_names(ceph) == [image_id]
        with image(ceph, image_id) as found:
            assert found.stat()["size"] == len(CONTENT)
            assert found.stat()["order"] == 22
            assert found.features() & 61 == 61
            assert [each["name"] for each in found.list_snaps()] == ["snap"]
            assert found.is_protected_snap("snap")


@pytest.mark.parametrize("length", [None, UNKNOWN_LENGTH])
@pytest_twisted.ensureDeferred
async def test_thin(ceph: Ceph, length: str | None) -> None:
    """Chunks of zeros take no room, wherever they are, and are read as zeros."""
    async with opened(ceph, thin=True) as store:
        content = bytes(3 * MIB) + b"data" + bytes(6 * MIB) + b"end" + bytes(2 * MIB)
        stored = await store.add(new_id(), ScriptedSource(content, length=length), new_attempt())
        assert await read(store, stored.url) == content
        assert len([name for name in ceph.objects() if name.startswith("rbd_data")]) == 2
    async with opened(ceph) as store:
        await store.add(new_id(), ScriptedSource(content, length=length), new_attempt())
        assert len([name for name in ceph.objects() if name.startswith("rbd_data")]) == 12


@pytest_twisted.ensureDeferred
async def test_grows(ceph: Ceph) -> None:
    """An image of unknown size grows while it is written, in the end it is as large as what came."""
    async with opened(ceph) as store:
        image_id, attempt = new_id(), new_attempt()
        body = ScriptedSource(*[CONTENT[:MIB]] * 40, held=True)
        adding = Deferred.fromCoroutine(store.add(image_id, body, attempt))
        await until(the_reactor(), lambda: not body.pieces)
        with image(ceph, part_name(image_id, attempt), read_only=True) as found:
            assert found.size() in (2 * MIB, 6 * MIB, 14 * MIB, 30 * MIB, 62 * MIB)  # doubling
        body.end()
        stored = await adding
        assert stored.size == await store.size(stored.url) == 40 * MIB


@pytest_twisted.ensureDeferred
async def test_cloned(ceph: Ceph) -> None:
    """An image with clones is not deleted, and nothing changes; without them it is."""
    async with opened(ceph) as store:
        image_id, images = new_id(), ceph.rbd.RBD()
        url = (await keep(store, CONTENT, image_id)).url
        with ceph.pool() as pool:
            images.clone(pool, image_id, "snap", pool, "child", features=1)
        with pytest.raises(DataInUse):
            await store.delete(url)
        with image(ceph, image_id) as found:
            assert found.is_protected_snap("snap")
        assert await read(store, url) == CONTENT
        with ceph.pool() as pool:
            images.remove(pool, "child")
        await store.delete(url)
        assert ceph.objects() == []


@pytest_twisted.ensureDeferred
async def test_held_open(ceph: Ceph) -> None:
    """An image that somebody writes to is not deleted, and its snapshot is there as before."""
    async with opened(ceph) as store:
        image_id = new_id()
        url = (await keep(store, CONTENT, image_id)).url
        with image(ceph, image_id):
            with pytest.raises(DataInUse):
                await store.delete(url)
            assert await read(store, url) == CONTENT
        with image(ceph, image_id) as found:
            assert found.is_protected_snap("snap")
        await store.delete(url)


@pytest_twisted.ensureDeferred
async def test_other_snapshots(ceph: Ceph) -> None:
    """An image with other snapshots goes to Ceph's trash, from where an operator can have it back."""
    async with opened(ceph) as store:
        image_id = new_id()
        url = (await keep(store, CONTENT, image_id)).url
        with image(ceph, image_id) as found:
            found.create_snap("mine")
        await store.delete(url)
        with pytest.raises(DataNotFound):
            await store.size(url)
        with ceph.pool() as pool:
            (trashed,) = ceph.rbd.RBD().trash_list(pool)
            assert trashed["name"] == image_id
            ceph.rbd.RBD().trash_restore(pool, trashed["id"], image_id)
        with image(ceph, image_id, snapshot="mine") as found:
            assert found.read(0, 100) == CONTENT[:100]


@pytest_twisted.ensureDeferred
async def test_unprotected(ceph: Ceph) -> None:
    """A snapshot that somebody has unprotected or removed does not keep an image from being deleted."""
    async with opened(ceph) as store:
        for remove in (False, True):
            image_id = new_id()
            url = (await keep(store, CONTENT, image_id)).url
            with image(ceph, image_id) as found:
                found.unprotect_snap("snap")
                if remove:
                    found.remove_snap("snap")
            await store.delete(url)
            assert ceph.objects() == []


@pytest_twisted.ensureDeferred
async def test_old_location(ceph: Ceph) -> None:
    """The short form of old times: an image of the configured pool, without a snapshot."""
    async with opened(ceph) as store:
        with ceph.pool() as pool:
            ceph.rbd.RBD().create(pool, "old", len(CONTENT), 22, old_format=False, features=1)
        with image(ceph, "old") as found:
            found.write(CONTENT, 0)
        assert await read(store, "rbd://old", 5, MIB) == CONTENT[5 : MIB + 5]
        await store.delete("rbd://old")
        with pytest.raises(DataNotFound):
            await store.delete("rbd://old")


@pytest_twisted.ensureDeferred
async def test_deleted_while_read(ceph: Ceph) -> None:
    """What is deleted reads as zeros; they are never taken for the image."""
    async with opened(ceph) as store:
        url = (await keep(store, CONTENT)).url
        recorder = Recorder(limit=1)
        receiving = Deferred.fromCoroutine(recorder.receive(await store.get(url)))
        await until(the_reactor(), lambda: recorder.paused)
        await store.delete(url)
        recorder.resume()
        with pytest.raises(DataNotFound):
            await receiving
        assert len(recorder.data) < len(CONTENT)


@pytest_twisted.ensureDeferred
async def test_other_pools(ceph: Ceph) -> None:
    """A location says in which pool its image is; a pool that is not there is the store's fault, not the image's."""
    ceph.make_pool("other")
    async with opened(ceph, pool="other") as other, opened(ceph) as store:
        url = (await keep(other, CONTENT)).url
        assert await read(store, url) == CONTENT
        await store.delete(url)
    async with opened(ceph, pool="nowhere") as store:
        with pytest.raises(StoreUnavailable):
            await keep(store, CONTENT)


def crashed(kind: str) -> Callable[[Ceph, str, str], None]:
    """Makes what a process leaves that died at some step of an upload, or within one of Ceph's."""

    def make(ceph: Ceph, image_id: str, attempt: str) -> None:
        part, images = part_name(image_id, attempt), ceph.rbd.RBD()
        with ceph.pool() as pool:
            images.create(pool, part, 8 * MIB, 22, old_format=False, features=61)
            with ceph.rbd.Image(pool, part) as found:
                found.write(CONTENT[:MIB], 0)
                number = found.id()
                if kind != "written":
                    found.metadata_set(MARK, attempt)
                    found.create_snap("snap")
                    if kind != "snapshot":
                        found.protect_snap("snap")
            if kind == "renaming":
                pool.write_full(f"rbd_id.{image_id}", pool.read(f"rbd_id.{part}"))
            elif kind in ("renamed", "nearly renamed"):
                images.rename(pool, part, image_id)
                if kind == "nearly renamed":
                    pool.write_full(f"rbd_id.{part}", len(number).to_bytes(4, "little") + number.encode())

    return make


@pytest.mark.parametrize("kind", ["written", "snapshot", "protected", "renaming", "nearly renamed", "renamed"])
@pytest_twisted.ensureDeferred
async def test_discards_after_a_crash(ceph: Ceph, kind: str) -> None:
    """Wherever a process died, nothing of its attempt is left, and the image can be stored."""
    async with opened(ceph) as store:
        image_id, attempt = new_id(), new_attempt()
        crashed(kind)(ceph, image_id, attempt)
        await store.discard(image_id, attempt)
        assert ceph.objects() == []
        await store.discard(image_id, attempt)
        assert await read(store, (await keep(store, CONTENT, image_id)).url) == CONTENT


class Asleep:
    """Ceph's module for one that sleeps when it is about to give an image another name: *meanwhile* is done."""

    def __init__(self, rbd: Any, meanwhile: Callable[[], None]) -> None:
        self._rbd, self._meanwhile = rbd, [meanwhile]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rbd, name)

    def RBD(self) -> Any:
        if self._meanwhile:
            self._meanwhile.pop()()
        return self._rbd.RBD()


@pytest_twisted.ensureDeferred
async def test_asleep_before_removing(ceph: Ceph) -> None:
    """Who slept between looking and removing leaves alone what has come meanwhile; so who was killed gives it back."""
    async with opened(ceph) as late:
        image_id, attempt, newer = new_id(), new_attempt(), new_attempt()
        crashed("renamed")(ceph, image_id, attempt)
        with ceph.pool() as pool:

            def meanwhile() -> None:
                ceph.rbd.RBD().rename(pool, image_id, "older")
                crashed("renamed")(ceph, image_id, newer)

            connection = await late._cluster.acquire()
            connection.rbd = Asleep(connection.rbd, meanwhile)
            late._cluster.release(connection)
            await late.discard(image_id, attempt)
            assert sorted(image_names(ceph)) == sorted([image_id, "older"])
            ceph.rbd.RBD().rename(pool, image_id, part_name(image_id, attempt))
        await late.discard(image_id, attempt)
        with image(ceph, image_id, read_only=True) as found:
            assert found.metadata_get(MARK) == newer
            assert found.is_protected_snap("snap")


@pytest_twisted.ensureDeferred
async def test_discards_nothing_of_glance(ceph: Ceph) -> None:
    """An image without our mark is another's."""
    async with opened(ceph) as store:
        image_id = new_id()
        with ceph.pool() as pool:
            ceph.rbd.RBD().create(pool, image_id, 8 * MIB, 22, old_format=False, features=61)
        with pytest.raises(Conflict):
            await keep(store, CONTENT, image_id)
        await store.discard(image_id, new_attempt())
        assert image_names(ceph) == [image_id]


@pytest_twisted.ensureDeferred
async def test_discards_when_nobody_holds_it(ceph: Ceph) -> None:
    """As long as Ceph believes that a process is there, its attempt stays; to try again later helps."""
    async with opened(ceph) as store:
        image_id, attempt = new_id(), new_attempt()
        crashed("written")(ceph, image_id, attempt)
        with image(ceph, part_name(image_id, attempt)) as found:
            found.write(b"x", 0)
            with pytest.raises(DataInUse):
                await store.discard(image_id, attempt)
        await store.discard(image_id, attempt)
        assert ceph.objects() == []


@pytest_twisted.ensureDeferred
async def test_full(ceph: Ceph) -> None:
    """A pool whose quota is used up takes no image, says so at once, keeps nothing, and lets images be deleted."""
    ceph.make_pool("full")
    async with opened(ceph, pool="full", timeout=-1) as store:
        url = (await keep(store, CONTENT)).url
        ceph.command("osd", "pool", "set-quota", "full", "max_bytes", str(MIB))
        await becomes(lambda: "full_quota" in str(ceph.command("osd", "pool", "ls", "detail")))
        body = ScriptedSource(CONTENT)
        with pytest.raises(StoreFull):
            await store.add(new_id(), body, new_attempt())
        assert not body.active
        assert await read(store, url) == CONTENT
        await store.delete(url)
        assert ceph.objects("full") == []


@pytest_twisted.ensureDeferred
async def test_nothing_answers(ceph: Ceph, tmp_path: Any) -> None:
    """The service starts without its cluster; what needs it is refused when the time is over."""
    nowhere = tmp_path / "ceph.conf"
    text = ceph.config.read_text()
    address = next(line for line in text.splitlines() if line.startswith("mon host"))
    nowhere.write_text(text.replace(address, f"mon host = 127.0.0.1:{free_port()}"))
    store = store_of(ceph, ceph_conf=nowhere, timeout=1)
    await store.start()
    assert store.url_prefix == f"rbd://{ceph.fsid}/images/"
    body = ScriptedSource(CONTENT, held=True)
    calls = [
        store.add(new_id(), body, new_attempt()),
        store.size("rbd://a"),
        store.get("rbd://a"),
        store.delete("rbd://a"),
    ]
    for waiting in [Deferred.fromCoroutine(call) for call in calls]:
        with pytest.raises(StoreUnavailable):
            await waiting
    assert body.stopped
    await store.stop()


@pytest_twisted.ensureDeferred
async def test_stands_still(ceph: Ceph) -> None:
    """A cluster that stops to answer ends what is under way; when it is back, so is the store, and nothing is left."""
    async with opened(ceph, timeout=4) as store:
        url = (await keep(store, CONTENT)).url
        source, recorder = await store.get(url), Recorder(limit=1)
        receiving = Deferred.fromCoroutine(recorder.receive(source))
        await until(the_reactor(), lambda: recorder.paused)
        image_id, attempt = new_id(), new_attempt()
        body = ScriptedSource(CONTENT, held=True)
        adding = Deferred.fromCoroutine(store.add(image_id, body, attempt))
        await until(the_reactor(), lambda: any(part_name(image_id, attempt) in name for name in image_names(ceph)))
        ceph.freeze()
        try:
            recorder.resume()
            body.send(CONTENT)
            body.end()
            sizes = [Deferred.fromCoroutine(store.size(url)) for _ in range(30)]
            calls: list[Any] = [adding, receiving, *sizes]
            for call in calls:
                with pytest.raises(StoreUnavailable):
                    await call
            assert not body.active
        finally:
            ceph.thaw()
        await gone(store, image_id, attempt)
        assert await read(store, url) == CONTENT
        assert image_names(ceph) == [url.split("/")[-2]]


async def becomes(true: Callable[[], bool]) -> None:
    """Wait until it is *true*, for a minute."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        await turns(the_reactor())


async def gone(store: IStore, image_id: str, attempt: str) -> None:
    """Discard it as the reaper does: again, until it works."""
    deadline = time.monotonic() + 90
    while True:
        try:
            return await store.discard(image_id, attempt)
        except (DataInUse, StoreUnavailable):
            assert time.monotonic() < deadline


@pytest.mark.parametrize("changes", [{"ceph_conf": "/nowhere/ceph.conf"}, {"chunk_size": 64 * MIB}])
@pytest_twisted.ensureDeferred
async def test_impossible(ceph: Ceph, changes: dict[str, Any]) -> None:
    """What can never work does not start."""
    store = store_of(ceph, **changes)
    with pytest.raises(ConfigurationError):
        await store.start()


@pytest_twisted.ensureDeferred
async def test_lists_drafts_and_no_images_of_others(ceph: Ceph) -> None:
    """Drafts are pieces, superseded beside the whole; one that is open for writing is young; others' are not told."""
    async with opened(ceph) as store:
        whole, lost, attempt = new_id(), new_id(), new_attempt()
        stored = await keep(store, CONTENT, whole)
        drafts = [part_name(image_id, attempt) for image_id in (whole, lost)]
        with ceph.pool() as pool:
            for name in (*drafts, "volume-1", f"{lost}_disk", f"{lost}.part"):
                ceph.rbd.RBD().create(pool, name, MIB)
        items = {item.name: item for item in await listed(store)}
        assert {name: item.piece for name, item in items.items()} == {whole: False, **dict.fromkeys(drafts, True)}
        assert {item.url for item in items.values() if item.image_id == whole} == {stored.url}
        for name in drafts:
            kept = await store.look(items[name])
            assert kept is not None
            assert (kept.size, kept.superseded) == (MIB, name == drafts[0])
            assert -600 < kept.age < 600
        with image(ceph, drafts[1]):
            kept = await store.look(items[drafts[1]])
            assert kept is not None
            assert kept.age == 0
        await store.remove(items[drafts[0]])
        assert await store.look(items[drafts[0]]) is None
        assert await store.is_same(items[whole], f"rbd://{whole}")
        assert not await store.is_same(items[whole], f"rbd://{ceph.fsid}/other/{whole}/snap")
        assert await read(store, stored.url) == CONTENT
