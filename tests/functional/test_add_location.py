"""The locations API: data that lies somewhere becomes an image's, and is hashed (api.md, section 8; P-050..P-053)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.config.settings import ImagesSettings
from glancetx.domain.addresses import FetchRules
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import DataInUse, DataNotFound, StoreUnavailable
from glancetx.interfaces import HeaderReader, IAuthenticator, INotifier
from glancetx.streams import BytesSource
from glancetx.testing.fakes import MemoryStore, until
from tests.running import Api, Reply, Started, settings_in

CONTENT = b"some image data" * 1000
PLACE = "http://127.0.0.1/image"


class Web(MemoryStore):
    """A store whose data others have put there. *failures*: how often it cannot be read; *gate*: what a reader waits
    for.
    """

    scheme = "http"
    read_only = True

    def __init__(self) -> None:
        super().__init__("web")
        self.url_prefix = "http"
        self.failures = 0
        self.gate: Deferred[None] | None = None
        self.readers = 0
        self.kept = {PLACE: CONTENT}

    async def size(self, url: str) -> int:
        if url not in self.kept:
            raise DataNotFound("nothing there")
        return len(self.kept[url])

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("The server has gone to lunch")
        self.readers += 1
        try:
            if self.gate is not None:
                await self.gate
        finally:
            self.readers -= 1
        return BytesSource(self.kept[url])

    async def delete(self, url: str) -> None:
        if self.readers:
            raise DataInUse("somebody reads it")
        del self.kept[url]


@implementer(INotifier)
class Told:
    def __init__(self) -> None:
        self.events: list[str] = []

    def notify(self, event_type: str, priority: str, payload: Any) -> None:
        self.events.append(event_type)


@implementer(IAuthenticator)
class Believing:
    """Callers have the roles that they say."""

    challenge = ""

    async def identify(self, header: HeaderReader, request_id: str) -> RequestContext:
        roles = frozenset((header("x-roles") or "admin,member,reader,service").split(","))
        return RequestContext(
            request_id=request_id, user_id="x", project_id="ours", roles=roles, is_admin="admin" in roles
        )


@define
class Scene:
    api: Api
    web: Web
    told: Told

    async def add(self, image_id: str, document: Any = None, **headers: str) -> Reply:
        body = json.dumps({"url": PLACE} if document is None else document).encode()
        return await self.api.request("POST", f"/v2/images/{image_id}/locations", body, **headers)

    async def ended(self, image_id: str) -> Any:
        """The last task, when it has ended."""
        from twisted.internet import reactor

        for _ in range(1500):
            tasks = (await self.api.request("GET", f"/v2/images/{image_id}/tasks")).json["tasks"]
            if tasks and tasks[-1]["status"] in ("success", "failure"):
                return tasks[-1]
            await deferLater(reactor, 0.02)
        raise AssertionError(tasks)

    async def added(self, document: Any = None) -> tuple[Any, Any]:
        """A new image with a new location: its last task, and what it has become."""
        image_id = await self.api.create()
        assert (await self.add(image_id, document)).status == 202
        task = await self.ended(image_id)
        return task, await self.api.show(image_id)


def said(algorithm: str, content: bytes = CONTENT, url: str = PLACE) -> Any:
    digest = hashlib.new(algorithm, content).hexdigest()
    return {"url": url, "validation_data": {"os_hash_algo": algorithm, "os_hash_value": digest}}


async def make(start: Started, folder: Path, **images: Any) -> Scene:
    web, told = Web(), Told()
    settings = settings_in(
        folder,
        images=ImagesSettings(show_multiple_locations=True, **images),
        fetch=FetchRules(allowed_hosts=("127.0.0.1",)),
    )
    api = await start(
        settings, stores={"fast": MemoryStore("fast"), "web": web}, notifier=told, authenticator=Believing()
    )
    return Scene(api, web, told)


@pytest_twisted.async_yield_fixture
async def scene(start: Started, tmp_path: Path) -> AsyncIterator[Scene]:
    yield await make(start, tmp_path)


@pytest_twisted.ensureDeferred
async def test_hashed_later(scene: Scene) -> None:
    """Without a hash the image is active at once, and gets its hashes when its data was read."""
    from twisted.internet import reactor

    scene.web.gate = Deferred()
    image_id = await scene.api.create()
    assert (await scene.add(image_id)).status == 202
    await until(reactor, lambda: scene.web.readers == 1, 10)
    image = await scene.api.show(image_id)
    assert (image["status"], image["size"], image["checksum"]) == ("active", len(CONTENT), None)
    assert image["locations"] == [{"url": PLACE, "metadata": {"store": "web"}}]
    assert image["os_glance_import_task"]
    scene.web.gate.callback(None)
    task = await scene.ended(image_id)
    image = await scene.api.show(image_id)
    assert (task["type"], task["status"], task["result"]) == ("location_import", "success", {"image_id": image_id})
    assert task["input"] == {"image_id": image_id, "loc_url": PLACE, "validation_data": {}}
    assert image["checksum"] == hashlib.md5(CONTENT).hexdigest()
    assert (image["os_hash_algo"], image["os_hash_value"]) == ("sha512", hashlib.sha512(CONTENT).hexdigest())
    assert "os_glance_import_task" not in image
    assert (await scene.api.request("GET", f"/v2/images/{image_id}/file")).body == CONTENT
    listed = (await scene.api.request("GET", f"/v2/images/{image_id}/locations")).json
    assert listed == [{"url": PLACE, "metadata": {"store": "web"}}]


@pytest_twisted.ensureDeferred
async def test_verified(scene: Scene) -> None:
    """With a hash, the image is active when its data was found to have it."""
    for algorithm in ("sha512", "sha256", "sha1", "md5"):
        document = said(algorithm)
        digest = document["validation_data"]["os_hash_value"]
        if algorithm == "sha1":
            document["validation_data"]["os_hash_value"] = digest.upper()
        task, image = await scene.added(document)
        assert (task["status"], image["status"]) == ("success", "active")
        assert (image["os_hash_algo"], image["os_hash_value"]) == (algorithm, digest)
        assert image["checksum"] == hashlib.md5(CONTENT).hexdigest()


@pytest_twisted.ensureDeferred
async def test_other_data(scene: Scene) -> None:
    """Data that is not what was said is not the image's, and is not touched; the image can be given another."""
    task, image = await scene.added(said("sha256", b"other data"))
    assert task["status"] == "failure"
    assert "not matched" in task["message"]
    assert (image["status"], image["size"], image["os_hash_value"], image["locations"]) == ("queued", None, None, [])
    assert scene.web.kept == {PLACE: CONTENT}
    assert (await scene.add(image["id"], said("sha256"))).status == 202
    assert (await scene.ended(image["id"]))["status"] == "success"


@pytest_twisted.ensureDeferred
async def test_waits_for_the_hash(scene: Scene) -> None:
    """While it is being verified the image is importing, and nothing else can be done to its data."""
    from twisted.internet import reactor

    scene.web.gate = Deferred()
    image_id = await scene.api.create()
    assert (await scene.add(image_id, said("sha256"))).status == 202
    await until(reactor, lambda: scene.web.readers == 1, 10)
    assert (await scene.api.show(image_id))["status"] == "importing"
    assert (await scene.add(image_id)).status == 409
    assert (await scene.api.upload(image_id, b"x")).status == 409
    assert (await scene.api.request("GET", f"/v2/images/{image_id}/file")).status == 204
    scene.web.gate.callback(None)
    assert (await scene.ended(image_id))["status"] == "success"


@pytest.mark.parametrize(
    ("secure", "document", "checksum", "value"),
    [(False, None, None, None), (False, said("sha256", b"wrong"), None, hashlib.sha256(b"wrong").hexdigest())],
)
@pytest_twisted.ensureDeferred
async def test_not_read(start: Started, tmp_path: Path, secure: bool, document: Any, checksum: Any, value: Any) -> None:
    """Without ``do_secure_hash`` nothing is read, and what the caller says is believed."""
    scene = await make(start, tmp_path, do_secure_hash=secure)
    scene.web.failures = 99
    task, image = await scene.added(document)
    assert (task["status"], image["status"]) == ("success", "active")
    assert (image["checksum"], image["os_hash_value"]) == (checksum, value)
    assert scene.web.failures == 99


@pytest.mark.parametrize(("failures", "fine"), [(1, True), (2, False)])
@pytest_twisted.ensureDeferred
async def test_unreadable(start: Started, tmp_path: Path, failures: int, fine: bool) -> None:
    """Reading is tried again ``http_retries`` times; then what waited for it is queued again, and the rest unhashed."""
    scene = await make(start, tmp_path, http_retries=1)
    scene.web.failures = failures
    task, image = await scene.added(said("sha256"))
    assert (task["status"], image["status"]) == (("success", "active") if fine else ("failure", "queued"))
    assert (image["locations"] != []) == fine
    scene.web.failures = failures
    task, image = await scene.added()
    assert (task["status"], image["status"]) == ("success" if fine else "failure", "active")
    assert (image["os_hash_algo"] is not None) == (image["os_hash_value"] is not None) == fine
    if not fine:
        assert task["message"] == "The server has gone to lunch"


@pytest_twisted.ensureDeferred
async def test_hashed_at_last(start: Started, tmp_path: Path) -> None:
    """What could not be read gets its hashes when it can, by the completer."""
    scene = await make(start, tmp_path, http_retries=0)
    scene.web.failures = 1
    task, image = await scene.added()
    assert (task["status"], image["status"], image["checksum"]) == ("failure", "active", None)
    scene.told.events.clear()
    assert await scene.api.service.background.completer.run_once() == 1
    image = await scene.api.show(image["id"])
    assert image["checksum"] == hashlib.md5(CONTENT).hexdigest()
    assert (image["os_hash_algo"], image["os_hash_value"]) == ("sha512", hashlib.sha512(CONTENT).hexdigest())
    assert scene.told.events == ["image.update"]
    assert await scene.api.service.background.completer.run_once() == 0


@pytest_twisted.ensureDeferred
async def test_no_location(scene: Scene) -> None:
    """What no store reads, or the service alone may write, or has no data, is found when it is looked up."""
    scene.web.kept["http://127.0.0.1/empty"] = b""
    urls = ("http://127.0.0.1/nothing", "http://127.0.0.1/empty", "httpx://a/b", "file:///etc/passwd", "memory://x", "")
    for url in urls:
        image_id = await scene.api.create()
        assert (await scene.add(image_id, {"url": url})).status == 202
        task = await scene.ended(image_id)
        assert (task["status"], task["message"]) == ("failure", "Invalid location")
        assert (await scene.api.show(image_id))["status"] == "queued"


@pytest_twisted.ensureDeferred
async def test_for_services(scene: Scene) -> None:
    """Who is no service names places on web servers only, where the service may go."""
    image_id = await scene.api.create()
    for url, status in (
        ("memory://fast/x", 403),
        ("", 403),
        ("http://10.0.0.1/x", 400),
        ("http://169.254.169.254/latest", 400),
        ("http://[::1]/x", 400),
        (PLACE, 202),
    ):
        assert (await scene.add(image_id, {"url": url}, X_Roles="member,reader")).status == status, url
    assert (await scene.ended(image_id))["status"] == "success"


@pytest_twisted.ensureDeferred
async def test_credentials(scene: Scene) -> None:
    """The task does not tell the credentials in a URL, to whomever may see tasks."""
    secret = "http://user:secret@127.0.0.1/image"
    scene.web.kept[secret] = CONTENT
    task, _ = await scene.added({"url": secret})
    assert (task["status"], task["input"]["loc_url"]) == ("success", "http://***@127.0.0.1/image")


@pytest_twisted.ensureDeferred
async def test_told(scene: Scene) -> None:
    """Events tell of the task, and of each change of the image."""
    await scene.added()
    expected = ["image.create", "task.create", "task.run", "task.processing", "image.update", "image.update"]
    assert scene.told.events == [*expected, "task.success"]


@pytest_twisted.ensureDeferred
async def test_no_formats(scene: Scene) -> None:
    """An image without formats cannot become active, so it stays queued."""
    reply = await scene.api.request("POST", "/v2/images", b"{}")
    image_id = reply.json["id"]
    assert (await scene.add(image_id)).status == 202
    assert "disk_format" in (await scene.ended(image_id))["message"]
    image = await scene.api.show(image_id)
    assert (image["status"], image["locations"]) == ("queued", [])


@pytest.mark.parametrize(
    ("limit", "message"), [({"user_storage_quota": 10}, "exceed"), ({"image_location_quota": 0}, "locations")]
)
@pytest_twisted.ensureDeferred
async def test_limits(start: Started, tmp_path: Path, limit: Any, message: str) -> None:
    """What a project may not have it does not get this way either."""
    scene = await make(start, tmp_path, **limit)
    task, image = await scene.added()
    assert (task["status"], image["status"], image["locations"]) == ("failure", "queued", [])
    assert message in task["message"]


@pytest.mark.parametrize("document", [None, said("sha256")])
@pytest_twisted.ensureDeferred
async def test_deleted(scene: Scene, document: Any) -> None:
    """Whoever deletes the image is not told that its data is being read: reading ends."""
    from twisted.internet import reactor

    scene.web.gate = Deferred()
    image_id = await scene.api.create()
    assert (await scene.add(image_id, document)).status == 202
    await until(reactor, lambda: scene.web.readers == 1, 10)
    scene.web.read_only = False
    assert (await scene.api.request("DELETE", f"/v2/images/{image_id}")).status == 204
    assert scene.web.readers == 0
    await scene.api.service.background.reaper.run_once()
    await until(reactor, lambda: "task.failure" in scene.told.events, 10)


@pytest_twisted.ensureDeferred
async def test_kept(scene: Scene) -> None:
    """If the store keeps the data after all, the image stays, and its hashes come nevertheless."""
    from twisted.internet import reactor

    scene.web.gate = Deferred()
    image_id = await scene.api.create()
    assert (await scene.add(image_id)).status == 202
    await until(reactor, lambda: scene.web.readers == 1, 10)
    scene.web.read_only = False
    scene.web.readers = 2  # somebody else does
    assert (await scene.api.request("DELETE", f"/v2/images/{image_id}")).status == 409
    scene.web.gate = None
    await scene.api.service.background.reaper.run_once()
    assert (await scene.ended(image_id))["status"] == "success"
    assert (await scene.api.show(image_id))["checksum"]


@pytest_twisted.ensureDeferred
async def test_deleted_elsewhere(start: Started, tmp_path: Path) -> None:
    """The process that is asked to delete need not be the one that reads."""
    from twisted.internet import reactor

    first = await make(start, tmp_path)
    second = await make(start, tmp_path)
    second.web.kept = first.web.kept
    first.web.gate = Deferred()
    image_id = await first.api.create()
    assert (await first.add(image_id)).status == 202
    await until(reactor, lambda: first.web.readers == 1, 10)
    assert (await second.api.request("DELETE", f"/v2/images/{image_id}")).status == 204
    assert first.web.readers == 0


@pytest_twisted.ensureDeferred
async def test_removed(scene: Scene) -> None:
    """Hashes are not given to an image which has other data by then."""
    from twisted.internet import reactor

    scene.web.gate = Deferred()
    image_id = await scene.api.create()
    assert (await scene.add(image_id)).status == 202
    await until(reactor, lambda: scene.web.readers == 1, 10)
    other = {"op": "add", "path": "/locations/-", "value": {"url": PLACE + "2", "metadata": {}}}
    scene.web.kept[PLACE + "2"] = b"something else!"
    assert (await scene.api.patch(image_id, other)).status == 200
    assert (await scene.api.patch(image_id, {"op": "remove", "path": "/locations/0"})).status == 200
    scene.web.gate.callback(None)
    await scene.ended(image_id)
    assert (await scene.api.show(image_id))["checksum"] is None
