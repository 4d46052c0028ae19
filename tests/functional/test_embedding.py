"""The service inside other applications: the documented example, and several services in one process."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve, frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.resource import Resource
from twisted.web.server import Site

from docs.examples.portal import FolderStore
from glancetx import ImageRequest, ImageService, Settings
from glancetx.config.settings import AccessSettings, ImagesSettings
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import DatabaseUnavailable
from glancetx.interfaces import IStore
from glancetx.testing.fakes import ScriptedSource, until
from glancetx.testing.stores import StoreTests
from tests.running import DATA, Api, Daemon, settings_in

CHECKOUT = Path(__file__).parents[2]
EXAMPLE = CHECKOUT / "docs" / "examples" / "portal.py"
CONTENT = os.urandom(1_000_003)
ADMIN = RequestContext(is_admin=True, roles=frozenset({"admin", "member", "reader"}), project_id="own")


# The example


class PortalProcess(Daemon):
    """``python docs/examples/portal.py`` in a folder of its own."""

    def spawn(self, *options: str, **environ: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(EXAMPLE), str(self.folder), str(self.port)]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def answers(self) -> bool:
        try:
            return self.call("GET", "/image/healthcheck")[0] == 200
        except OSError:
            return False

    def api(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """A request of the team red to the image API."""
        return self.call(method, f"/image/v2/{path}", body, X_Portal_Key="key-of-red", **headers)

    def create(self) -> str:
        """The id of a new image, ready for data."""
        values = {"name": "disk", "disk_format": "raw", "container_format": "bare"}
        status, body = self.api("POST", "images", json.dumps(values).encode(), Content_Type="application/json")
        assert status == 201, body
        return str(json.loads(body)["id"])


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[PortalProcess]:
    """The example, running; it must never have logged a failure."""
    process = PortalProcess(tmp_path)
    process.start()
    assert process.answers(), process.log.read_text()
    yield process
    process.stop()
    assert "Traceback" not in process.log.read_text()


def test_teams_use_the_image_api(portal: PortalProcess) -> None:
    """Data goes in and comes out again, whole and in part; another team does not see it."""
    image_id = portal.create()
    assert portal.api("PUT", f"images/{image_id}/file", CONTENT, Content_Type=DATA)[0] == 204
    shown = json.loads(portal.api("GET", f"images/{image_id}")[1])
    assert (shown["status"], shown["owner"], shown["size"]) == ("active", "red", len(CONTENT))
    assert shown["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
    assert portal.api("GET", f"images/{image_id}/file") == (200, CONTENT)
    assert portal.api("GET", f"images/{image_id}/file", Range="bytes=999-500000") == (206, CONTENT[999:500_001])
    assert portal.call("GET", f"/image/v2/images/{image_id}", X_Portal_Key="key-of-blue")[0] == 404
    assert portal.api("DELETE", f"images/{image_id}")[0] == 204
    assert list((portal.folder / "images").iterdir()) == []


def test_who_has_no_key_is_turned_away(portal: PortalProcess) -> None:
    """The portal's authenticator answers for the image service, with its own challenge."""
    connection = portal.connection()
    with closing(connection):
        connection.request("GET", "/image/v2/images", headers={"X-Portal-Key": "key-of-nobody"})
        response = connection.getresponse()
        assert response.status == 401
        assert response.getheader("WWW-Authenticate") == 'Key realm="portal"'


def test_the_portal_has_resources_of_its_own(portal: PortalProcess) -> None:
    """Its own resource reads bodies as ever, and keeps them as images without any HTTP in between."""
    status, said = portal.call("POST", "/notes?title=first", b"remember me")
    assert (status, said.split()[1]) == (200, hashlib.sha512(b"remember me").hexdigest().encode())
    assert portal.call("GET", "/notes") == (200, b"first\n")
    assert portal.call("GET", "/notes?title=first") == (200, b"remember me")
    assert json.loads(portal.api("GET", "images")[1])["images"] == []


def test_sigterm_ends_it_with_status_0(portal: PortalProcess) -> None:
    """The portal's service tree stops the image service, and what was stored is there the next time."""
    image_id = portal.create()
    assert portal.api("PUT", f"images/{image_id}/file", CONTENT, Content_Type=DATA)[0] == 204
    portal.signal(signal.SIGTERM)
    assert portal.wait() == 0
    portal.start()
    assert portal.api("GET", f"images/{image_id}/file") == (200, CONTENT)


def test_it_fails_if_the_image_service_cannot_start(tmp_path: Path) -> None:
    """Without a folder there is no database: the log says so, and the status is 1."""
    process = PortalProcess(tmp_path)
    process.folder = tmp_path / "nowhere"
    running = subprocess.run(
        [sys.executable, str(EXAMPLE), str(process.folder), str(process.port)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert running.returncode == 1
    assert "The database cannot be opened: unable to open database file" in running.stderr


class TestFolderStore(StoreTests):
    """The example's store is a real one."""

    @pytest.fixture(autouse=True)
    def _use_folder(self, tmp_path: Path) -> None:
        self.root = tmp_path / "folders"

    async def make_store(self) -> IStore:
        from twisted.internet import reactor

        return FolderStore(reactor, self.root)

    async def remains(self, store: IStore) -> Collection[str]:
        return [path.name for path in self.root.rglob("*")]


def test_the_documentation_shows_real_code() -> None:
    """Every block of Python in the document is in the example, or in this module; ``...`` leaves lines out."""
    sources = [squeezed(path.read_text()) for path in (EXAMPLE, Path(__file__))]
    blocks = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs" / "embedding.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        for piece in re.split(r"^\s*\.\.\.\n", block, flags=re.MULTILINE):
            assert any(squeezed(piece) in source for source in sources), piece


def squeezed(text: str) -> str:
    """*text* without blanks and line ends, which a formatter sets by the depth of the indentation."""
    return "".join(text.split())


# Several services in this process


@frozen
class Hosted:
    """A service mounted at ``/image`` in a plain twisted.web Site."""

    api: Api
    service: ImageService
    stop: Callable[[], Awaitable[None]]


Host = Callable[..., Awaitable[Hosted]]


@pytest_twisted.async_yield_fixture
async def host() -> AsyncIterator[Host]:
    """Starts services below a prefix; what still runs at the end is stopped."""
    from twisted.internet import reactor

    stops: list[Callable[[], Awaitable[None]]] = []

    async def host(settings: Settings, prefix: tuple[bytes, ...] = (b"image",), **parts: Any) -> Hosted:
        service = ImageService(settings, reactor, **parts)
        service.startService()
        await service.started
        root = place = Resource()
        for name in prefix[:-1]:
            place.putChild(name, below := Resource())
            place = below
        place.putChild(prefix[-1], service.resource())
        site = Site(root)
        site.requestFactory = ImageRequest
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
        agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))
        number = port.getHost().port
        assert settings.data_dir is not None
        url = "/".join([f"http://127.0.0.1:{number}", *(name.decode().replace(" ", "%20") for name in prefix)])

        async def stop() -> None:
            await maybeDeferred(port.stopListening)
            await service.stopService()

        stops.append(stop)
        return Hosted(Api(url, number, settings.data_dir, service, agent), service, stop)

    yield host
    for stop in stops:
        await stop()


@pytest_twisted.ensureDeferred
async def test_links_below_a_prefix(host: Host, tmp_path: Path) -> None:
    """Location and versions are URLs to follow; links within documents begin at the API's root, as Glance's do."""
    hosted = await host(settings_in(tmp_path), prefix=(b"cloud", b"my images"))
    api = hosted.api
    assert api.url.endswith("/cloud/my%20images")
    body = json.dumps({"name": "x", "disk_format": "raw", "container_format": "bare"}).encode()
    created = await api.request("POST", "/v2/images", body)
    image_id = created.json["id"]
    assert created.header("Location") == f"{api.url}/v2/images/{image_id}"
    assert created.json["self"] == f"/v2/images/{image_id}"
    assert created.json["file"] == f"/v2/images/{image_id}/file"
    assert created.json["schema"] == "/v2/schemas/image"
    listed = (await api.request("GET", "/v2/images?limit=1")).json
    assert listed["next"] == f"/v2/images?limit=1&marker={image_id}"
    assert (await api.request("GET", listed["next"])).json["images"] == []
    for path, status in (("/versions", 200), ("/", 300), ("", 300), ("/v3/images", 300)):
        reply = await api.request("GET", path)
        assert reply.status == status
        assert {link["href"] for each in reply.json["versions"] for link in each["links"]} == {f"{api.url}/v2/"}


@pytest_twisted.ensureDeferred
async def test_unknown_paths_below_a_prefix(host: Host, tmp_path: Path) -> None:
    """What is below a known version and not there is 404, wherever the service is mounted."""
    hosted = await host(settings_in(tmp_path))
    assert (await hosted.api.request("GET", "/v2/nothing")).status == 404
    assert (await hosted.api.request("GET", "/v2.7/images/a/b/c")).status == 404
    assert (await hosted.api.request("GET", "/../elsewhere")).status == 300


@pytest_twisted.ensureDeferred
async def test_a_public_endpoint_is_shown(host: Host, tmp_path: Path) -> None:
    """If clients reach the service by another URL, the versions tell that one."""
    shown = ImagesSettings(public_endpoint="https://cloud.example/image/")
    hosted = await host(settings_in(tmp_path, images=shown))
    versions = (await hosted.api.request("GET", "/versions")).json["versions"]
    assert versions[0]["links"][0]["href"] == "https://cloud.example/image/v2/"


@pytest_twisted.ensureDeferred
async def test_two_services_share_nothing(host: Host, tmp_path: Path) -> None:
    """Each has its own images, limits, policies and life."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "policy.yaml").write_text('"get_images": "!"\n')
    strict = AccessSettings(config_dirs=(tmp_path,))
    one = await host(settings_in(tmp_path / "one", images=ImagesSettings(image_size_cap=1000)))
    two = await host(settings_in(tmp_path / "two", access=strict))
    ids = [await each.api.create(name="same") for each in (one, two)]
    assert (await one.api.upload(ids[0], CONTENT)).status == 413
    assert (await two.api.upload(ids[1], CONTENT)).status == 204
    assert (await two.api.request("GET", f"/v2/images/{ids[0]}")).status == 404
    assert (await one.api.request("GET", "/v2/images")).status == 200
    assert (await two.api.request("GET", "/v2/images")).status == 403
    await one.stop()
    assert (await two.api.request("GET", f"/v2/images/{ids[1]}/file")).body == CONTENT
    assert (one.api.stored(), two.api.stored()) == ([], [ids[1]])


@pytest_twisted.ensureDeferred
async def test_several_stores_of_the_application(host: Host, tmp_path: Path) -> None:
    """The first store takes what names none; clients may name another."""
    from twisted.internet import reactor

    stores = {name: FolderStore(reactor, tmp_path / name, name) for name in ("quick", "cheap")}
    hosted = await host(settings_in(tmp_path), stores=stores)
    ids = [await hosted.api.create(name=name) for name in stores]
    assert (await hosted.api.upload(ids[0], b"first")).status == 204
    assert (await hosted.api.upload(ids[1], b"second", X_Image_Meta_Store="cheap")).status == 204
    assert [path.name for path in (tmp_path / "quick").iterdir()] == [ids[0]]
    assert [path.name for path in (tmp_path / "cheap").iterdir()] == [ids[1]]
    assert (await hosted.api.request("GET", f"/v2/images/{ids[1]}/file")).body == b"second"


@pytest_twisted.ensureDeferred
async def test_another_service_on_the_same_database(host: Host, tmp_path: Path) -> None:
    """After a stop, a new ImageService of the same process goes on where the old one ended."""
    settings = settings_in(tmp_path)
    first = await host(settings)
    image_id = await first.api.create()
    assert (await first.api.upload(image_id, CONTENT)).status == 204
    await first.stop()
    second = await host(evolve(settings, drain_timeout=1.0))
    assert (await second.api.request("GET", f"/v2/images/{image_id}/file")).body == CONTENT


@pytest_twisted.ensureDeferred
async def test_stopping_during_an_upload_undoes_it(host: Host, tmp_path: Path) -> None:
    """The host stops while bytes arrive: the image is queued again, no data is left, and the client is told."""
    from twisted.internet import reactor

    hosted = await host(settings_in(tmp_path))
    image_id = await hosted.api.create()
    body = ScriptedSource(CONTENT, held=True)
    uploading = Deferred.fromCoroutine(hosted.api.upload(image_id, body))
    await until(reactor, lambda: bool(hosted.api.stored()))
    await hosted.stop()
    assert hosted.api.stored() == []
    assert look(tmp_path, "SELECT status FROM images") == [("queued",)]
    assert look(tmp_path, "SELECT * FROM glancetx_claims") == []
    assert look(tmp_path, "SELECT * FROM glancetx_processes") == []
    assert (await uploading).status == 503


@pytest_twisted.ensureDeferred
async def test_an_upload_of_the_host_itself_is_put_right_later(host: Host, tmp_path: Path) -> None:
    """What the application uploads by itself and abandons at a stop is undone by the next start at the latest."""
    from twisted.internet import reactor

    first = await host(settings_in(tmp_path))
    image = await first.service.images.create(ADMIN, name="x", disk_format="raw", container_format="bare")
    body = ScriptedSource(CONTENT, held=True)
    uploading = Deferred.fromCoroutine(first.service.uploads.upload(ADMIN, image.id, body))
    await until(reactor, lambda: bool(first.api.stored()))
    await first.stop()
    second = await host(settings_in(tmp_path))
    assert (await second.api.show(image.id))["status"] == "queued"
    assert second.api.stored() == []
    uploading.addErrback(lambda failure: None).cancel()
    await uploading


@pytest_twisted.ensureDeferred
async def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    """`started` says what is wrong, and the service can be stopped like any other."""
    from twisted.internet import reactor

    (tmp_path / "db.sqlite").mkdir()
    service = ImageService(settings_in(tmp_path), reactor)
    service.startService()
    with pytest.raises(DatabaseUnavailable, match="cannot be opened: unable to open database file"):
        await service.started
    await service.stopService()


def look(folder: Path, query: str) -> list[Any]:
    """What is in the database file."""
    with closing(sqlite3.connect(folder / "db.sqlite")) as connection:
        return connection.execute(query).fetchall()
