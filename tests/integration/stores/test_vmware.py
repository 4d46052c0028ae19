"""The VMware store against a simulated vCenter (S-100, S-102)."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from twisted.internet.task import Clock

from glancetx.config.settings import ClientTlsSettings
from glancetx.config.store_settings import MIB, VmwareDatastore, VmwareSettings
from glancetx.domain.errors import Conflict, DataNotFound, StoreFull, StoreUnavailable
from glancetx.interfaces import IStore
from glancetx.outgoing.client import Answer, HttpClient, Patience
from glancetx.outgoing.retries import Retries
from glancetx.outgoing.tls import TlsPolicy
from glancetx.stores.uri import datastore_place
from glancetx.stores.vmware import VmwareStore
from glancetx.stores.vmware_files import Room, choose
from glancetx.testing.fakes import ScriptedSource
from glancetx.testing.stores import CONTENT, StoreTests, keep, listed, new_attempt, new_id, read, the_reactor
from tests.services.vcsim import DATACENTER, PASSWORD, USER, Vcenter

STORES = tuple(VmwareDatastore(datacenter=DATACENTER, name=f"LocalDS_{number}", weight=number) for number in (0, 1))
LARGE = CONTENT + CONTENT  # more than is kept in memory


def settings_for(vcenter: Vcenter, **changes: Any) -> VmwareSettings:
    """A directory of its own."""
    values: dict[str, Any] = {
        "host": vcenter.host,
        "username": USER,
        "password": PASSWORD,
        "datastores": STORES,
        "image_dir": f"/d{uuid.uuid4().hex}/images/",
        "cafile": vcenter.files.ca,
    }
    return VmwareSettings(**(values | changes))


def store_of(settings: VmwareSettings, patience: Patience | None = None) -> VmwareStore:
    reactor: Any = the_reactor()
    trust = ClientTlsSettings(cafile=settings.cafile, insecure=settings.insecure, fingerprint=settings.fingerprint)
    client = HttpClient(reactor, TlsPolicy(trust), patience)
    return VmwareStore(settings, client, Retries(reactor, most=3, first=0.02), multiple=False)


class TestVcsim(StoreTests):
    """The suite."""

    @pytest.fixture(autouse=True)
    def _server(self, vcenter: Vcenter) -> None:
        self.vcenter = vcenter

    async def make_store(self) -> IStore:
        self.settings = settings_for(self.vcenter)
        return store_of(self.settings)

    async def remains(self, store: IStore) -> Collection[str]:
        return self.vcenter.names(self.settings.folder)


@pytest_twisted.ensureDeferred
async def test_large(vcenter: Vcenter) -> None:
    """What does not fit into memory is streamed, with its length and without; the location is Glance's."""
    settings = settings_for(vcenter)
    store = store_of(settings)
    for length in (len(LARGE), "unknown"):
        image_id = new_id()
        body = ScriptedSource(*[LARGE[i : i + 100_000] for i in range(0, len(LARGE), 100_000)], length=length)
        stored = await store.add(image_id, body, new_attempt())
        folder = settings.image_dir.strip("/")
        assert stored.url == f"vsphere://{vcenter.host}/folder/{folder}/{image_id}?dsName=LocalDS_1&dcPath=DC0"
        assert await read(store, stored.url) == LARGE
        await store.delete(stored.url)
    assert vcenter.names(settings.folder) == []
    await store.stop()


@pytest_twisted.ensureDeferred
async def test_renews_its_session(vcenter: Vcenter) -> None:
    """A session that the server has ended is replaced, whatever is asked for: by the API or of files."""
    store = store_of(settings_for(vcenter))
    session = store._session
    stored = await keep(store, LARGE)

    async def end() -> None:
        entry = await session.enter()
        await session.call("Logout", "sessionManager")
        assert await session.enter() is entry

    await end()
    assert await read(store, stored.url) == LARGE
    await end()
    other = await keep(store, LARGE)
    await end()
    await store.delete(other.url)
    await end()
    assert await store.size(stored.url) == len(LARGE)
    await store.stop()


@pytest_twisted.ensureDeferred
async def test_logs_out(vcenter: Vcenter) -> None:
    """A store that stops leaves no session behind."""
    store, other = (store_of(settings_for(vcenter)) for _ in range(2))
    entry = await store._session.enter()
    await store.stop()
    other._session._entry = entry
    await other.size((await keep(other, b"data")).url)
    assert other._session._entry != entry  # it was refused
    await other.stop()


@pytest_twisted.ensureDeferred
async def test_trust(vcenter: Vcenter) -> None:
    """The server is verified by an authority or a fingerprint, or not at all if that is wanted; else not trusted."""
    fingerprint = x509.load_pem_x509_certificate(vcenter.files.certificate.read_bytes()).fingerprint(SHA256()).hex()
    good: list[dict[str, Any]] = [{"insecure": True}, {"fingerprint": fingerprint}]
    bad: list[dict[str, Any]] = [{}, {"fingerprint": fingerprint[1:] + "0"}]
    for changes in good + bad:
        store = store_of(settings_for(vcenter, **({"cafile": None} | changes)))
        if changes in good:
            await store.delete((await keep(store, b"data")).url)
        else:
            with pytest.raises(StoreUnavailable):
                await keep(store, b"data")
        await store.stop()


@pytest_twisted.ensureDeferred
async def test_refused(vcenter: Vcenter) -> None:
    """A wrong password, no such datacenter or datastore, no server: the store is unavailable, and says no secret."""
    settings = settings_for(vcenter)
    for wrong in (
        evolve(settings, password="wrong-" + PASSWORD),
        evolve(settings, datastores=(VmwareDatastore(datacenter="DC7", name="LocalDS_0"),)),
        evolve(settings, datastores=(VmwareDatastore(datacenter=DATACENTER, name="LocalDS_7"),)),
        evolve(settings, host="127.0.0.1:9"),
    ):
        store = store_of(wrong)
        body = ScriptedSource(LARGE)
        with pytest.raises(StoreUnavailable) as caught:
            await store.add(new_id(), body, new_attempt())
        assert not body.active
        assert PASSWORD not in str(caught.value)
        await store.stop()


@pytest_twisted.ensureDeferred
async def test_discards_after_a_crash(vcenter: Vcenter) -> None:
    """An upload that died at any of its steps is removed; what another attempt has stored, or is storing, stays."""
    settings = settings_for(vcenter)
    store, image_id, attempt, other = store_of(settings), new_id(), new_attempt(), new_attempt()
    stored = await keep(store, LARGE, image_id, other)
    final = datastore_place(stored.url)
    part, owner = final.beside(f".{attempt}.part"), final.beside(".owner")
    await store._files.write(part, [b"draft"])
    await store.discard(image_id, attempt)  # died while it wrote
    assert vcenter.names(settings.folder) == [image_id, f"{image_id}.owner"]
    await store._files.write(part, [b"draft"])
    await store._files.write(owner, [attempt.encode()])
    await store.discard(image_id, attempt)  # died before it got its name, which was taken
    assert await read(store, stored.url) == LARGE
    await store.delete(stored.url)
    await store._files.write(part, [b"draft"])
    await store._files.write(owner, [attempt.encode()])
    await store._files.move(part, final)
    await store.discard(image_id, attempt)  # died when it had its name
    assert vcenter.names(settings.folder) == []
    await store.stop()


class Late(HttpClient):
    """One that slept after it had looked for the first time: *meanwhile* was done."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def request(self, method: str, *args: Any, **more: Any) -> Answer:
        answer = await super().request(method, *args, **more)
        if method == "HEAD" and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return answer


@pytest_twisted.ensureDeferred
async def test_a_late_removal_removes_nothing(vcenter: Vcenter) -> None:
    """Who looked before the data of another attempt came, and slept, looks again before he removes it."""
    reactor: Any = the_reactor()
    settings, clock, image_id, attempt = settings_for(vcenter), Clock(), new_id(), new_attempt()
    client = Late(reactor, TlsPolicy(ClientTlsSettings(cafile=settings.cafile)))
    other, late = store_of(settings), VmwareStore(settings, client, Retries(clock), multiple=False)
    stored = await keep(other, b"older", image_id, attempt)

    async def meanwhile() -> None:
        await other.discard(image_id, attempt)
        await keep(other, b"newer", image_id)
        clock.advance(60)

    client.meanwhile = meanwhile
    await late.discard(image_id, attempt)
    assert await read(other, stored.url) == b"newer"
    assert vcenter.names(settings.folder) == [image_id, f"{image_id}.owner"]
    await late.stop()
    await other.stop()


@pytest_twisted.ensureDeferred
async def test_ends_a_broken_delete(vcenter: Vcenter) -> None:
    """What a delete has left that ended in the middle goes with the next one."""
    settings = settings_for(vcenter)
    store = store_of(settings)
    stored = await keep(store, b"data")
    await store._files.delete(datastore_place(stored.url))
    with pytest.raises(DataNotFound):
        await store.delete(stored.url)
    assert vcenter.names(settings.folder) == []
    await store.stop()


@pytest_twisted.ensureDeferred
async def test_data_of_somebody_else(vcenter: Vcenter) -> None:
    """A file that is there already, in any of the datastores, is not overwritten; nothing else is left."""
    settings = settings_for(vcenter)
    store, image_id = store_of(settings), new_id()
    lesser = store_of(evolve(settings, datastores=STORES[:1]))
    stored = await keep(lesser, b"first", image_id)
    with pytest.raises(Conflict):
        await keep(store, LARGE, image_id)
    assert await read(store, stored.url) == b"first"
    assert vcenter.names(settings.folder) == [image_id, f"{image_id}.owner"]
    for each in (store, lesser):
        await each.stop()


def test_choice() -> None:
    """The heaviest datastore that has room; of several the one with most room; if none has, the store is full."""
    light, heavy, other = (
        VmwareDatastore(datacenter="d", name=name, weight=weight) for name, weight in (("l", 0), ("h", 9), ("o", 9))
    )
    rooms = [Room(light, 10 * MIB), Room(heavy, MIB), Room(other, 2 * MIB)]
    assert choose(rooms, 0) == other
    assert choose(rooms, 2 * MIB) == other
    assert choose(rooms, 3 * MIB) == light
    with pytest.raises(StoreFull):
        choose(rooms, 11 * MIB)
    with pytest.raises(StoreFull):
        choose([Room(light, 0)], 0)


@pytest_twisted.ensureDeferred
async def test_lists_drafts_and_no_files_of_others(vcenter: Vcenter) -> None:
    """In all datastores: drafts, and owners of nothing; an owner belongs to its image; other files are not told."""
    settings = settings_for(vcenter)
    store = store_of(settings)
    whole, lost, attempt = new_id(), new_id(), new_attempt()
    stored = await keep(store, b"data", whole)
    folder = vcenter.place(settings.folder, whole).parent
    names = [f"{whole}.{attempt}.part", f"{lost}.{attempt}.part", f"{lost}.owner"]
    for name in (*names, f"{lost}.vmdk", "notes", "d41d8cd98f"):
        (folder / name).write_bytes(b"0123456789")
    items = {item.name.rpartition("/")[2]: item for item in await listed(store)}
    assert {name: item.piece for name, item in items.items()} == {whole: False, **dict.fromkeys(names, True)}
    assert items[names[0]].url == stored.url
    for name in names:
        kept = await store.look(items[name])
        assert kept is not None
        assert (kept.size, kept.superseded) == (10, name == names[0])
        assert -600 < kept.age < 600
        await store.remove(items[name])
        assert await store.look(items[name]) is None
    await store.remove(items[whole])
    assert vcenter.names(settings.folder) == sorted(["d41d8cd98f", f"{lost}.vmdk", "notes"])
    await store.stop()
