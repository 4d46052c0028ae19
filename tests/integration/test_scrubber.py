"""What we leave to the scrubber, Glance's own scrubs, and the other way round."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.test_crash import create, files, upload
from tests.running import Daemon
from tests.services.uwsgi import glance_venv


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    daemon.configure(
        f"""
        [DEFAULT]
        delayed_delete = true
        wakeup_time = 100000
        enabled_backends = here:file
        [glance_store]
        default_backend = here
        [here]
        filesystem_store_datadir = {daemon.images}
        """
    )
    yield daemon
    daemon.stop()


def run(daemon: Daemon, program: Path, *words: str) -> str:
    command = [str(program), "--config-file", str(daemon.folder / "glance-api.conf"), *words]
    environ = {"PATH": os.environ["PATH"], "HOME": str(daemon.folder)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environ, cwd=daemon.folder)
    assert done.returncode == 0, done
    return done.stdout + done.stderr


def test_scrubbed_by_glance(daemon: Daemon) -> None:
    """Glance's scrubber finds our deleted image, removes its data, and marks it as we would."""
    scrubber = glance_venv("glance-scrubber") / "bin/glance-scrubber"
    daemon.start()
    image_id = create(daemon)
    assert upload(daemon, image_id) == 204
    assert daemon.call("DELETE", f"/v2/images/{image_id}")[0] == 204
    assert files(daemon) == [image_id]
    run(daemon, scrubber)
    assert files(daemon) == []
    ours = Path(sys.executable).parent / "glancetx-scrubber"
    assert run(daemon, ours) == "0 images scrubbed\n"


def test_restored_by_glance(daemon: Daemon) -> None:
    """What Glance's command restores is what we list again."""
    scrubber = glance_venv("glance-scrubber") / "bin/glance-scrubber"
    daemon.start()
    image_id = create(daemon)
    assert upload(daemon, image_id) == 204
    assert daemon.call("DELETE", f"/v2/images/{image_id}")[0] == 204
    run(daemon, scrubber, "--restore", image_id)
    listed = json.loads(daemon.call("GET", "/v2/images")[1])["images"]
    assert [(image["id"], image["status"]) for image in listed] == [(image_id, "active")]
