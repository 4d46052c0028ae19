"""The S3 store behind a network that breaks: what can be repeated is, and nothing short ever looks whole."""

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
    StoreError,
    StoreUnavailable,
    StoreWriteDenied,
)
from glancetx.outgoing.client import HttpClient
from glancetx.outgoing.retries import Retries
from glancetx.runtime.threads import Threads
from glancetx.stores.s3 import S3Store
from glancetx.testing.fakes import Recorder, ScriptedSource
from glancetx.testing.stores import keep, new_attempt, new_id, read, the_reactor
from tests.integration.stores.test_s3 import names, settings_for
from tests.services.faults import Fault, Faults, patience_in
from tests.services.objects import S3Server

CONTENT = os.urandom(12 * MIB + 5)


@define
class Broken:
    """A store, and the network between it and its server."""

    store: S3Store
    faults: Faults


@pytest_twisted.async_yield_fixture
async def broken(moto: S3Server, request: pytest.FixtureRequest) -> AsyncIterator[Broken]:
    """A store whose bucket is there."""
    reactor: Any = the_reactor()
    faults = Faults(reactor, moto.url)
    url = await faults.start()
    hashing = Threads(reactor, "hashing", 2)
    hashing.start()
    client = HttpClient(reactor, patience=patience_in(request.node.name))
    retries = Retries(reactor, most=3, first=0.02)
    settings = evolve(settings_for(moto), host=url)
    store = S3Store(settings, client, retries, hashing, multiple=False)
    await store.start()
    await store.delete((await keep(store, b"makes the bucket")).url)
    faults.requests.clear()
    yield Broken(store, faults)
    await store.stop()
    await faults.stop()
    await hashing.stop()


DOWN = [
    Fault(status=503),
    Fault(status=429, headers="Retry-After: 0\r\n"),
    Fault(status=500),
    Fault(sent=0),
    Fault(sent=1),
    Fault(sent=5 * MIB),
    Fault(sent=5 * MIB, end="close"),
    Fault(sent=5 * MIB, end="stall"),
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


@pytest_twisted.ensureDeferred
async def test_download_goes_on_often(broken: Broken) -> None:
    """A connection that dies again and again is replaced as long as it brings something."""
    url = (await keep(broken.store, CONTENT)).url
    broken.faults.first(9, Fault(sent=MIB + 100), "GET")
    assert await read(broken.store, url) == CONTENT
    assert sum(request.startswith("GET") for request in broken.faults.requests) == 10


@pytest_twisted.ensureDeferred
async def test_unanswered_removal(broken: Broken) -> None:
    """Whether it was done is not known, if it was asked for and no answer came; the next one finds nothing."""
    store, faults = broken.store, broken.faults
    first, second = [await keep(store, b"data") for _ in range(2)]
    faults.first(1, Fault(sent=-1), "DELETE")
    await store.delete(first.url)
    faults.choose = lambda method, path: Fault(status=503)
    with pytest.raises(StoreUnavailable) as certain:
        await store.delete(second.url)
    assert type(certain.value) is StoreUnavailable
    faults.choose = lambda method, path: Fault(sent=-1) if method == "DELETE" else None
    with pytest.raises(RemovalUnknown):
        await store.delete(second.url)
    with pytest.raises(DataNotFound):
        await store.delete(second.url)
    assert await names(store) == []


@pytest.mark.parametrize("lie", [-1, 1, MIB])
@pytest_twisted.ensureDeferred
async def test_wrong_length(broken: Broken, lie: int) -> None:
    """An answer that is not as long as the range is not used."""
    url = (await keep(broken.store, CONTENT)).url
    broken.faults.first(1, Fault(lie=lie), "GET")
    with pytest.raises(StoreUnavailable):
        await read(broken.store, url)


@pytest.mark.parametrize("end", ["reset", "close", "stall"])
@pytest_twisted.ensureDeferred
async def test_download_gives_up(broken: Broken, end: str) -> None:
    """A server that always breaks off fails the transfer after some tries; what came was right, and not all."""
    url = (await keep(broken.store, CONTENT)).url
    broken.faults.choose = lambda method, path: Fault(sent=1000, end=end) if method == "GET" else None
    source = await broken.store.get(url)
    recorder = Recorder()
    with pytest.raises(StoreUnavailable, match="of 12582917 bytes"):
        await recorder.receive(source)
    assert CONTENT.startswith(recorder.data)
    assert len(recorder.data) == 4000


@pytest_twisted.ensureDeferred
async def test_object_changes(broken: Broken) -> None:
    """Data that is another one when the connection is replaced is not mixed with the first."""
    image_id = new_id()
    url = (await keep(broken.store, CONTENT, image_id)).url
    recorder = Recorder(limit=1)
    broken.faults.first(1, Fault(sent=6 * MIB), "GET")
    receiving = Deferred.fromCoroutine(recorder.receive(await broken.store.get(url)))
    await broken.store.delete(url)
    await keep(broken.store, CONTENT[::-1], image_id)
    recorder.resume()
    with pytest.raises(StoreError):
        await receiving
    assert CONTENT.startswith(recorder.data)


UP = [
    Fault(status=503),
    Fault(status=503, after=MIB),
    Fault(status=429, headers="Retry-After: 0\r\n"),
    Fault(received=0),
    Fault(received=MIB),
    Fault(received=MIB, end="close"),
    Fault(received=MIB, end="stall"),
    Fault(sent=0),
    Fault(sent=0, end="stall"),
    Fault(delay=0.1),
]


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("fault", UP, ids=str)
@pytest_twisted.ensureDeferred
async def test_upload_goes_on(broken: Broken, method: str, fault: Fault) -> None:
    """Whatever happens once to a part, to the beginning or to the end of an upload, it succeeds, and leaves no more."""
    image_id = new_id()
    broken.faults.first(1, fault, method, image_id)
    stored = await keep(broken.store, CONTENT, image_id)
    broken.faults.choose = lambda method, path: None
    assert await read(broken.store, stored.url) == CONTENT
    found = set(await names(broken.store))
    assert found == {image_id}


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(received=MIB), Fault(received=0)], ids=str)
@pytest_twisted.ensureDeferred
async def test_upload_gives_up(broken: Broken, fault: Fault) -> None:
    """Parts that never arrive fail the upload, and nothing of it is left."""
    broken.faults.choose = lambda method, path: fault if method == "PUT" and "partNumber=2" in path else None
    body = ScriptedSource(CONTENT)
    with pytest.raises(StoreUnavailable):
        await broken.store.add(new_id(), body, new_attempt())
    assert not body.active
    assert await names(broken.store) == []


@pytest.mark.parametrize("status", [401, 403])
@pytest_twisted.ensureDeferred
async def test_refused(broken: Broken, status: int) -> None:
    """A refusal is not tried again; it says nothing of keys."""
    broken.faults.choose = lambda method, path: Fault(status=status) if method == "PUT" else None
    with pytest.raises(StoreWriteDenied) as caught:
        await keep(broken.store, b"small")
    assert "secret" not in str(caught.value)
    assert sum(request.startswith("PUT") for request in broken.faults.requests) == 1


@pytest_twisted.ensureDeferred
async def test_lost_answer_to_the_completion(broken: Broken) -> None:
    """The upload was completed and the answer to that got lost: it counts."""
    image_id = new_id()
    broken.faults.first(1, Fault(sent=0), "POST", "uploadId=")
    stored = await keep(broken.store, CONTENT, image_id)
    assert await read(broken.store, stored.url) == CONTENT
    with pytest.raises(Conflict):
        await keep(broken.store, CONTENT, image_id)


@pytest.mark.parametrize("refusal", [400, 501])
@pytest_twisted.ensureDeferred
async def test_unknown_condition(broken: Broken, refusal: int) -> None:
    """A server that does not take ``If-None-Match`` is asked once with PUT and once with POST, and does without."""
    reactor: Any = the_reactor()
    hashing = Threads(reactor, "hashing", 1)
    hashing.start()
    whole = evolve(broken.store._settings, large_object_size=100 * MIB)
    store = S3Store(whole, broken.store._client, broken.store._retries, hashing, multiple=False)
    broken.faults.unknown, broken.faults.refusal = "If-None-Match", refusal
    for _ in range(2):  # in parts, as it is not known; then in one piece
        assert await read(store, (await keep(store, CONTENT)).url) == CONTENT
    refused = [request.split()[0] for request in broken.faults.requests if request.endswith("If-None-Match")]
    assert refused == ["PUT", "POST"]
    parts = [request for request in broken.faults.requests if "partNumber" in request]
    assert len(parts) == 3
    await hashing.stop()
