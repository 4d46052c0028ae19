"""SIGKILL at every step of a search for strays, and of their removal: the next process goes on."""

from __future__ import annotations

import signal
import time
import uuid

from tests.functional.test_crash import create, upload
from tests.functional.test_crash_repair import run
from tests.functional.test_strays_command import listed, manage
from tests.running import Daemon

SEARCH = ["survey.looked", "survey.noted"]
REMOVAL = ["stray.claimed", "store.unlinked", "stray.removed"]


def test_killed_again_and_again(daemon: Daemon) -> None:
    """What was noted stays noted, once. Whoever is killed while he removes one keeps nobody from removing the others.

    In the end, when the reaper has come, all is gone that was nobody's, and nothing else is.
    """
    daemon.configure("[glancetx]\nstray_grace = 0\nstray_period = 0\n")
    daemon.start()
    image_id = create(daemon)
    assert upload(daemon, image_id) == 204
    lost = sorted(str(uuid.uuid4()) for _ in range(3))
    for name in lost:
        (daemon.images / name).write_bytes(b"0123456789")
    for point, noted in zip(SEARCH, ([], lost), strict=True):
        assert manage(daemon.folder, "run", "surveyor", GLANCETX_FAILPOINT=point)[0] == -signal.SIGKILL
        assert sorted(listed(daemon.folder)) == noted
    for point, left in zip(REMOVAL, (4, 3, 2), strict=True):
        killed = manage(daemon.folder, "strays", "delete", "--all", "--yes", GLANCETX_FAILPOINT=point)
        assert killed[0] == -signal.SIGKILL
        assert len(list(daemon.images.iterdir())) == left
    await_no_claims(daemon)
    assert manage(daemon.folder, "strays", "delete", "--all", "--yes")[0] == 0
    assert [path.name for path in daemon.images.iterdir()] == [image_id]
    assert listed(daemon.folder) == {}


def await_no_claims(daemon: Daemon) -> None:
    """Wait until the reaper has come."""
    latest = time.monotonic() + 60
    while run(daemon, "SELECT id FROM glancetx_claims"):
        assert time.monotonic() < latest
        time.sleep(0.1)
