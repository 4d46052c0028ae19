"""A file store on a disk that is really full: a small one in memory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted

from glancetx.config.settings import FilesystemSettings, StoresSettings
from glancetx.config.store_settings import MIB
from tests.needs import program, unable
from tests.running import Started, settings_in


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB, where we have the right to make one: no package gives that, so it may be absent in CI, too."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = [program("mount"), "-t", "tmpfs", "-o", "size=4m", "glancetx", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        unable(f"the right to mount ({done.stderr.strip()})")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("thin", [False, True])
@pytest_twisted.ensureDeferred
async def test_full_disk(start: Started, tmp_path: Path, disk: Path, thin: bool) -> None:
    """413, nothing is left, and the same image takes what has room."""
    store = FilesystemSettings(datadir=disk, thin=thin)
    api = await start(settings_in(tmp_path, stores=StoresSettings(filesystems=(store,))))
    content = os.urandom(5 * MIB)
    image_id = await api.create()
    assert (await api.upload(image_id, content)).status == 413
    assert os.listdir(disk) == []
    assert (await api.show(image_id))["status"] == "queued"
    assert (await api.upload(image_id, content[: 3 * MIB])).status == 204
    second = await api.create()
    assert (await api.upload(second, bytes(2 * MIB))).status == (204 if thin else 413)
