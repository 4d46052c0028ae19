"""SIGKILL at every step of filling and emptying the image cache; whoever comes next finds nothing wrong."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.running import DATA, Daemon

CONTENT = os.urandom(300_000)
FILLING = ["cache.created", "cache.filled", "cache.synced", "cache.published", "cache.indexed"]
REMOVING = ["cache.unlinked"]


@pytest.fixture
def caching(daemon: Daemon) -> Daemon:
    """A daemon with a cache, not started yet."""
    daemon.configure(
        f"""
        [DEFAULT]
        image_cache_dir = {daemon.folder}/cache
        worker_self_reference_url = http://here
        [glancetx]
        cache_downloads = true
        cache_interval = 0
        """
    )
    return daemon


def image_with(daemon: Daemon) -> str:
    body = json.dumps({"name": "x", "disk_format": "raw", "container_format": "bare"}).encode()
    image_id = str(json.loads(daemon.call("POST", "/v2/images", body)[1])["id"])
    assert daemon.call("PUT", f"/v2/images/{image_id}/file", CONTENT, Content_Type=DATA)[0] == 204
    return image_id


def download(daemon: Daemon, image_id: str) -> tuple[int, bytes]:
    return daemon.call("GET", f"/v2/images/{image_id}/file")


def wait_for(path: Path) -> None:
    latest = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < latest
        time.sleep(0.01)


def fill(daemon: Daemon, image_id: str) -> None:
    """Have it cached; the daemon may die of that."""
    try:
        download(daemon, image_id)
    except OSError:
        return


@pytest.mark.parametrize("point", FILLING)
def test_killed_in_fill(caching: Daemon, point: str) -> None:
    """What was not whole is never served and does not keep the image from being cached; what was whole is served."""
    caching.start(GLANCETX_FAILPOINT=point)
    image_id = image_with(caching)
    fill(caching, image_id)
    assert caching.wait() == -signal.SIGKILL
    file = caching.folder / "cache" / image_id
    assert file.exists() == (point in FILLING[3:])
    caching.start()
    assert download(caching, image_id) == (200, CONTENT)
    wait_for(file)
    (caching.images / image_id).unlink()  # from now on the cache alone has it
    assert download(caching, image_id) == (200, CONTENT)
    assert list((caching.folder / "cache" / "incomplete").iterdir()) == []


@pytest.mark.parametrize("point", REMOVING)
def test_killed_in_delete(caching: Daemon, point: str) -> None:
    """The image is gone, and so is its file."""
    caching.start(GLANCETX_FAILPOINT=point)
    image_id = image_with(caching)
    fill(caching, image_id)
    wait_for(caching.folder / "cache" / image_id)
    with pytest.raises(OSError):
        caching.call("DELETE", f"/v2/images/{image_id}")
    assert caching.wait() == -signal.SIGKILL
    caching.start()
    assert caching.call("GET", f"/v2/images/{image_id}")[0] == 404
    assert not (caching.folder / "cache" / image_id).exists()
