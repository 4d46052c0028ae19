"""SIGKILL at every step of a repair: the sound copy stays, and the next process remakes the other."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.functional.test_audit import flip
from tests.functional.test_crash import REPAIR, create, files
from tests.running import DATA, Daemon

CONTENT = os.urandom(400_000)
STEPS = [*REPAIR, "store.unlinked", "store.created", "store.written", "store.linked", "store.published"]
STORES = """
    [DEFAULT]
    enabled_backends = fast:file, cheap:file
    [glance_store]
    default_backend = fast
    [fast]
    filesystem_store_datadir = {folder}/fast
    [cheap]
    filesystem_store_datadir = {folder}/cheap
    [glancetx]
    audit_rate = 1000000000
    audit_period = 0
"""


@pytest.fixture
def twice(daemon: Daemon) -> tuple[Daemon, Path, Path]:
    """A daemon that is down, and the two copies of its image; the auditor has found the first one corrupt."""
    daemon.configure(STORES.format(folder=daemon.folder))
    daemon.start()
    body = json.dumps({"name": "x", "disk_format": "raw", "container_format": "bare"}).encode()
    image_id = json.loads(daemon.call("POST", "/v2/images", body)[1])["id"]
    assert daemon.call("PUT", f"/v2/images/{image_id}/file", CONTENT, Content_Type=DATA)[0] == 204
    daemon.stop()
    first, second = daemon.folder / "fast" / image_id, daemon.folder / "cheap" / image_id
    second.write_bytes(CONTENT)
    run(
        daemon,
        "INSERT INTO image_locations (image_id, value, meta_data, status, created_at, updated_at, deleted) "
        "SELECT image_id, ?, ?, status, created_at, updated_at, deleted FROM image_locations",
        f"file://{second}",
        '{"store": "cheap"}',
    )
    flip(first, 1000)
    daemon.start()
    await_states(daemon, ["corrupt", "sound"])
    daemon.stop()
    return daemon, first, second


def run(daemon: Daemon, statement: str, *values: str) -> list[tuple[str]]:
    with closing(sqlite3.connect(daemon.folder / "db.sqlite", isolation_level=None)) as connection:
        return connection.execute(statement, values).fetchall()


def await_states(daemon: Daemon, expected: list[str]) -> None:
    """Wait until the copies are in these states."""
    deadline = time.monotonic() + 60
    found: list[str] = []
    while time.monotonic() < deadline:
        found = sorted(state for (state,) in run(daemon, "SELECT state FROM glancetx_copies"))
        if found == expected:
            return
        time.sleep(0.05)
    raise AssertionError(f"{found}; the log says: {daemon.log.read_text()[-3000:]}")


@pytest.mark.parametrize("point", STEPS)
def test_killed_in_repair(twice: tuple[Daemon, Path, Path], point: str) -> None:
    """After the restart both copies are what was uploaded, and nothing else is in the stores."""
    daemon, first, second = twice
    daemon.start(GLANCETX_FAILPOINT=point)
    assert daemon.wait() == -signal.SIGKILL
    assert second.read_bytes() == CONTENT
    daemon.start()
    await_states(daemon, ["sound", "sound"])
    assert daemon.call("GET", f"/v2/images/{first.name}/file") == (200, CONTENT)
    daemon.stop()
    assert first.read_bytes() == CONTENT
    assert second.read_bytes() == CONTENT
    assert [path.name for folder in (first.parent, second.parent) for path in folder.iterdir()] == [first.name] * 2
    assert run(daemon, "SELECT id FROM glancetx_claims") == []


def test_killed_in_repair_from_the_cache(daemon: Daemon) -> None:
    """The cached file, which is all there is, stays; and the next process makes the copy from it."""
    daemon.configure(
        f"""
        [DEFAULT]
        image_cache_dir = {daemon.folder}/cache
        worker_self_reference_url = http://here
        [glancetx]
        cache_downloads = true
        cache_interval = 0
        audit_rate = 0
        """
    )
    daemon.start()
    image_id = create(daemon)
    assert daemon.call("PUT", f"/v2/images/{image_id}/file", CONTENT, Content_Type=DATA)[0] == 204
    assert daemon.call("GET", f"/v2/images/{image_id}/file") == (200, CONTENT)
    daemon.stop()
    flip(daemon.images / image_id, 1000)
    run(
        daemon,
        "INSERT INTO glancetx_copies (location_id, image_id, state, audited_at) "
        "SELECT id, image_id, 'corrupt', created_at FROM image_locations",
    )
    daemon.start(GLANCETX_FAILPOINT="repair.removed")
    assert daemon.wait() == -signal.SIGKILL
    daemon.start()
    await_states(daemon, ["sound"])
    assert daemon.call("GET", f"/v2/images/{image_id}/file") == (200, CONTENT)
    daemon.stop()
    assert (daemon.images / image_id).read_bytes() == CONTENT
    assert files(daemon) == [image_id]
    assert run(daemon, "SELECT id FROM glancetx_claims") == []
