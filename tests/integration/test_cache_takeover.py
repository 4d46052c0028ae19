"""A real Glance takes the cache's directory over from us, and we from it: each serves what both cached (D-053)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.integration.scripts.caching import PIPELINE
from tests.running import DATA, Daemon
from tests.services.glance import RealGlance, find_venv

CONTENT = os.urandom(300_000)
HEADERS = {
    "X-Identity-Status": "Confirmed",
    "X-User-Id": "user",
    "X-Project-Id": "admin",
    "X-Roles": "admin,member,reader",
    "Accept": "application/json",
}
OPTIONS = """
[DEFAULT]
enabled_backends = fast:file
image_cache_dir = {folder}/cache
image_cache_driver = {driver}
worker_self_reference_url = http://node-1.example
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {folder}/fast
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
"""


def call(port: int, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {**HEADERS, "Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def image_with(port: int, data: bytes) -> str:
    body = json.dumps({"name": "x", "disk_format": "raw", "container_format": "bare"}).encode()
    image_id = str(json.loads(call(port, "POST", "/v2/images", body)[1])["id"])
    assert call(port, "PUT", f"/v2/images/{image_id}/file", data, DATA)[0] == 204
    return image_id


def read(port: int, image_id: str) -> tuple[int, bytes]:
    status, body = call(port, "GET", f"/v2/images/{image_id}/file")
    return status, body


def listed(port: int) -> dict[str, int]:
    """The cached images and how often they were read."""
    entries = json.loads(call(port, "GET", "/v2/cache")[1])["cached_images"]
    return {entry["image_id"]: entry["hits"] for entry in entries}


def soon(condition: Callable[[], bool]) -> None:
    latest = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < latest
        time.sleep(0.05)


@pytest.fixture
def places(tmp_path: Path) -> Path:
    folder = tmp_path / "both"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("driver", ["centralized_db"])  # sqlite does, too, and takes as long
def test_there_and_back(places: Path, driver: str) -> None:
    """Files, entries and hits survive the change, in both directions."""
    options = OPTIONS.format(folder=places, driver=driver)
    glance = RealGlance(find_venv(), places, options, PIPELINE)
    glance.start()
    try:
        first = image_with(glance.port, CONTENT)
        assert read(glance.port, first)[1] == CONTENT
        soon(lambda: first in listed(glance.port))
    finally:
        glance.stop()

    (places / "ours").mkdir()
    daemon = Daemon(places / "ours")
    daemon.configure(options)
    daemon.configure(f"[database]\nconnection = sqlite:///{places}/glance.sqlite\n")
    daemon.configure("[glancetx]\nauthentication = trusted\ncache_downloads = true\ncache_interval = 0\n")
    daemon.start()
    try:
        assert listed(daemon.port) == {first: 0}
        assert read(daemon.port, first) == (200, CONTENT)  # from the store, while what Glance has left is compared
        (places / "fast" / first).unlink()

        def served() -> bool:
            return read(daemon.port, first) == (200, CONTENT)

        soon(served)
        second = image_with(daemon.port, CONTENT[::-1])
        assert read(daemon.port, second)[1] == CONTENT[::-1]
        soon(lambda: set(listed(daemon.port)) == {first, second} and listed(daemon.port)[first] == 1)
    finally:
        daemon.stop()

    (places / "fast" / second).unlink()
    glance.start()
    try:
        for image_id, data in ((first, CONTENT), (second, CONTENT[::-1])):
            assert read(glance.port, image_id) == (200, data)
        soon(lambda: listed(glance.port) == {first: 2, second: 1})
    finally:
        glance.stop()
