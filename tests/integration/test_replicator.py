"""``glancetx-replicator`` between a real Glance and ours, both ways, and folders that both fill.

Glance's own replicator speaks an API that no Glance has had for years, so it can be no partner in this.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.test_replicator import run
from tests.running import DATA, JSON, PATIENCE, Daemon
from tests.services.glance import RealGlance, find_venv

CONTENT = os.urandom(3_000_000)
OWN = {"created_at", "updated_at", "owner", "file", "schema", "self", "stores", "locations", "direct_url"}
"""What either service says for itself."""


@pytest.fixture
def glance(tmp_path: Path) -> Iterator[RealGlance]:
    """One where everybody may do everything, as in ours."""
    folder = tmp_path / "theirs"
    (folder / "images").mkdir(parents=True)
    rules = ("add", "get", "modify", "upload", "download", "publicize")
    policy = {"get_images": "", **{f"{rule}_image": "" for rule in rules}}
    (folder / "policy.yaml").write_text(json.dumps(policy))
    options = f"""
[oslo_policy]
policy_file = {folder}/policy.yaml
[glance_store]
filesystem_store_datadir = {folder}/images
"""
    server = RealGlance(find_venv(), folder, options, "versionnegotiation unauthenticated-context rootapp")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Daemon]:
    (tmp_path / "ours").mkdir()
    daemon = Daemon(tmp_path / "ours")
    daemon.start()
    yield daemon
    daemon.stop()


def ask(port: int, method: str, path: str, body: bytes | None = None, kind: str = JSON) -> bytes:
    """What the service at *port* answers, if it is nothing bad."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, f"/v2/images{path}", body, {"Content-Type": kind})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    assert response.status < 300, (response.status, content)
    return content


def made(port: int, data: bytes = CONTENT, **values: Any) -> str:
    document = {"name": "x", "disk_format": "raw", "container_format": "bare", **values}
    image_id = str(json.loads(ask(port, "POST", "", json.dumps(document).encode()))["id"])
    ask(port, "PUT", f"/{image_id}/file", data, DATA)
    return image_id


def told(port: int, image_id: str) -> Any:
    """All that is said of the image, and its bytes."""
    image = json.loads(ask(port, "GET", f"/{image_id}"))
    facts = {name: value for name, value in image.items() if name not in OWN}
    return facts | {"tags": sorted(image["tags"])}, ask(port, "GET", f"/{image_id}/file")


@pytest.mark.parametrize("from_glance", [True, False])
def test_between_both(glance: RealGlance, ours: Daemon, tmp_path: Path, from_glance: bool) -> None:
    """Every command, with one as the source and the other as the target."""
    source, target = (glance.port, ours.port) if from_glance else (ours.port, glance.port)
    here, there, folder = f"127.0.0.1:{source}", f"127.0.0.1:{target}", tmp_path / "dump"
    first = made(source, tags=["a", "b"], os_distro="debian", min_ram=7, protected=True, visibility="public")
    second = made(source, b"small", os_hidden=True)
    assert "2 images" in run("size", here)
    assert run("livecopy", here, there) == "Images: 2 copied.\n"
    for image_id in (first, second):
        assert told(source, image_id) == told(target, image_id)
    third = made(source, CONTENT[::-1], name="later")
    assert run("dump", here, folder) == "Images: 3 copied.\n"
    assert run("load", there, folder) == "Images: 1 copied, 2 there already.\n"
    assert told(source, third) == told(target, third)
    run("compare", there, here)
