"""Staging, and imports of what is staged (P-001, P-003..P-008, P-010, P-014, P-020..P-025)."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from glancetx.config.settings import FilesystemSettings, ImagesSettings, ImportSettings, StoresSettings
from glancetx.db.engine import Engine
from glancetx.domain.errors import OutcomeUnknown, StoreFull
from glancetx.domain.image import Image
from glancetx.domain.limits import Limits
from glancetx.interfaces import IImportStep, ILimits, ImportJob, INotifier, IStore, StepDone, Stored
from glancetx.testing.fakes import MemoryStore, ScriptedSource, until
from tests.running import DATA, PATIENCE, Api, Reply, Started, settings_in

CONTENT = os.urandom(700_000)
DIRECT = {"method": {"name": "glance-direct"}}


async def stage(api: Api, image_id: str, data: Any = CONTENT, **headers: str) -> Reply:
    return await api.request("PUT", f"/v2/images/{image_id}/stage", data, **{"Content_Type": DATA} | headers)


@implementer(IImportStep)
class Doubling:
    """Has the data twice afterwards. *go* holds the first try, which then never ends."""

    name, verb, factor = "doubling", "Doubled", 2

    def __init__(self) -> None:
        self.tries: list[Any] = []
        self.go: Deferred[None] = succeed(None)

    async def run(self, job: ImportJob) -> StepDone:
        self.tries.append(job)
        assert job.path is not None
        job.partial().write_bytes(job.path.read_bytes() * 2)
        await self.go
        job.partial().rename(job.whole(self.name))
        job.tell(1, 2)
        return StepDone(path=job.whole(self.name), change=self._change)

    def _change(self, image: Image) -> Image:
        return evolve(image, size=self.factor * len(CONTENT), properties={**image.properties, "twice": "yes"})


async def start_import(api: Api, image_id: str, body: Any = DIRECT, **headers: str) -> Reply:
    return await api.request("POST", f"/v2/images/{image_id}/import", json.dumps(body).encode(), **headers)


async def ended(api: Api, image_id: str) -> Any:
    """The image's last task, when it has ended."""
    from twisted.internet import reactor

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        tasks = (await api.request("GET", f"/v2/images/{image_id}/tasks")).json["tasks"]
        if tasks and tasks[-1]["status"] in ("success", "failure"):
            return tasks[-1]
        await deferLater(reactor, 0.02)
    raise AssertionError(tasks)


def staged(api: Api) -> list[str]:
    return sorted(path.name for path in (api.folder / "staging").iterdir())


async def nothing_staged(api: Api) -> None:
    """The staged file goes when all else is done."""
    from twisted.internet import reactor

    await until(reactor, lambda: staged(api) == [])


def two_stores(folder: Path, **changes: Any) -> Any:
    filesystems = tuple(FilesystemSettings(identifier=name, datadir=folder / name) for name in ("fast", "cheap"))
    return settings_in(folder, stores=StoresSettings(multiple=True, default="fast", filesystems=filesystems), **changes)


@implementer(INotifier)
class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def notify(self, event_type: str, priority: str, payload: Any) -> None:
        self.events.append((event_type if priority == "info" else f"{event_type} {priority}", payload))


@implementer(IStore)
class FailingStore(MemoryStore):
    """Has no room, which it finds when it has got some bytes."""

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        await super().add(image_id, body, attempt)
        await self.discard(image_id, attempt)
        raise StoreFull("The store has no room left")


@implementer(IStore)
class WaitingStore(MemoryStore):
    """Keeps nothing before it is told so."""

    def __init__(self, identifier: str = "memory") -> None:
        super().__init__(identifier)
        self.go: Deferred[None] = Deferred()
        self.reached = self.left = False

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        self.reached = True
        try:
            await self.go
        except BaseException:
            body.stopProducing()
            raise
        finally:
            self.left = True
        return await super().add(image_id, body, attempt)


@pytest_twisted.ensureDeferred
async def test_stage(api: Api) -> None:
    """Staged data has a size, and is not yet the image's."""
    image_id = await api.create()
    assert (await stage(api, image_id)).status == 204
    image = await api.show(image_id)
    assert (image["status"], image["size"], image["checksum"]) == ("uploading", len(CONTENT), None)
    assert staged(api) == [image_id]
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).status == 204
    assert (await stage(api, image_id)).status == 409
    assert (await api.upload(image_id, CONTENT)).status == 409


@pytest.mark.parametrize(
    ("data", "headers", "status"),
    [
        (b"abc", {"Content_Type": "text/plain"}, 415),
        (b"abc", {"X_Openstack_Image_Size": "x"}, 400),
        (b"abc", {"X_Openstack_Image_Size": "5"}, 400),
        (bytes(1001), {}, 413),
        (ScriptedSource(bytes(1001), length=UNKNOWN_LENGTH), {}, 413),
    ],
)
@pytest_twisted.ensureDeferred
async def test_stage_refused(start: Started, tmp_path: Path, data: Any, headers: dict[str, str], status: int) -> None:
    """The image is queued as before, and nothing is left."""
    api = await start(settings_in(tmp_path, images=ImagesSettings(image_size_cap=1000)))
    image_id = await api.create()
    assert (await stage(api, image_id, data, **headers)).status == status
    image = await api.show(image_id)
    assert (image["status"], image["size"]) == ("queued", None)
    assert staged(api) == []
    assert (await stage(api, image_id, b"abc")).status == 204


@pytest_twisted.ensureDeferred
async def test_stage_unknown(api: Api) -> None:
    assert (await stage(api, "nope")).status == 404


@pytest_twisted.ensureDeferred
async def test_not_enabled(start: Started, tmp_path: Path) -> None:
    """Without the method nothing can be staged, and clients are told of no method."""
    api = await start(settings_in(tmp_path, imports=ImportSettings(methods=(), staging=tmp_path / "staging")))
    image_id = await api.create()
    assert (await stage(api, image_id)).status == 404
    assert (await start_import(api, image_id)).status == 400
    assert (await api.request("GET", "/v2/info/import")).json["import-methods"]["value"] == []
    reply = await api.send("POST", "/v2/images", {}, None)
    assert reply.header("openstack-image-import-methods") is None


@pytest_twisted.ensureDeferred
async def test_methods_are_told(api: Api) -> None:
    """By a resource of its own, and with every new image."""
    methods = (await api.request("GET", "/v2/info/import")).json["import-methods"]
    assert methods == {"description": "Import methods available.", "type": "array", "value": ["glance-direct"]}
    reply = await api.send("POST", "/v2/images", {}, None)
    assert reply.header("openstack-image-import-methods") == "glance-direct"


@pytest_twisted.ensureDeferred
async def test_no_staging_directory(start: Started, tmp_path: Path) -> None:
    """The service does without one; who stages is told that it cannot be done now."""
    (tmp_path / "file").write_text("")
    api = await start(settings_in(tmp_path, imports=ImportSettings(staging=tmp_path / "file" / "staging")))
    image_id = await api.create()
    assert (await stage(api, image_id)).status == 503
    assert (await api.show(image_id))["status"] == "queued"


@pytest_twisted.ensureDeferred
async def test_import(start: Started, tmp_path: Path) -> None:
    """The image becomes active with what was staged; nothing stays staged; everybody is told."""
    told = Told()
    api = await start(settings_in(tmp_path), notifier=told)
    image_id = await api.create()
    await stage(api, image_id)
    assert (await start_import(api, image_id)).status == 202
    task = await ended(api, image_id)
    assert (task["type"], task["status"]) == ("api_image_import", "success")
    assert task["input"] == {"image_id": image_id, "import_req": DIRECT, "backend": ["file"]}
    assert task["result"]["image_id"] == image_id
    assert task["result"]["bytes_done"] == task["result"]["bytes_total"] == len(CONTENT)
    assert task["message"].startswith("Copied 0 MiB")
    image = await api.show(image_id)
    assert image["status"] == "active"
    assert (image["size"], image["virtual_size"]) == (len(CONTENT), len(CONTENT))
    assert image["checksum"] == hashlib.md5(CONTENT).hexdigest()
    assert image["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
    assert "os_glance_import_task" not in image
    assert (image["os_glance_importing_to_stores"], image["os_glance_failed_import"]) == ("", "")
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == CONTENT
    await nothing_staged(api)
    assert [event for event, _ in told.events if event != "image.send"] == [
        "image.create", "image.update", "image.update", "task.create", "image.update", "task.run", "task.processing",
        "image.prepare", "image.upload", "image.activate", "task.success",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "stores"),
    [
        ({}, "fast"),
        ({"stores": ["cheap"]}, "cheap"),
        ({"stores": ["cheap", "fast", "cheap"]}, "cheap,fast"),
        ({"stores": []}, "fast"),
        ({"all_stores": True}, "fast,cheap"),
        ({"all_stores": True, "all_stores_must_succeed": False}, "fast,cheap"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_stores(start: Started, tmp_path: Path, body: dict[str, Any], stores: str) -> None:
    """The data is in every store that was asked for, and in no other."""
    api = await start(two_stores(tmp_path))
    image_id = await api.create()
    await stage(api, image_id)
    assert (await start_import(api, image_id, DIRECT | body)).status == 202
    assert (await ended(api, image_id))["status"] == "success"
    assert (await api.show(image_id))["stores"] == stores
    for name in ("fast", "cheap"):
        found = [path.read_bytes() for path in (tmp_path / name).iterdir()]
        assert found == ([CONTENT] if name in stores else [])


@pytest_twisted.ensureDeferred
async def test_store_header(start: Started, tmp_path: Path) -> None:
    """glanceclient names the store by a header."""
    api = await start(two_stores(tmp_path))
    image_id = await api.create()
    await stage(api, image_id)
    assert (await start_import(api, image_id, X_Image_Meta_Store="cheap")).status == 202
    await ended(api, image_id)
    assert (await api.show(image_id))["stores"] == "cheap"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({}, {}, 400),
        ([], {}, 400),
        ("x", {}, 400),
        ({"method": "x"}, {}, 400),
        ({"method": {}}, {}, 400),
        ({"method": None}, {}, 400),
        ({"method": {"name": "nope"}}, {}, 400),
        ({"method": {"name": ["x"]}}, {}, 400),
        (DIRECT | {"all_stores": "yes"}, {}, 400),
        (DIRECT | {"all_stores_must_succeed": 1}, {}, 400),
        (DIRECT | {"stores": ["fast"], "all_stores": True}, {}, 400),
        (DIRECT | {"stores": ["fast"]}, {"X_Image_Meta_Store": "cheap"}, 400),
        (DIRECT | {"all_stores": True}, {"X_Image_Meta_Store": "cheap"}, 400),
        (DIRECT | {"stores": ["nope"]}, {}, 409),
        (DIRECT | {"stores": [1]}, {}, 409),
        (DIRECT | {"stores": ["os_glance_staging_store"]}, {}, 409),
        (DIRECT, {"X_Image_Meta_Store": "nope"}, 409),
    ],
)
@pytest_twisted.ensureDeferred
async def test_refused(start: Started, tmp_path: Path, body: Any, headers: dict[str, str], status: int) -> None:
    """What is not an import; the image can be imported afterwards."""
    api = await start(two_stores(tmp_path))
    image_id = await api.create()
    await stage(api, image_id)
    assert (await start_import(api, image_id, body, **headers)).status == status
    assert (await api.show(image_id))["status"] == "uploading"
    assert (await api.request("GET", f"/v2/images/{image_id}/tasks")).json["tasks"] == []
    assert (await start_import(api, image_id)).status == 202
    assert (await ended(api, image_id))["status"] == "success"


@pytest_twisted.ensureDeferred
async def test_refused_by_state(api: Api) -> None:
    """Not staged, without formats, active, unknown; and the flag that needs several stores."""
    assert (await start_import(api, await api.create())).status == 409
    assert (await start_import(api, "nope")).status == 404
    bare = await api.create(disk_format=None)
    await stage(api, bare)
    assert "disk_format" in (await start_import(api, bare)).json["message"]
    image_id = await api.create()
    await stage(api, image_id)
    assert (await start_import(api, image_id, DIRECT | {"all_stores_must_succeed": False})).status == 400
    assert (await start_import(api, image_id, DIRECT | {"stores": ["ignored"]})).status == 202
    await ended(api, image_id)
    assert (await start_import(api, image_id)).status == 409


@pytest_twisted.ensureDeferred
async def test_import_while_staging(api: Api) -> None:
    """What is not whole is not imported."""
    from twisted.internet import reactor

    image_id = await api.create()
    source = ScriptedSource(CONTENT, held=True)
    staging = Deferred.fromCoroutine(stage(api, image_id, source))
    await until(reactor, lambda: staged(api) != [])
    assert (await api.show(image_id))["status"] == "uploading"
    assert (await start_import(api, image_id)).status == 409
    source.end()
    assert (await staging).status == 204


@pytest_twisted.ensureDeferred
async def test_second_import(start: Started, tmp_path: Path) -> None:
    """While one goes on another is refused, and the image tells which task it is."""
    from twisted.internet import reactor

    store = WaitingStore()
    api = await start(settings_in(tmp_path), stores={"memory": store})
    image_id = await api.create()
    await stage(api, image_id)
    assert (await start_import(api, image_id)).status == 202
    await until(reactor, lambda: store.reached)
    image = await api.show(image_id)
    (task,) = (await api.request("GET", f"/v2/images/{image_id}/tasks")).json["tasks"]
    assert image["os_glance_import_task"] == task["id"]
    assert (image["status"], task["status"]) == ("importing", "processing")
    assert (await start_import(api, image_id)).status == 409
    store.go.callback(None)
    assert (await ended(api, image_id))["status"] == "success"


@pytest_twisted.ensureDeferred
async def test_wrong_format(api: Api) -> None:
    """The task says what is wrong; the image is queued again, nothing is kept, and another try works."""
    image_id = await api.create(disk_format="qcow2")
    await stage(api, image_id)
    assert (await start_import(api, image_id)).status == 202
    task = await ended(api, image_id)
    assert task["status"] == "failure"
    assert "qcow2" in task["message"]
    image = await api.show(image_id)
    assert (image["status"], image["size"], image["checksum"]) == ("queued", None, None)
    assert "os_glance_import_task" not in image
    assert (api.stored(), staged(api)) == ([], [])
    await api.patch(image_id, {"op": "replace", "path": "/disk_format", "value": "raw"})
    await stage(api, image_id)
    await start_import(api, image_id)
    assert (await ended(api, image_id))["status"] == "success"


@pytest_twisted.ensureDeferred
async def test_one_store_fails(start: Started, tmp_path: Path) -> None:
    """If all must succeed, none keeps anything."""
    good = MemoryStore("good", metadata={"store": "good"})
    api = await start(settings_in(tmp_path), stores={"good": good, "bad": FailingStore("bad")})
    image_id = await api.create()
    await stage(api, image_id)
    assert (await start_import(api, image_id, DIRECT | {"all_stores": True})).status == 202
    task = await ended(api, image_id)
    assert (task["status"], task["message"]) == ("failure", "The store has no room left")
    image = await api.show(image_id)
    assert (image["status"], image["os_glance_failed_import"]) == ("queued", "bad")
    assert image["os_glance_importing_to_stores"] == ""
    assert (good.urls, staged(api)) == ([], [])


@pytest_twisted.ensureDeferred
async def test_one_store_may_fail(start: Started, tmp_path: Path) -> None:
    """If not all must succeed, the image is active with the others."""
    stores = {"good": MemoryStore("good", metadata={"store": "good"}), "bad": FailingStore("bad")}
    api = await start(settings_in(tmp_path), stores=stores)
    image_id = await api.create()
    await stage(api, image_id)
    body = DIRECT | {"all_stores": True, "all_stores_must_succeed": False}
    assert (await start_import(api, image_id, body)).status == 202
    assert (await ended(api, image_id))["status"] == "success"
    image = await api.show(image_id)
    assert (image["status"], image["stores"], image["os_glance_failed_import"]) == ("active", "good", "bad")
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == CONTENT
    await nothing_staged(api)


@pytest_twisted.ensureDeferred
async def test_no_store_succeeds(start: Started, tmp_path: Path) -> None:
    """Even if not all must succeed, one has to."""
    stores = {"bad": FailingStore("bad"), "worse": FailingStore("worse")}
    api = await start(settings_in(tmp_path), stores=stores)
    image_id = await api.create()
    await stage(api, image_id)
    await start_import(api, image_id, DIRECT | {"all_stores": True, "all_stores_must_succeed": False})
    assert (await ended(api, image_id))["status"] == "failure"
    image = await api.show(image_id)
    assert (image["status"], image["os_glance_failed_import"]) == ("queued", "bad,worse")


@pytest_twisted.ensureDeferred
async def test_changed_meanwhile(start: Started, tmp_path: Path) -> None:
    """What a client changes while an import goes on is not lost."""
    from twisted.internet import reactor

    store = WaitingStore()
    api = await start(settings_in(tmp_path), stores={"memory": store})
    image_id = await api.create()
    await stage(api, image_id)
    await start_import(api, image_id)
    await until(reactor, lambda: store.reached)
    change = {"op": "replace", "path": "/name", "value": "new"}
    assert (await api.patch(image_id, change, {"op": "add", "path": "/x", "value": "y"})).status == 200
    store.go.callback(None)
    assert (await ended(api, image_id))["status"] == "success"
    image = await api.show(image_id)
    assert (image["status"], image["name"], image["x"]) == ("active", "new", "y")


@pytest_twisted.ensureDeferred
async def test_delete_cancels(start: Started, tmp_path: Path) -> None:
    """Deleting the image ends its import, and nothing is left."""
    from twisted.internet import reactor

    store = WaitingStore()
    api = await start(settings_in(tmp_path), stores={"memory": store})
    image_id = await api.create()
    await stage(api, image_id)
    await start_import(api, image_id)
    await until(reactor, lambda: store.reached)
    task_id = (await api.show(image_id))["os_glance_import_task"]
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 204
    await until(reactor, lambda: store.left)
    deadline = time.monotonic() + PATIENCE
    while (task := (await api.request("GET", f"/v2/tasks/{task_id}")).json)["status"] != "failure":
        assert time.monotonic() < deadline, task
        await deferLater(reactor, 0.02)
    assert task["status"] == "failure"
    assert (store.urls, staged(api)) == ([], [])


@pytest_twisted.ensureDeferred
async def test_delete_staged(api: Api) -> None:
    """What was staged goes with the image."""
    image_id = await api.create()
    await stage(api, image_id)
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 204
    assert staged(api) == []


@pytest_twisted.ensureDeferred
async def test_delete_protected(api: Api) -> None:
    """A refused delete destroys nothing."""
    image_id = await api.create(protected=True)
    await stage(api, image_id)
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 403
    assert (await start_import(api, image_id)).status == 202
    assert (await ended(api, image_id))["status"] == "success"


@pytest_twisted.ensureDeferred
async def test_staged_data_is_gone(api: Api) -> None:
    """An image never becomes active with less than was staged."""
    image_id = await api.create()
    await stage(api, image_id)
    os.truncate(api.folder / "staging" / image_id, 1000)
    await start_import(api, image_id)
    task = await ended(api, image_id)
    assert (task["status"], task["message"]) == ("failure", "Of 700000 bytes that were staged, 1000 are there.")
    assert (await api.show(image_id))["status"] == "queued"
    assert staged(api) == []


@pytest_twisted.ensureDeferred
async def test_so_many_at_a_time(start: Started, tmp_path: Path) -> None:
    """Further imports wait for their turn as pending tasks (P-133)."""
    from twisted.internet import reactor

    store = WaitingStore()
    imports = ImportSettings(staging=tmp_path / "staging", at_once=1)
    api = await start(settings_in(tmp_path, imports=imports), stores={"memory": store})
    ids = [await api.create() for _ in range(3)]
    for image_id in ids:
        await stage(api, image_id)
        await start_import(api, image_id)
    await until(reactor, lambda: store.reached)
    statuses = [
        (await api.request("GET", f"/v2/images/{image_id}/tasks")).json["tasks"][0]["status"] for image_id in ids
    ]
    assert statuses == ["processing", "pending", "pending"]
    store.go.callback(None)
    for image_id in ids:
        assert (await ended(api, image_id))["status"] == "success"


@pytest_twisted.ensureDeferred
async def test_stopped_and_started(start: Started, tmp_path: Path) -> None:
    """A service that is stopped leaves its imports to the next one, which goes on with them (P-131)."""
    from twisted.internet import reactor

    store = WaitingStore()
    api = await start(settings_in(tmp_path), stores={"memory": store})
    image_id = await api.create()
    await stage(api, image_id)
    await start_import(api, image_id)
    await until(reactor, lambda: store.reached)
    await api.service.stopService()
    assert staged(api) == [image_id]
    again = await start(settings_in(tmp_path), stores={"memory": MemoryStore()})
    assert (await ended(again, image_id))["status"] == "success"
    assert (await again.request("GET", f"/v2/images/{image_id}/file")).body == CONTENT
    await nothing_staged(again)


@implementer(ILimits)
class FixedLimits:
    def __init__(self, **limits: int) -> None:
        self.limits = Limits(unified=True, **limits)

    async def limits_of(self, project_id: str | None) -> Limits:
        return self.limits


@pytest_twisted.ensureDeferred
async def test_staging_quota(start: Started, tmp_path: Path) -> None:
    """What is staged counts, announced or not, and no longer when it is imported."""
    api = await start(settings_in(tmp_path), limits=FixedLimits(stage_total=1_000_000))
    first, second = await api.create(), await api.create()
    assert (await stage(api, first)).status == 204
    assert (await stage(api, second)).status == 413
    unknown = ScriptedSource(*[CONTENT[:100_000]] * 7, length=UNKNOWN_LENGTH)
    assert (await stage(api, second, unknown)).status == 413
    assert (await api.show(second))["status"] == "queued"
    await start_import(api, first)
    await ended(api, first)
    assert (await stage(api, second, ScriptedSource(CONTENT, length=UNKNOWN_LENGTH))).status == 204


@pytest_twisted.ensureDeferred
async def test_storage_quota(start: Started, tmp_path: Path) -> None:
    """An import that would exceed it is refused at once, for each of its stores; what is staged stays."""
    settings = evolve(two_stores(tmp_path), images=ImagesSettings(user_storage_quota=1_000_000))
    api = await start(settings)
    image_id = await api.create()
    assert (await stage(api, image_id)).status == 204
    assert (await start_import(api, image_id, DIRECT | {"all_stores": True})).status == 413
    assert (await api.show(image_id))["status"] == "uploading"
    assert (await start_import(api, image_id)).status == 202
    assert (await ended(api, image_id))["status"] == "success"


@pytest_twisted.ensureDeferred
async def test_unstager(api: Api) -> None:
    """What nobody needs is removed from the staging directory, and only that."""
    needed, gone = await api.create(), await api.create()
    await stage(api, needed)
    folder = api.folder / "staging"
    kept = ["note.txt", needed, f"{needed}.raw"]
    for name in ["note.txt", f"{needed}.raw", gone, f".{gone}.{'0' * 32}.part", f"{'0' * 8}{gone[8:]}.qcow2"]:
        (folder / name).write_text("x")
    assert await api.service.background.unstager.run_once() == 3
    assert staged(api) == sorted(kept)


@pytest_twisted.ensureDeferred
async def test_step(start: Started, tmp_path: Path) -> None:
    """A step works on what is staged, and on the image; the file it has read goes at once, its own at the end."""
    store = WaitingStore()
    step = Doubling()
    api = await start(settings_in(tmp_path), stores={"memory": store}, import_steps=[step])
    image_id = await api.create()
    await stage(api, image_id)
    await start_import(api, image_id)
    from twisted.internet import reactor

    await until(reactor, lambda: store.reached)
    assert staged(api) == [f"{image_id}.doubling"]
    assert (await api.show(image_id))["twice"] == "yes"
    store.go.callback(None)
    assert (await ended(api, image_id))["status"] == "success"
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == CONTENT * 2
    assert (await api.show(image_id))["size"] == 2 * len(CONTENT)
    assert len(step.tries) == 1
    await nothing_staged(api)


@pytest_twisted.ensureDeferred
async def test_step_again(start: Started, tmp_path: Path) -> None:
    """A step that was under way when the service stopped is run again by the next one; one that had ended is not."""
    from twisted.internet import reactor

    once, held = Doubling(), Doubling()
    held.name = "again"
    held.go = Deferred()
    api = await start(settings_in(tmp_path), import_steps=[once, held])
    image_id = await api.create()
    await stage(api, image_id)
    await start_import(api, image_id)
    await until(reactor, lambda: held.tries != [])
    await api.service.stopService()
    held.go, held.factor = succeed(None), 4
    again = await start(settings_in(tmp_path), import_steps=[once, held])
    assert (await ended(again, image_id))["status"] == "success"
    assert (await again.show(image_id))["size"] == 4 * len(CONTENT)
    assert (len(once.tries), len(held.tries)) == (1, 2)
    assert [job.claim.id for job in held.tries] != [held.tries[0].claim.id] * 2
    assert {job.path for job in held.tries} == {tmp_path / "staging" / f"{image_id}.doubling"}


@pytest_twisted.ensureDeferred
async def test_nobody_knows_whether_it_has_begun(
    start: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the database is lost while an import is noted, the client is told so; and if it was noted, it is done."""
    api = await start(settings_in(tmp_path))
    image_id = await api.create()
    assert (await stage(api, image_id)).status == 204
    engine = api.service._engine

    async def lost(function: Any, *args: Any, **named: Any) -> Any:
        await Engine.interact(engine, function, *args, **named)
        raise OutcomeUnknown

    monkeypatch.setattr(api.service.imports._runs._engine, "interact", lost)
    assert (await start_import(api, image_id)).status == 503
    monkeypatch.undo()
    await api.service.background.reaper.run_once()
    assert (await ended(api, image_id))["status"] == "success"
    assert (await api.show(image_id))["status"] == "active"
