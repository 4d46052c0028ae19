"""Files of many formats, put into a real Glance: it takes and refuses the same ones as we do."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import Sample, made_by_hand, made_by_qemu
from tests.running import DATA, JSON
from tests.services.glance import RealGlance, find_venv

CALLER = {
    "X-Identity-Status": "Confirmed",
    "X-User-Id": "somebody",
    "X-Project-Id": "project",
    "X-Roles": "admin,member,reader",
    "Accept": JSON,
}
OURS = {"vmdk-parent", "vmdk-parent-as-raw", "vmdk-hidden-parent"}
"""What only we refuse, see docs/differences.md."""


@pytest.fixture(scope="module")
def glance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealGlance]:
    folder = tmp_path_factory.mktemp("glance")
    options = f"[glance_store]\nfilesystem_store_datadir = {folder}/images\n"
    (folder / "images").mkdir()
    server = RealGlance(find_venv(), folder, options)
    server.start()
    yield server
    server.stop()


def upload(glance: RealGlance, sample: Sample) -> int:
    """The status of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", glance.port, timeout=60)
    values = {"name": sample.name, "disk_format": sample.declared, "container_format": "bare"}
    connection.request("POST", "/v2/images", json.dumps(values).encode(), CALLER | {"Content-Type": JSON})
    image_id = json.loads(connection.getresponse().read())["id"]
    connection.close()
    connection.request("PUT", f"/v2/images/{image_id}/file", sample.content, CALLER | {"Content-Type": DATA})
    status = connection.getresponse().status
    connection.close()
    return status


def test_it_agrees(glance: RealGlance, tmp_path: Path) -> None:
    """What `tests.functional.test_formats` says of each file is what Glance says of it."""
    samples = [*made_by_hand(), *made_by_qemu(tmp_path)]
    answers = {sample.name: upload(glance, sample) for sample in samples}
    expected = {sample.name: 204 if sample.refused is None or ours(sample) else 415 for sample in samples}
    assert answers == expected


def ours(sample: Sample) -> bool:
    return sample.name.removeprefix("made-") in OURS
