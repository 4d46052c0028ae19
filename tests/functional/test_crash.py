"""SIGKILL at every step of an upload and of a delete; after a restart nothing is wrong, stuck or left over."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.nursery import DAEMON, nursery
from tests.ports import free_port
from tests.running import DATA, PATIENCE, Daemon

CONTENT = os.urandom(400_000)
PACKAGE = Path(__file__).parents[2] / "glancetx"
UPLOAD = [
    "upload.saving",
    "store.created",
    "store.written",
    "store.synced",
    "store.linked",
    "store.published",
    "upload.stored",
    "upload.active",
]
DELETE = ["delete.claimed", "store.unlinked", "delete.removed", "delete.done"]
SCRUB = ["scrub.begun", "scrub.removed"]
REPAIR = ["repair.begun", "repair.removed", "repair.stored"]
RECOVERY = ["recovery.adopted", "recovery.discarded", "recovery.removed"]
FIRST_START = [
    "first_start.ca_key",
    "first_start.ca_certificate",
    "first_start.server_key",
    "first_start.server_certificate",
    "first_start.clouds",
    "first_start.tokens",
    "first_start.accounts",
    "first_start.link",
]


def create(daemon: Daemon) -> str:
    body = json.dumps({"name": "x", "disk_format": "raw", "container_format": "bare"}).encode()
    status, reply = daemon.call("POST", "/v2/images", body)
    assert status == 201
    return str(json.loads(reply)["id"])


def show(daemon: Daemon, image_id: str) -> Any:
    status, reply = daemon.call("GET", f"/v2/images/{image_id}")
    return json.loads(reply) if status == 200 else None


def upload(daemon: Daemon, image_id: str) -> int:
    return daemon.call("PUT", f"/v2/images/{image_id}/file", CONTENT, Content_Type=DATA)[0]


def files(daemon: Daemon) -> list[str]:
    return sorted(path.name for path in daemon.images.iterdir())


def expect_death(daemon: Daemon) -> None:
    assert daemon.wait() == -signal.SIGKILL


def check_image(daemon: Daemon, image_id: str) -> None:
    """Either the image is queued without any data and takes it now, or it is active with all of it."""
    image = show(daemon, image_id)
    if image["status"] == "queued":
        assert files(daemon) == []
        assert image["size"] is None
        assert image["checksum"] is None
        assert upload(daemon, image_id) == 204
    assert show(daemon, image_id)["status"] == "active"
    assert daemon.call("GET", f"/v2/images/{image_id}/file") == (200, CONTENT)
    assert files(daemon) == [image_id]


def test_all_points_are_tried() -> None:
    """A failpoint that is added to the code must be named in one of the tests of crashes."""
    written = {name for path in PACKAGE.rglob("*.py") for name in re.findall(r'\breach\("([^"]+)"\)', path.read_text())}
    tried = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*crash*.py"))
    assert {name for name in written if f'"{name}"' not in tried} == set()


@pytest.mark.parametrize("point", UPLOAD)
def test_killed_in_upload(daemon: Daemon, point: str) -> None:
    """The image is queued again, without a byte left, or it is complete."""
    daemon.start(GLANCETX_FAILPOINT=point)
    image_id = create(daemon)
    with pytest.raises(OSError):
        upload(daemon, image_id)
    expect_death(daemon)
    daemon.start()
    assert (show(daemon, image_id)["status"] == "active") == (point == "upload.active")
    check_image(daemon, image_id)


@pytest.mark.parametrize("point", DELETE)
def test_killed_in_delete(daemon: Daemon, point: str) -> None:
    """A delete that had begun is finished."""
    daemon.start(GLANCETX_FAILPOINT=point)
    image_id = create(daemon)
    assert upload(daemon, image_id) == 204
    with pytest.raises(OSError):
        daemon.call("DELETE", f"/v2/images/{image_id}")
    expect_death(daemon)
    daemon.start()
    assert show(daemon, image_id) is None
    assert files(daemon) == []


@pytest.mark.parametrize(
    ("first", "point"),
    [
        ("store.linked", "recovery.adopted"),
        ("store.linked", "store.aside"),
        ("store.linked", "recovery.discarded"),
        ("delete.removed", "recovery.removed"),
    ],
)
def test_killed_in_recovery(daemon: Daemon, first: str, point: str) -> None:
    """The sweep that puts things right may be killed too; the next one ends its work."""
    daemon.start(GLANCETX_FAILPOINT=first)
    image_id = create(daemon)
    deleting = first.startswith("delete")
    if deleting:
        assert upload(daemon, image_id) == 204
    with pytest.raises(OSError):
        daemon.call("DELETE", f"/v2/images/{image_id}") if deleting else upload(daemon, image_id)
    expect_death(daemon)
    daemon.start(GLANCETX_FAILPOINT=point)
    expect_death(daemon)
    daemon.start()
    if deleting:
        assert show(daemon, image_id) is None
        assert files(daemon) == []
    else:
        check_image(daemon, image_id)


def test_client_vanishes(daemon: Daemon) -> None:
    """A client that dies in mid-upload leaves a queued image and no data."""
    daemon.start()
    image_id = create(daemon)
    head = (
        f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\nContent-Type: {DATA}\r\nContent-Length: 400000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
        connection.sendall(head.encode() + CONTENT[:300_000])
        while show(daemon, image_id)["status"] != "saving":
            pass
    while show(daemon, image_id)["status"] == "saving":
        pass
    check_image(daemon, image_id)


@pytest.mark.parametrize("point", FIRST_START)
def test_killed_in_first_start(tmp_path: Path, point: str) -> None:
    """The next start ends what was begun, and what it wrote for clients is true."""
    settings = {**os.environ, "HOME": str(tmp_path), "OS_GLANCE_CONFIG_DIR": str(tmp_path / "none")}
    port = free_port()
    twistd = str(Path(sys.executable).parent / "twistd")
    command = [twistd, "-n", "glancetx", "--data-dir", "data", "--listen", f"ssl:{port}:interface=127.0.0.1"]
    killed = nursery().run(DAEMON, command, {**settings, "GLANCETX_FAILPOINT": point}, tmp_path)
    assert killed.returncode == -signal.SIGKILL
    log = tmp_path / "log"
    with log.open("wb") as output:
        it = nursery().start(DAEMON, command, tmp_path, settings, output)
    try:
        while "Starting factory <glancetx" not in log.read_text():
            assert it.poll() is None
            time.sleep(0.02)
        assert list_images(tmp_path / ".config" / "openstack" / "clouds.yaml") == 200
    finally:
        it.terminate()
        it.wait(PATIENCE)
    assert it.returncode == 0


def list_images(clouds: Path) -> int:
    """The status a client gets that believes *clouds*."""
    cloud = yaml.safe_load(clouds.read_text())["clouds"]["glancetx"]
    auth = cloud["auth"]
    basic = base64.b64encode(f"{auth['username']}:{auth['password']}".encode()).decode()
    request = Request(f"{auth['endpoint']}/v2/images", headers={"Authorization": f"Basic {basic}"})
    with urlopen(request, context=ssl.create_default_context(cafile=cloud["cacert"])) as response:
        return int(response.status)
