"""A daemon that keeps its images in Ceph, and is killed; what it left is put right after a restart.

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
