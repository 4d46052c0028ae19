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
REMOVING = ["cache.unlinked", "cache.pruned"]


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


def check(daemon: Daemon, image_id: str) -> None:
    """What was not whole is never served and does not keep the image from being cached; what was whole is served."""
    assert download(daemon, image_id) == (200, CONTENT)
    file = daemon.folder / "cache" / image_id
    wait_for(file)
    data = daemon.images / image_id
    data.rename(data.with_suffix(".away"))  # now the cache alone has it
    assert download(daemon, image_id) == (200, CONTENT)
    data.with_suffix(".away").rename(data)


def test_killed_in_fill(caching: Daemon) -> None:
    """At every step; the next process finds what all of them have left."""
    ids = []
    for point in FILLING:
        caching.start(GLANCETX_FAILPOINT=point)
        ids.append(image_with(caching))
        fill(caching, ids[-1])
        assert caching.wait() == -signal.SIGKILL
        assert (caching.folder / "cache" / ids[-1]).exists() == (point in FILLING[3:])
    caching.start()
    for image_id in ids:
        check(caching, image_id)
    assert list((caching.folder / "cache" / "incomplete").iterdir()) == []


def test_killed_in_removal(caching: Daemon) -> None:
    """A deleted image is gone, and so is its file; a prune that was begun is ended by the next one."""
    caching.configure("[DEFAULT]\nimage_cache_max_size = 0\n")
    caching.start(GLANCETX_FAILPOINT="cache.unlinked")
    ids = [image_with(caching) for _ in range(3)]
    for image_id in ids:
        fill(caching, image_id)
        wait_for(caching.folder / "cache" / image_id)
    with pytest.raises(OSError):
        caching.call("DELETE", f"/v2/images/{ids[0]}")
    assert caching.wait() == -signal.SIGKILL
    caching.start(GLANCETX_FAILPOINT="cache.pruned")
    assert caching.call("GET", f"/v2/images/{ids[0]}")[0] == 404
    assert not (caching.folder / "cache" / ids[0]).exists()
    with pytest.raises(OSError):
        caching.call("POST", "/v2/cache/prune")
    assert caching.wait() == -signal.SIGKILL
    caching.start()
    pruned = json.loads(caching.call("POST", "/v2/cache/prune")[1])
    assert pruned == {"total_files_pruned": 1, "total_bytes_pruned": len(CONTENT)}
    assert caching.call("POST", "/v2/cache/clean")[0] == 200
    assert json.loads(caching.call("GET", "/v2/cache")[1])["cached_images"] == []
