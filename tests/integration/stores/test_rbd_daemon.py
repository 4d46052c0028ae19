"""A daemon that keeps its images in Ceph; when it is killed, what it left is put right after a restart.

``GLANCETX_EVERY_POINT=1`` tries every step, else a few are.
"""

from __future__ import annotations

import json
import os
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.test_crash import create, expect_death, show, upload
from tests.running import DATA, Daemon
from tests.services.ceph import USER, Ceph

EVERY = os.environ.get("GLANCETX_EVERY_POINT") == "1"
UPLOAD = ["store.linked"]
MORE = ["store.created", "store.written", "store.synced", "store.published", "upload.stored", "recovery.discarded"]
CONTENT = os.urandom(400_000)


@pytest.fixture
def daemon(tmp_path: Path, ceph: Ceph) -> Iterator[Daemon]:
    """Not started; its images are in Ceph."""
    daemon = Daemon(tmp_path)
    config = f"""
        [database]
        connection = sqlite:///{tmp_path}/db.sqlite
        [glance_store]
        stores = rbd
        default_store = rbd
        rbd_store_ceph_conf = {ceph.config}
        rbd_store_user = {USER}
        rados_connect_timeout = 30
    """
    (tmp_path / "glance-api.conf").write_text(textwrap.dedent(config))
    ceph.clear()
    yield daemon
    daemon.stop()
    ceph.clear()


def becomes(true: Callable[[], bool]) -> None:
    """Wait until it is *true*: Ceph believes for some seconds that a killed client is there."""
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize("point", [*UPLOAD, *MORE] if EVERY else UPLOAD)
def test_killed_in_upload(daemon: Daemon, ceph: Ceph, point: str) -> None:
    """The image is queued again, nothing is left in Ceph, and it takes its data now."""
    first = "store.linked" if point.startswith("recovery") else point
    daemon.start(GLANCETX_FAILPOINT=first)
    image_id = create(daemon)
    with pytest.raises(OSError):
        daemon.call("PUT", f"/v2/images/{image_id}/file", CONTENT, Content_Type=DATA)
    expect_death(daemon)
    if point != first:
        daemon.start(GLANCETX_FAILPOINT=point)
        expect_death(daemon)
    daemon.start()
    becomes(lambda: show(daemon, image_id)["status"] == "queued")
    assert ceph.objects() == []
    assert upload(daemon, image_id) == 204
    assert show(daemon, image_id)["status"] == "active"


def test_killed_in_delete(daemon: Daemon, ceph: Ceph) -> None:
    """A delete that had begun is finished."""
    daemon.start(GLANCETX_FAILPOINT="store.unlinked")
    image_id = create(daemon)
    assert upload(daemon, image_id) == 204
    found = json.loads(daemon.call("GET", f"/v2/images/{image_id}")[1])
    assert found["status"] == "active"
    with pytest.raises(OSError):
        daemon.call("DELETE", f"/v2/images/{image_id}")
    expect_death(daemon)
    daemon.start()
    becomes(lambda: show(daemon, image_id) is None)
    assert ceph.objects() == []


def test_documented_store(daemon: Daemon, ceph: Ceph) -> None:
    """The store that docs/stores.md shows keeps images beside another one; administrators see which cluster it is."""
    text = (Path(__file__).parents[3] / "docs" / "stores.md").read_text().partition("## Ceph RBD")[2]
    shown = text.partition("```ini\n")[2].partition("```")[0].replace("/etc/ceph/ceph.conf", str(ceph.config))
    config = daemon.folder / "glance-api.conf"
    config.write_text(
        f"[DEFAULT]\nenabled_backends = block:rbd, files:file\n[database]\nconnection = sqlite:///{daemon.folder}/db.sqlite\n"
        f"[glance_store]\ndefault_backend = block\n[files]\nfilesystem_store_datadir = {daemon.images}\n{shown}"
    )
    daemon.start()
    image_id = create(daemon)
    path = f"/v2/images/{image_id}/file"
    assert daemon.call("PUT", path, CONTENT, Content_Type=DATA)[0] == 204
    assert daemon.call("GET", path) == (200, CONTENT)
    assert daemon.call("GET", path, Range="bytes=9-300000") == (206, CONTENT[9:300_001])
    details = json.loads(daemon.call("GET", "/v2/info/stores/detail")[1])["stores"][0]
    assert details["type"] == "rbd"
    assert details["properties"] == {
        "chunk_size": 8 * 1024 * 1024,
        "pool": "images",
        "thin_provisioning": False,
        "fsid": ceph.fsid,
    }
    with ceph.pool() as pool:
        ceph.rbd.RBD().clone(pool, image_id, "snap", pool, "child", features=1)
        assert daemon.call("DELETE", f"/v2/images/{image_id}")[0] == 409
        ceph.rbd.RBD().remove(pool, "child")
    assert daemon.call("DELETE", f"/v2/images/{image_id}")[0] == 204
    assert ceph.objects() == []
