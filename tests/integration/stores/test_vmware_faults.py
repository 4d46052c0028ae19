"""The VMware store behind a network that breaks: what can be repeated is, and nothing short ever looks whole."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve
from twisted.internet.defer import Deferred

from glancetx.config.store_settings import MIB
from glancetx.domain.errors import (
    Conflict,
    DataNotFound,
    RemovalUnknown,
    StoreFull,
    StoreUnavailable,
    StoreWriteDenied,
)
from glancetx.stores.uri import datastore_place
from glancetx.stores.vmware import VmwareStore
from glancetx.testing.fakes import Recorder, ScriptedSource
from glancetx.testing.stores import keep, new_attempt, new_id, read, the_reactor
from tests.integration.stores.test_vmware import settings_for, store_of
from tests.services.faults import Fault, Faults, patience_in
from tests.services.vcsim import Vcenter

CONTENT = os.urandom(12 * MIB + 5)


@define
class Broken:
    """A store, and the network between it and its server."""

    store: VmwareStore
    faults: Faults
    vcenter: Vcenter

    @property
    def names(self) -> list[str]:
        return self.vcenter.names(self.store._settings.folder)


@pytest_twisted.async_yield_fixture
async def broken(vcenter: Vcenter, request: pytest.FixtureRequest) -> AsyncIterator[Broken]:
    """A store that has logged in."""
    faults = Faults(the_reactor(), f"https://{vcenter.host}", vcenter.files)
    url = await faults.start()
    settings = settings_for(vcenter, host=url.removeprefix("https://"), cafile=None, insecure=True)
    store = store_of(settings, patience_in(request.node.name))
    await store.delete((await keep(store, b"makes the folder")).url)
    faults.requests.clear()
    yield Broken(store, faults, vcenter)
    faults.choose = lambda method, path: None
    await store.stop()
    await faults.stop()


@pytest_twisted.ensureDeferred
async def test_unanswered_removal(broken: Broken) -> None:
    """Whether it was done is not known, if it was asked for and no answer came; the next one finds nothing."""
    store, faults = broken.store, broken.faults
    first, second = [await keep(store, b"data") for _ in range(2)]
    faults.first(1, Fault(sent=0), "POST")
    await store.delete(first.url)
    faults.choose = lambda method, path: Fault(sent=0) if method == "POST" else None
    with pytest.raises(RemovalUnknown):
        await store.delete(second.url)
    faults.choose = lambda method, path: None
    with pytest.raises(DataNotFound):
        await store.delete(second.url)
    assert broken.names == []


DOWN = [
    Fault(status=503),
    Fault(status=401),
    Fault(status=429, headers="Retry-After: 0\r\n"),
    Fault(sent=0),
    Fault(sent=6 * MIB),
    Fault(sent=6 * MIB, end="close"),
    Fault(sent=6 * MIB, end="stall"),
    Fault(sent=len(CONTENT) - 1),
    Fault(delay=0.1),
]


@pytest.mark.parametrize("fault", DOWN, ids=str)
@pytest_twisted.ensureDeferred
async def test_download_goes_on(broken: Broken, fault: Fault) -> None:
    """Whatever happens to a download once, all bytes come, and none twice."""
    url = (await keep(broken.store, CONTENT)).url
    broken.faults.first(1, fault, "GET")
    assert await read(broken.store, url) == CONTENT
    broken.faults.first(1, fault, "GET")
    assert await read(broken.store, url, 1000, 8 * MIB) == CONTENT[1000 : 8 * MIB + 1000]


@pytest.mark.parametrize("lie", [-1, 1, MIB])
@pytest_twisted.ensureDeferred
async def test_wrong_length(broken: Broken, lie: int) -> None:
    """An answer that is not as long as the range is not used."""
    url = (await keep(broken.store, CONTENT)).url
    broken.faults.first(1, Fault(lie=lie), "GET")
    with pytest.raises(StoreUnavailable):
        await read(broken.store, url)


@pytest_twisted.ensureDeferred
async def test_server_without_ranges(broken: Broken) -> None:
    """It is read from the beginning; when it breaks off that is an error, for nothing can go on."""
    url = (await keep(broken.store, CONTENT)).url
    broken.faults.hidden = ("Range",)
    assert await read(broken.store, url) == CONTENT
    assert await read(broken.store, url, 5 * MIB, 10) == CONTENT[5 * MIB : 5 * MIB + 10]
    broken.faults.first(1, Fault(sent=6 * MIB), "GET")
    recorder = Recorder()
    with pytest.raises(StoreUnavailable):
        await recorder.receive(await broken.store.get(url))
    assert CONTENT.startswith(recorder.data)


@pytest.mark.parametrize("end", ["reset", "close", "stall"])
@pytest_twisted.ensureDeferred
async def test_download_gives_up(broken: Broken, end: str) -> None:
    """A server that always breaks off fails the transfer after some tries; what came was right, and not all."""
    url = (await keep(broken.store, CONTENT)).url
    broken.faults.choose = lambda method, path: Fault(sent=1000, end=end) if method == "GET" else None
    recorder = Recorder()
    with pytest.raises(StoreUnavailable):
        await recorder.receive(await broken.store.get(url))
    assert CONTENT.startswith(recorder.data)
    assert len(recorder.data) < len(CONTENT)


@pytest_twisted.ensureDeferred
async def test_file_changes(broken: Broken) -> None:
    """Data that is another one when the connection is replaced is not mixed with the first."""
    url = (await keep(broken.store, CONTENT)).url
    recorder = Recorder(limit=1)
    broken.faults.first(1, Fault(sent=6 * MIB), "GET")
    receiving = Deferred.fromCoroutine(recorder.receive(await broken.store.get(url)))
    place = broken.vcenter.place(broken.store._settings.folder, url.partition("?")[0].rpartition("/")[2])
    other = place.with_suffix(".other")
    other.write_bytes(CONTENT[::-1])
    os.utime(other, (1, 1))
    other.replace(place)
    recorder.resume()
    with pytest.raises(StoreUnavailable):
        await receiving
    assert CONTENT.startswith(recorder.data)


SMALL = CONTENT[:MIB]
UP = [
    Fault(status=503),
    Fault(status=401),
    Fault(status=429, headers="Retry-After: 0\r\n"),
    Fault(received=0),
    Fault(received=1000, end="close"),
    Fault(received=1000, end="stall"),
    Fault(sent=0),
    Fault(sent=0, end="stall"),
    Fault(delay=0.1),
]


@pytest.mark.parametrize("where", ["PUT", "POST", "HEAD"])
@pytest.mark.parametrize("fault", UP, ids=str)
@pytest_twisted.ensureDeferred
async def test_small_upload_goes_on(broken: Broken, where: str, fault: Fault) -> None:
    """Whatever happens once to any of the requests of a small upload, it succeeds, and leaves no more."""
    image_id = new_id()
    broken.faults.first(1, fault, where)
    stored = await keep(broken.store, SMALL, image_id)
    broken.faults.choose = lambda method, path: None
    assert await read(broken.store, stored.url) == SMALL
    assert broken.names == [image_id, f"{image_id}.owner"]


@pytest.mark.parametrize("number", range(6))
@pytest_twisted.ensureDeferred
async def test_lost_answers_of_the_api(broken: Broken, number: int) -> None:
    """Whichever answer of the API gets lost, that to the move as well: what was done counts."""
    left = [number]

    def choose(method: str, path: str) -> Fault | None:
        left[0] -= method == "POST"
        return Fault(sent=0) if method == "POST" and left[0] == -1 else None

    broken.faults.choose = choose
    image_id = new_id()
    stored = await keep(broken.store, CONTENT, image_id)
    assert await read(broken.store, stored.url) == CONTENT
    assert broken.names == [image_id, f"{image_id}.owner"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503, after=MIB),
        Fault(status=401),
        Fault(received=MIB),
        Fault(received=MIB, end="close"),
        Fault(received=MIB, end="stall"),
    ],
    ids=str,
)
@pytest_twisted.ensureDeferred
async def test_large_upload_breaks(broken: Broken, fault: Fault) -> None:
    """A stream that breaks off fails the upload, of which nothing is left; the next one succeeds."""
    image_id = new_id()
    broken.faults.first(1, fault, "PUT")
    body = ScriptedSource(CONTENT)
    with pytest.raises(StoreUnavailable):
        await broken.store.add(image_id, body, new_attempt())
    assert not body.active
    assert broken.names == []
    assert await read(broken.store, (await keep(broken.store, CONTENT, image_id)).url) == CONTENT


@pytest.mark.parametrize(
    ("status", "error"), [(403, StoreWriteDenied), (409, Conflict), (413, StoreFull), (507, StoreFull)]
)
@pytest_twisted.ensureDeferred
async def test_refused(broken: Broken, status: int, error: type[Exception]) -> None:
    """A refusal is not tried again, and says what it is."""
    broken.faults.choose = lambda method, path: Fault(status=status) if method == "PUT" else None
    with pytest.raises(error):
        await keep(broken.store, b"small")
    assert sum(request.startswith("PUT") for request in broken.faults.requests) == 1
    assert broken.names == []


@pytest_twisted.ensureDeferred
async def test_server_that_keeps_less(broken: Broken) -> None:
    """An upload whose bytes the server has not kept, though it said so, is none."""
    broken.faults.first(1, Fault(lie=-1), "HEAD", ".part")
    with pytest.raises(StoreUnavailable, match="not kept"):
        await keep(broken.store, CONTENT)
    assert broken.names == []


@pytest_twisted.ensureDeferred
async def test_server_that_is_down(broken: Broken) -> None:
    """When nothing answers, an upload ends soon, and what it wrote is removed when the server is back."""
    image_id, attempt = new_id(), new_attempt()
    settings: Any = broken.store._settings
    url = broken.store.url_prefix + f"{image_id}?dsName=LocalDS_1&dcPath=DC0"
    await broken.store._files.write(datastore_place(url).beside(f".{attempt}.part"), [b"draft"])
    broken.faults.choose = lambda method, path: Fault(received=0)
    with pytest.raises(StoreUnavailable):
        await broken.store.discard(image_id, attempt)
    broken.faults.choose = lambda method, path: None
    await store_of(evolve(settings)).discard(image_id, attempt)
    assert broken.names == []
