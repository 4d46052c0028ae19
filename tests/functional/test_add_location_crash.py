"""SIGKILL at every step of adding a location; after a restart it goes on, or the image is as it was."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.test_import_crash import create, last_task, show
from tests.running import Daemon
from tests.services.pages import CONTENT, serving


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    with serving() as port:
        yield port


@pytest.fixture
def daemon(daemon: Daemon, web: int) -> Daemon:
    """With a store of web pages."""
    daemon.configure(f"""
        [DEFAULT]
        enabled_backends = fast:file, web:http
        show_multiple_locations = true
        [glance_store]
        default_backend = fast
        [fast]
        filesystem_store_datadir = {daemon.folder}/fast
        [os_glance_staging_store]
        filesystem_store_datadir = {daemon.folder}/staging
        [import_filtering_opts]
        allowed_hosts = [127.0.0.1]
        allowed_ports = [{web}]
    """)
    return daemon


def add(daemon: Daemon, web: int, image_id: str, digest: str | None) -> int:
    document: dict[str, Any] = {"url": f"http://127.0.0.1:{web}/image"}
    if digest is not None:
        document["validation_data"] = {"os_hash_algo": "sha256", "os_hash_value": digest}
    return daemon.call("POST", f"/v2/images/{image_id}/locations", json.dumps(document).encode())[0]


RIGHT, WRONG = hashlib.sha256(CONTENT).hexdigest(), "0" * 64


@pytest.mark.parametrize(
    ("point", "digest"),
    [
        ("location.begun", None),
        ("location.processing", None),
        ("location.attached", None),
        ("location.attached", RIGHT),
        ("location.hashed", RIGHT),
        ("location.ended", None),
        ("location.reverted", WRONG),
    ],
)
def test_killed(daemon: Daemon, web: int, point: str, digest: str | None) -> None:
    """It ends as it would have ended."""
    daemon.start(GLANCETX_FAILPOINT=point)
    image_id = create(daemon)
    try:
        assert add(daemon, web, image_id, digest) == 202
    except OSError:
        assert point == "location.begun"
    assert daemon.wait() == -signal.SIGKILL
    daemon.start()
    task, image = last_task(daemon, image_id), show(daemon, image_id)
    assert "os_glance_import_task" not in image
    if digest == WRONG:
        assert (task["status"], image["status"], image["locations"]) == ("failure", "queued", [])
        assert image["size"] is None
    else:
        assert (task["status"], image["status"], len(image["locations"])) == ("success", "active", 1)
        assert image["checksum"] == hashlib.md5(CONTENT).hexdigest()
        assert daemon.call("GET", f"/v2/images/{image_id}/file") == (200, CONTENT)
