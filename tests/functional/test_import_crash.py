"""SIGKILL at every step of staging and importing; after a restart the import goes on, or nothing of it is left.

Contract rows P-134.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.running import DATA, Daemon
from tests.services.source import Source, serving

CONTENT = os.urandom(400_000)
STAGE = ["stage.uploading", "store.created", "store.linked", "store.published", "stage.stored"]
DOWNLOAD = ["import.begun", "store.linked", "import.step.fetch", "import.stored", "import.published", "import.unstaged"]
COPY = ["import.begun", "store.created", "store.published", "import.stored", "import.published"]
if not os.environ.get("GLANCETX_EVERY_FAILPOINT"):  # the others are those of every import
    DOWNLOAD, COPY = ["store.linked", "import.step.fetch"], ["store.published", "import.published"]
IMPORT = [
    "import.begun",
    "import.processing",
    "store.created",
    "store.written",
    "store.linked",
    "store.published",
    "import.stored",
    "import.published",
    "import.unstaged",
]
FAILURE = ["import.discarded", "import.reverted"]
POINTS = {*STAGE, *IMPORT, *FAILURE, "import.taken", "recovery.unstaged"}


@pytest.fixture
def daemon(daemon: Daemon) -> Daemon:
    """With two stores and a staging area in its folder."""
    daemon.configure(f"""
        [DEFAULT]
        enabled_backends = fast:file, cheap:file
        enabled_import_methods = [glance-direct,web-download,copy-image]
        [glance_store]
        default_backend = fast
        [fast]
        filesystem_store_datadir = {daemon.folder}/fast
        [cheap]
        filesystem_store_datadir = {daemon.folder}/cheap
        [os_glance_staging_store]
        filesystem_store_datadir = {daemon.folder}/staging
    """)
    return daemon


def create(daemon: Daemon, disk_format: str = "raw") -> str:
    body = json.dumps({"name": "x", "disk_format": disk_format, "container_format": "bare"}).encode()
    status, reply = daemon.call("POST", "/v2/images", body)
    assert status == 201
    return str(json.loads(reply)["id"])


def show(daemon: Daemon, image_id: str) -> Any:
    return json.loads(daemon.call("GET", f"/v2/images/{image_id}")[1])


def stage(daemon: Daemon, image_id: str) -> int:
    return daemon.call("PUT", f"/v2/images/{image_id}/stage", CONTENT, Content_Type=DATA)[0]


def start_import(daemon: Daemon, image_id: str, name: str = "glance-direct", **more: str) -> int:
    body = json.dumps({"method": {"name": name, **more}, "all_stores": True}).encode()
    return daemon.call("POST", f"/v2/images/{image_id}/import", body)[0]


def begin_import(daemon: Daemon, image_id: str) -> None:
    """Start an import that ends the process: it is accepted, or nobody lives any more to say so."""
    with suppress(OSError):
        assert start_import(daemon, image_id) == 202


def last_task(daemon: Daemon, image_id: str) -> Any:
    """The last task, when it has ended; a service that has just started may be at work on it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        tasks = json.loads(daemon.call("GET", f"/v2/images/{image_id}/tasks")[1])["tasks"]
        if tasks[-1]["status"] in ("success", "failure"):
            return tasks[-1]
        time.sleep(0.02)
    raise AssertionError(tasks)


def files(daemon: Daemon, *folders: str) -> list[str]:
    return sorted(path.name for folder in folders for path in Path(daemon.folder, folder).iterdir())


def nothing_staged(daemon: Daemon) -> None:
    deadline = time.monotonic() + 60
    while files(daemon, "staging") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert files(daemon, "staging") == []


def kill_at(daemon: Daemon, point: str) -> None:
    """Start again, armed."""
    daemon.stop()
    daemon.start(GLANCETX_FAILPOINT=point)


def check_complete(daemon: Daemon, image_id: str) -> None:
    """Active, right in every store, and nothing is left anywhere else."""
    assert last_task(daemon, image_id)["status"] == "success"
    image = show(daemon, image_id)
    assert (image["status"], image["stores"]) == ("active", "fast,cheap")
    assert image["os_glance_importing_to_stores"] == image["os_glance_failed_import"] == ""
    assert "os_glance_import_task" not in image
    assert daemon.call("GET", f"/v2/images/{image_id}/file") == (200, CONTENT)
    assert files(daemon, "fast", "cheap") == [image_id, image_id]
    assert {Path(daemon.folder, name, image_id).read_bytes() for name in ("fast", "cheap")} == {CONTENT}
    nothing_staged(daemon)


@pytest.mark.parametrize("point", STAGE)
def test_killed_in_staging(daemon: Daemon, point: str) -> None:
    """The image is queued again without a byte left, and can be staged and imported."""
    daemon.start(GLANCETX_FAILPOINT=point)
    image_id = create(daemon)
    with pytest.raises(OSError):
        stage(daemon, image_id)
    assert daemon.wait() == -signal.SIGKILL
    daemon.start()
    assert (show(daemon, image_id)["status"], files(daemon, "staging")) == ("queued", [])
    assert stage(daemon, image_id) == 204
    assert start_import(daemon, image_id) == 202
    check_complete(daemon, image_id)


@pytest.mark.parametrize("point", IMPORT)
def test_killed_in_import(daemon: Daemon, point: str) -> None:
    """The import goes on after the restart, and ends well."""
    early = point.startswith("import.")  # the others are reached while staging, too
    daemon.start(**({"GLANCETX_FAILPOINT": point} if early else {}))
    image_id = create(daemon)
    assert stage(daemon, image_id) == 204
    if not early:
        kill_at(daemon, point)
    begin_import(daemon, image_id)
    assert daemon.wait() == -signal.SIGKILL
    daemon.start()
    check_complete(daemon, image_id)


@pytest.fixture(scope="module")
def source() -> Iterator[Source]:
    with serving(CONTENT) as found:
        yield found


@pytest.mark.parametrize("point", DOWNLOAD)
def test_killed_in_download(daemon: Daemon, source: Source, point: str) -> None:
    """What had come is used, if it was all; else it is fetched again."""
    daemon.configure(f"""
        [import_filtering_opts]
        allowed_hosts = 127.0.0.1
        allowed_ports = {source.port}
    """)
    daemon.start(GLANCETX_FAILPOINT=point)
    image_id = create(daemon)
    number = len(source.requests)
    try:
        assert start_import(daemon, image_id, "web-download", uri=f"{source.url}/x") == 202
    except OSError:
        assert point == "import.begun"
    assert daemon.wait() == -signal.SIGKILL
    daemon.start()
    check_complete(daemon, image_id)
    assert len(source.requests) - number == (2 if point == "store.linked" else 1)


@pytest.mark.parametrize("point", COPY)
def test_killed_in_copy(daemon: Daemon, point: str) -> None:
    """The image is active all the time, and has its new copy in the end."""
    daemon.start()
    image_id = create(daemon)
    upload = f"/v2/images/{image_id}/file"
    assert daemon.call("PUT", upload, CONTENT, Content_Type=DATA)[0] == 204
    kill_at(daemon, point)
    try:
        assert start_import(daemon, image_id, "copy-image") == 202
    except OSError:
        assert point == "import.begun"
    assert daemon.wait() == -signal.SIGKILL
    assert Path(daemon.folder, "fast", image_id).read_bytes() == CONTENT
    daemon.start()
    assert show(daemon, image_id)["status"] == "active"
    check_complete(daemon, image_id)


@pytest.mark.parametrize("point", FAILURE)
def test_killed_in_failure(daemon: Daemon, point: str) -> None:
    """An import that has to fail does so after the restart, too."""
    daemon.start(GLANCETX_FAILPOINT=point)
    image_id = create(daemon, "qcow2")
    assert stage(daemon, image_id) == 204
    begin_import(daemon, image_id)
    assert daemon.wait() == -signal.SIGKILL
    daemon.start()
    assert last_task(daemon, image_id)["status"] == "failure"
    image = show(daemon, image_id)
    assert (image["status"], image["size"]) == ("queued", None)
    assert "os_glance_import_task" not in image
    assert files(daemon, "fast", "cheap") == []
    nothing_staged(daemon)


def test_killed_again_and_again(daemon: Daemon) -> None:
    """An import that ends its process each time is given up at last."""
    daemon.start(GLANCETX_FAILPOINT="import.stored")
    image_id = create(daemon)
    assert stage(daemon, image_id) == 204
    begin_import(daemon, image_id)
    for _ in range(4):
        assert daemon.wait() == -signal.SIGKILL
        daemon.start(GLANCETX_FAILPOINT="import.stored")
    assert daemon.wait() == -signal.SIGKILL
    daemon.start(GLANCETX_FAILPOINT="import.stored")
    assert "5 times" in last_task(daemon, image_id)["message"]
    assert show(daemon, image_id)["status"] == "queued"
    assert files(daemon, "fast", "cheap") == []
    nothing_staged(daemon)


@pytest.mark.parametrize(("first", "point"), [("import.stored", "import.taken"), ("stage.stored", "recovery.unstaged")])
def test_killed_in_recovery(daemon: Daemon, first: str, point: str) -> None:
    """Whoever goes on with it may be killed as well."""
    daemon.start()
    image_id = create(daemon)
    if first.startswith("import"):
        assert stage(daemon, image_id) == 204
    kill_at(daemon, first)
    if first.startswith("import"):
        begin_import(daemon, image_id)
    else:
        with pytest.raises(OSError):
            stage(daemon, image_id)
    assert daemon.wait() == -signal.SIGKILL
    daemon.start(GLANCETX_FAILPOINT=point)
    assert daemon.wait() == -signal.SIGKILL
    daemon.start()
    if first.startswith("stage"):
        assert show(daemon, image_id)["status"] == "queued"
        assert stage(daemon, image_id) == 204
        assert start_import(daemon, image_id) == 202
    check_complete(daemon, image_id)
