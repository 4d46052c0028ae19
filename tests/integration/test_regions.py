"""glance-download from a real Glance of another region, by the catalog of a real Keystone."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_keystone import Cloud
from tests.running import DATA, PATIENCE
from tests.services.glance import RealGlance
from tests.services.glance import find_venv as find_glance
from tests.services.keystone import AUTHTOKEN, PASSWORD, RealKeystone

CONTENT = os.urandom(300_000)
THERE = "RegionTwo"
OPTIONS = (
    """
[glance_store]
filesystem_store_datadir = {folder}/images
"""
    + AUTHTOKEN
)


@pytest.fixture
def there(keystone: RealKeystone, tmp_path: Path) -> Iterator[RealGlance]:
    folder = tmp_path / "there"
    folder.mkdir()
    options = OPTIONS.format(folder=folder, keystone=keystone.url, password=PASSWORD)
    glance = RealGlance(find_glance(), folder, options, "versionnegotiation authtoken context rootapp")
    glance.start()
    keystone.add_endpoint("image", f"http://127.0.0.1:{glance.port}", THERE)
    yield glance
    glance.stop()


def ask(glance: RealGlance, token: str, method: str, path: str, body: bytes | None, kind: str) -> Any:
    headers = {"X-Auth-Token": token, "Content-Type": kind}
    request = urllib.request.Request(f"http://127.0.0.1:{glance.port}{path}", body, headers, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
        text = reply.read()
    return json.loads(text) if text else None


def test_from_a_real_glance(keystone: RealKeystone, there: RealGlance, tmp_path: Path) -> None:
    """The data, the formats, and the properties that are wanted."""
    token = keystone.issue("red")
    described = {"disk_format": "raw", "container_format": "bare", "os_distro": "debian", "other": "no"}
    remote = ask(there, token, "POST", "/v2/images", json.dumps(described).encode(), "application/json")
    ask(there, token, "PUT", f"/v2/images/{remote['id']}/file", CONTENT, DATA)
    folder = tmp_path / "here"
    folder.mkdir()
    cloud = Cloud(
        keystone,
        folder,
        f"""
            [DEFAULT]
            enabled_import_methods = [glance-download]
            node_staging_uri = file://{folder}/staging
            [import_filtering_opts]
            allowed_hosts = 127.0.0.1
            allowed_ports = {there.port}
        """,
    )
    try:
        cloud.start()
        image_id = cloud.create(token)
        method = {"name": "glance-download", "glance_region": THERE, "glance_image_id": remote["id"]}
        assert cloud.call("POST", f"/v2/images/{image_id}/import", token, {"method": method})[0] == 202
        deadline = time.monotonic() + PATIENCE
        while (image := cloud.call("GET", f"/v2/images/{image_id}", token)[1])["status"] == "importing":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert image["status"] == "active", cloud.call("GET", f"/v2/images/{image_id}/tasks", token)
        assert (image["os_distro"], "other" in image) == ("debian", False)
        assert cloud.call("GET", f"/v2/images/{image_id}/file", token)[1] == CONTENT
    finally:
        cloud.daemon.stop()
