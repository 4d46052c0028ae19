"""SIGKILL between and within plugins; after a restart the import ends well, and no file is left."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.functional.test_import_crash import create, files, last_task, nothing_staged, show
from tests.needs import program
from tests.running import DATA, Daemon

DISK = os.urandom(1024 * 1024)
POINTS = [
    "import.step.inject",
    "plugin.written",
    "plugin.renamed",
    "import.step.convert",
]


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("disk")
    (folder / "raw").write_bytes(DISK)
    command = [program("qemu-img"), "convert", "-f", "raw", "-O", "qcow2", "raw", "qcow2"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    return gzip.compress((folder / "qcow2").read_bytes(), 1)


@pytest.mark.parametrize("point", POINTS)
def test_killed(daemon: Daemon, compressed: bytes, point: str) -> None:
    """Whatever was done is done again, or not, and what is stored is right."""
    daemon.configure(f"""
        [DEFAULT]
        node_staging_uri = file://{daemon.folder}/staging
        [image_import_opts]
        image_import_plugins = [inject_image_metadata,image_decompression,image_conversion]
        [inject_metadata_properties]
        inject = hw_disk_bus:scsi
        ignore_user_roles = nobody
    """)
    daemon.start(GLANCETX_FAILPOINT=point)
    image_id = create(daemon, "qcow2")
    assert daemon.call("PUT", f"/v2/images/{image_id}/stage", compressed, Content_Type=DATA)[0] == 204
    assert daemon.call("POST", f"/v2/images/{image_id}/import", b'{"method": {"name": "glance-direct"}}')[0] == 202
    assert daemon.wait() == -signal.SIGKILL
    daemon.start()
    assert last_task(daemon, image_id)["status"] == "success"
    image = show(daemon, image_id)
    assert (image["status"], image["disk_format"], image["size"]) == ("active", "raw", len(DISK))
    assert image["hw_disk_bus"] == "scsi"
    assert Path(daemon.images, image_id).read_bytes() == DISK
    nothing_staged(daemon)
    assert files(daemon, "images") == [image_id]
