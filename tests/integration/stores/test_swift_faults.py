"""The Swift store behind a network that breaks: what can be repeated is, and nothing short ever looks whole."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define

from glancetx.config.store_settings import MIB
from glancetx.domain.errors import DataNotFound, RemovalUnknown, StoreFull, StoreUnavailable, StoreWriteDenied
from glancetx.testing.fakes import Recorder, ScriptedSource
from glancetx.testing.stores import keep, new_attempt, new_id, read, the_reactor
from tests.integration.stores.test_swift import Made, settings_for
from tests.services.faults import Fault, Faults, patience_in
from tests.services.objects import SwiftServer

CONTENT = os.urandom(12 * MIB + 5)


@define
class Broken:
    """A store, and the network between it and its server."""

    made: Made
    faults: Faults


@pytest_twisted.async_yield_fixture
async def broken(swift: SwiftServer, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Broken]:
    """A store whose container is there. Its segments are spooled, if the test asks for that."""
    faults = Faults(the_reactor(), swift.url)
    url = await faults.start()
    spool = tmp_path if "spool" in request.fixturenames else None
    settings = settings_for(swift, endpoint=f"{url}/v1/AUTH_test", spool=spool, segment_size=5 * MIB)
    made = Made(settings, patience_in(request.node.name))
    await made.store.delete((await keep(made.store, b"makes the container")).url)
    faults.requests.clear()
    yield Broken(made, faults)
    await made.store.stop()
    await faults.stop()
    await made.close()


@pytest.fixture
def spool() -> None:
    """Ask for spooled segments."""


@pytest_twisted.ensureDeferred
async def test_unanswered_removal(broken: Broken) -> None:
    """Whether it was done is not known, if it was asked for and no answer came; the next one finds nothing."""
    store, faults = broken.made.store, broken.faults
    first, second = [await keep(store, b"data") for _ in range(2)]
    faults.first(1, Fault(sent=-1), "DELETE")
    await store.delete(first.url)
    faults.choose = lambda method, path: Fault(sent=-1) if method == "DELETE" else None
    with pytest.raises(RemovalUnknown):
        await store.delete(second.url)
    with pytest.raises(DataNotFound):
        await store.delete(second.url)


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
    store = broken.made.store
    url = (await keep(store, CONTENT)).url
    broken.faults.first(1, fault, "GET")
    assert await read(store, url) == CONTENT
    broken.faults.first(1, fault, "GET")
    assert await read(store, url, 1000, 8 * MIB) == CONTENT[1000 : 8 * MIB + 1000]


@pytest.mark.parametrize("lie", [-1, 1, MIB])
@pytest_twisted.ensureDeferred
async def test_wrong_length(broken: Broken, lie: int) -> None:
    """An answer that is not as long as the range is not used."""
    url = (await keep(broken.made.store, CONTENT)).url
    broken.faults.first(1, Fault(lie=lie), "GET")
    with pytest.raises(StoreUnavailable):
        await read(broken.made.store, url)


@pytest.mark.parametrize("end", ["reset", "close", "stall"])
@pytest_twisted.ensureDeferred
async def test_download_gives_up(broken: Broken, end: str) -> None:
    """A server that always breaks off fails the transfer after some tries; what came was right, and not all."""
    url = (await keep(broken.made.store, CONTENT)).url
    broken.faults.choose = lambda method, path: Fault(sent=1000, end=end) if method == "GET" else None
    recorder = Recorder()
    with pytest.raises(StoreUnavailable):
        await recorder.receive(await broken.made.store.get(url))
    assert CONTENT.startswith(recorder.data)
    assert 1000 <= len(recorder.data) < len(CONTENT)


UP = [
    Fault(status=503),
    Fault(status=503, after=MIB),
    Fault(status=429, headers="Retry-After: 0\r\n"),
    Fault(received=0),
    Fault(received=MIB),
    Fault(received=MIB, end="stall"),
    Fault(sent=0, end="stall"),
    Fault(delay=0.1),
]


@pytest.mark.parametrize("fault", UP, ids=str)
@pytest_twisted.ensureDeferred
async def test_spooled_segment_goes_up_again(broken: Broken, spool: None, fault: Fault) -> None:
    """Whatever happens to a segment once, it arrives; nothing else is left."""
    broken.faults.first(1, fault, "PUT", "-00002")
    stored = await keep(broken.made.store, CONTENT)
    assert await read(broken.made.store, stored.url) == CONTENT
    assert len(await broken.made.names()) == 4


@pytest.mark.parametrize(
    "fault", [Fault(status=503, after=MIB), Fault(received=MIB), Fault(received=MIB, end="stall")], ids=str
)
@pytest_twisted.ensureDeferred
async def test_segment_that_is_not_kept(broken: Broken, fault: Fault) -> None:
    """A segment that breaks off and is not kept fails the upload, of which nothing is left."""
    broken.faults.first(1, fault, "PUT", "-00002")
    body = ScriptedSource(CONTENT)
    with pytest.raises(StoreUnavailable):
        await broken.made.store.add(new_id(), body, new_attempt())
    assert not body.active
    assert await broken.made.names() == []


@pytest.mark.parametrize(
    "fault", [Fault(status=503), Fault(status=401), Fault(received=0), Fault(sent=0, end="stall")], ids=str
)
@pytest_twisted.ensureDeferred
async def test_manifest_goes_up_again(broken: Broken, fault: Fault) -> None:
    """The last step is repeated, too; that it was done already is no conflict."""
    image_id = new_id()
    broken.faults.choose = choose_once(lambda path: path.endswith(image_id), fault)
    stored = await keep(broken.made.store, CONTENT, image_id)
    assert await read(broken.made.store, stored.url) == CONTENT


def choose_once(wanted: Any, fault: Fault) -> Any:
    left = [fault]
    return lambda method, path: left.pop() if method == "PUT" and left and wanted(path) else None


@pytest.mark.parametrize(("status", "error"), [(403, StoreWriteDenied), (413, StoreFull), (507, StoreFull)])
@pytest_twisted.ensureDeferred
async def test_refused(broken: Broken, status: int, error: type[Exception]) -> None:
    """A refusal is not tried again, and says what it is."""
    broken.faults.choose = lambda method, path: Fault(status=status) if method == "PUT" else None
    with pytest.raises(error):
        await keep(broken.made.store, b"small")
    assert sum(request.startswith("PUT") for request in broken.faults.requests) == 1
