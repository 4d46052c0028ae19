"""The store of images on web servers: what it reads, where it goes, and where it does not (S-035, S-037..S-039)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Site

from glancetx.config.settings import ClientTlsSettings
from glancetx.config.store_settings import MIB, HttpStoreSettings
from glancetx.domain.addresses import FetchRules
from glancetx.domain.errors import DataNotFound, Forbidden, StoreReadOnly, StoreUnavailable
from glancetx.outgoing.client import HttpClient, Patience
from glancetx.outgoing.guarded import Guarded
from glancetx.outgoing.retries import Retries
from glancetx.outgoing.tls import TlsPolicy
from glancetx.stores.http import HttpStore
from glancetx.streams import BytesSource
from glancetx.testing.fakes import Recorder
from glancetx.testing.stores import new_attempt, new_id, read, the_reactor
from tests.hostile import HOSTILE_URLS
from tests.needs import program
from tests.ports import free_port
from tests.services.faults import Fault, Faults, patience_in
from tests.services.programs import Processes, answers

CONTENT = os.urandom(3 * MIB + 17)
PATIENT = Patience()
HERE = {"allowed_ports": (), "allowed_networks": ("127.0.0.0/8",)}


def store_with(patience: Patience = PATIENT, **rules: Any) -> HttpStore:
    """A store that goes where these rules allow."""
    reactor: Any = the_reactor()
    found = FetchRules(**rules)
    guarded = Guarded(reactor, found, TlsPolicy(ClientTlsSettings()), patience.connect)
    client = HttpClient(reactor, patience=patience, endpoints=guarded)
    return HttpStore(HttpStoreSettings(), client, found, Retries(reactor, most=3, first=0.02))


@pytest_twisted.async_yield_fixture
async def store(request: pytest.FixtureRequest) -> AsyncIterator[HttpStore]:
    """A store that goes to loopback, whatever the port."""
    store = store_with(patience_in(request.node.name), **HERE)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real web server with two images."""
    folder = Path(tmp_path_factory.mktemp("nginx"))
    folder.chmod(0o755)
    (folder / "image").write_bytes(CONTENT)
    (folder / "empty").write_bytes(b"")
    port = free_port()
    places = " ".join(f"{name}_temp_path {folder};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    server = (
        f"server {{ listen 127.0.0.1:{port}; root {folder}; location /whole {{ alias {folder}/; max_ranges 0; }} }}"
    )
    text = f"pid {folder}/pid; worker_processes 1; events {{}} http {{ access_log off; {places} {server} }}"
    if os.geteuid() == 0:
        text = f"user root; {text}"
    (folder / "nginx.conf").write_text(text)
    processes = Processes(folder)
    command: list[str | Path] = [
        program("nginx"),
        "-p",
        folder,
        "-c",
        folder / "nginx.conf",
        "-e",
        folder / "error",
        "-g",
        "daemon off;",
    ]
    processes.start("nginx", command, answers(port))
    yield f"http://127.0.0.1:{port}"
    processes.stop()


@pytest.mark.parametrize("place", ["", "/whole"])
@pytest_twisted.ensureDeferred
async def test_reads(store: HttpStore, nginx: str, place: str) -> None:
    """The whole and any range come, whether or not the server knows ranges."""
    url = f"{nginx}{place}/image"
    assert await store.size(url) == len(CONTENT)
    assert await read(store, url) == CONTENT
    assert await read(store, url, 0, len(CONTENT)) == CONTENT
    for offset, length in ((0, 0), (0, 1), (5, 10), (MIB - 1, 2), (7, None), (len(CONTENT) - 5, 5)):
        end = len(CONTENT) if length is None else offset + length
        assert await read(store, url, offset, length) == CONTENT[offset:end]
    for offset, length in ((len(CONTENT) - 3, 10), (len(CONTENT), None), (len(CONTENT) + 5, 5)):
        assert await read(store, url, offset, length) == CONTENT[offset:]
    assert await read(store, f"{nginx}{place}/empty") == b""


@pytest_twisted.ensureDeferred
async def test_writes_nothing(store: HttpStore, nginx: str) -> None:
    """It neither adds nor deletes, and says so."""
    body = BytesSource(b"data")
    with pytest.raises(StoreReadOnly):
        await store.add(new_id(), body, new_attempt())
    with pytest.raises(Forbidden):
        await store.delete(f"{nginx}/image")
    await store.discard(new_id(), new_attempt())


@pytest_twisted.ensureDeferred
async def test_nothing_there(store: HttpStore, nginx: str) -> None:
    """What the server does not have is not found; a server that is not there is unavailable."""
    for reading in (store.get, store.size):
        with pytest.raises(DataNotFound):
            await reading(f"{nginx}/nothing")
        with pytest.raises(StoreUnavailable):
            await reading("http://127.0.0.1:9/image")


BREAKS = [
    Fault(status=503),
    Fault(status=429, headers="Retry-After: 0\r\n"),
    Fault(delay=0.1),
    Fault(sent=0),
    Fault(sent=MIB),
    Fault(sent=MIB, end="close"),
    Fault(sent=MIB, end="stall"),
    Fault(sent=len(CONTENT) - 1),
]


@pytest.mark.parametrize("fault", BREAKS, ids=str)
@pytest_twisted.ensureDeferred
async def test_goes_on(store: HttpStore, nginx: str, fault: Fault) -> None:
    """A connection that breaks is replaced where the server knows ranges; where not, the transfer fails."""
    faults = Faults(the_reactor(), nginx)
    url = await faults.start()
    faults.first(1, fault, "GET")
    assert await read(store, f"{url}/image") == CONTENT
    faults.first(1, fault, "GET")
    recorder = Recorder()
    try:
        await recorder.receive(await store.get(f"{url}/whole/image"))
    except StoreUnavailable:
        assert CONTENT.startswith(recorder.data)
    else:
        assert recorder.data == CONTENT
    await faults.stop()


@pytest.mark.parametrize("lie", [-1, 1, MIB])
@pytest_twisted.ensureDeferred
async def test_wrong_length(store: HttpStore, nginx: str, lie: int) -> None:
    """A server that announces another length is told from one that delivers the image, by the length or by an error."""
    faults = Faults(the_reactor(), nginx)
    url = await faults.start()
    faults.choose = lambda method, path: Fault(lie=lie)
    source = await store.get(f"{url}/image")
    assert source.length == len(CONTENT) + lie
    recorder = Recorder()
    if lie > 0:
        with pytest.raises(StoreUnavailable):
            await recorder.receive(source)
    else:
        await recorder.receive(source)
    assert CONTENT.startswith(recorder.data)
    recorder = Recorder()
    try:
        await recorder.receive(await store.get(f"{url}/image", 5, len(CONTENT) - 5))
    except StoreUnavailable:
        assert lie < 0
    assert (recorder.data == CONTENT[5:]) is (lie > 0)
    await faults.stop()


@pytest.mark.parametrize("status", [401, 403])
@pytest_twisted.ensureDeferred
async def test_refused(store: HttpStore, nginx: str, status: int) -> None:
    """A refusal is not tried again."""
    faults = Faults(the_reactor(), nginx)
    url = await faults.start()
    faults.choose = lambda method, path: Fault(status=status)
    with pytest.raises(StoreUnavailable):
        await store.get(f"{url}/image")
    assert len(faults.requests) == 1
    await faults.stop()


class Answers(Resource):
    """Sends everybody to *target*, with a status and by a path; remembers who came with what."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.target = ""
        self.authorizations: list[bytes | None] = []

    def render_GET(self, request: Any) -> bytes:
        self.authorizations.append(request.getHeader(b"authorization"))
        status = int(request.path.rsplit(b"/")[-1])
        request.setResponseCode(status)
        if status >= 300:
            request.setHeader(b"location", self.target.encode())
        return b"here"


@define
class Elsewhere:
    url: str
    answers: Answers


@pytest_twisted.async_yield_fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    """A server that redirects."""
    answers = Answers()
    port = await serverFromString(the_reactor(), "tcp:0:interface=127.0.0.1").listen(Site(answers))
    yield Elsewhere(f"http://127.0.0.1:{port.getHost().port}", answers)
    await port.stopListening()


@pytest.mark.parametrize("status", [301, 302])
@pytest_twisted.ensureDeferred
async def test_follows(store: HttpStore, nginx: str, elsewhere: Elsewhere, status: int) -> None:
    """Two kinds of redirection are followed; credentials are not taken along."""
    elsewhere.answers.target = f"{nginx}/image"
    url = elsewhere.url.replace("//", "//user:pass@")
    assert await read(store, f"{url}/{status}", 5, 5) == CONTENT[5:10]
    assert elsewhere.answers.authorizations == [b"Basic dXNlcjpwYXNz"]


@pytest.mark.parametrize("status", [303, 307, 308])
@pytest_twisted.ensureDeferred
async def test_does_not_follow(store: HttpStore, nginx: str, elsewhere: Elsewhere, status: int) -> None:
    """The others are not, as in Glance."""
    elsewhere.answers.target = f"{nginx}/image"
    with pytest.raises(StoreUnavailable):
        await store.get(f"{elsewhere.url}/{status}")


@pytest_twisted.ensureDeferred
async def test_follows_for_a_while(store: HttpStore, elsewhere: Elsewhere) -> None:
    """Five requests, and no more."""
    elsewhere.answers.target = f"{elsewhere.url}/302"
    with pytest.raises(StoreUnavailable, match="redirects"):
        await store.get(f"{elsewhere.url}/302")
    assert len(elsewhere.answers.authorizations) == 5


@pytest_twisted.ensureDeferred
async def test_judges_redirections(nginx: str, elsewhere: Elsewhere) -> None:
    """A server that may be asked cannot send us to one that may not, by whatever spelling."""
    port = int(elsewhere.url.rpartition(":")[2])
    store = store_with(allowed_ports=(port,), allowed_networks=("127.0.0.0/8",))
    assert await read(store, f"{elsewhere.url}/200") == b"here"
    elsewhere.answers.target = f"{nginx}/image"
    with pytest.raises(StoreUnavailable):
        await store.get(f"{elsewhere.url}/302")
    await store.stop()


@pytest.mark.parametrize("url", HOSTILE_URLS)
@pytest_twisted.ensureDeferred
async def test_stays_outside(elsewhere: Elsewhere, url: str) -> None:
    """By its own rules the store reaches nothing inside: nobody is even asked."""
    store = store_with(allowed_ports=())
    port = elsewhere.url.rpartition(":")[2]
    for reading in (store.get, store.size):
        with pytest.raises(StoreUnavailable):
            await reading(url.format(port=port))
    assert elsewhere.answers.authorizations == []
    await store.stop()


@pytest_twisted.ensureDeferred
async def test_names_are_judged_by_their_addresses(elsewhere: Elsewhere) -> None:
    """A name of an address inside is refused; named by the operator it is not."""
    port = int(elsewhere.url.rpartition(":")[2])
    store = store_with(allowed_ports=(port,))
    with pytest.raises(StoreUnavailable):
        await store.get(f"http://localhost:{port}/200")
    assert elsewhere.answers.authorizations == []
    await store.stop()
    store = store_with(allowed_ports=(port,), allowed_hosts=("localhost",))
    assert await read(store, f"http://localhost:{port}/200") == b"here"
    await store.stop()
