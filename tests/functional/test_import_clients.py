"""Imports by the real clients: ``glance`` and ``openstack``, with passwords and tokens, over TLS."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.cloud import ADMIN, ALICE, Client, Cloud
from tests.running import PATIENCE
from tests.services.source import Source, serving

CONTENT = os.urandom(301_500)
FORMATS = ("--disk-format", "raw", "--container-format", "bare")


@frozen
class Setup:
    """A service that may fetch from *source*, and the client of a member."""

    cloud: Cloud
    source: Source
    alice: Client

    def only(self, name: str) -> Any:
        """The one image of that name, when it is active."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            (image,) = self.alice.ask("list", "--long", "--name", name)
            if image["Status"] == "active":
                assert image["Checksum"] == hashlib.md5(CONTENT).hexdigest()
                return image["ID"]
        raise AssertionError(image)


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    (cloud.folder / "in.raw").write_bytes(CONTENT)
    with serving(CONTENT) as source:
        cloud.daemon.configure(f"""
            [DEFAULT]
            enabled_backends = fast:file, cheap:file
            [glance_store]
            default_backend = fast
            [fast]
            filesystem_store_datadir = {cloud.folder}/fast
            [cheap]
            filesystem_store_datadir = {cloud.folder}/cheap
            [os_glance_staging_store]
            filesystem_store_datadir = {cloud.folder}/staging
            [import_filtering_opts]
            allowed_hosts = 127.0.0.1
            allowed_ports = {source.port}
        """)
        cloud.start()
        yield Setup(cloud, source, cloud.client(ALICE))
        cloud.stop()


def stored(setup: Setup, image_id: str) -> list[str]:
    return [name for name in ("fast", "cheap") if Path(setup.cloud.folder, name, image_id).exists()]


def test_glance_create_via_import(setup: Setup) -> None:
    """With data of the client's own, and with data from a web server."""
    setup.alice.glance("image-create-via-import", "--name", "direct", "--file", "in.raw", *FORMATS)
    assert stored(setup, setup.only("direct")) == ["fast"]
    web = ("--import-method", "web-download", "--uri", f"{setup.source.url}/x", "--all-stores", "True")
    setup.alice.glance("image-create-via-import", "--name", "web", *web, *FORMATS)
    assert stored(setup, setup.only("web")) == ["fast", "cheap"]


def test_glance_stage_import_copy(setup: Setup) -> None:
    """One after the other; the copy is an administrator's."""
    setup.alice.glance("image-create", "--name", "staged", *FORMATS)
    (image,) = setup.alice.ask("list", "--name", "staged")
    setup.alice.glance("image-stage", "--file", "in.raw", image["ID"])
    setup.alice.glance("image-import", image["ID"], "--import-method", "glance-direct", "--stores", "cheap")
    assert stored(setup, setup.only("staged")) == ["cheap"]
    copy = ("image-import", image["ID"], "--import-method", "copy-image", "--stores", "fast")
    assert "403" in setup.alice.refused("glance", *copy)
    setup.cloud.client(ADMIN).glance(*copy)
    deadline = time.monotonic() + PATIENCE
    while stored(setup, image["ID"]) != ["fast", "cheap"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_openstack(setup: Setup) -> None:
    """The unified client, and that it shows the methods."""
    staged = setup.alice.ask("create", "unified", *FORMATS)["id"]
    setup.alice.openstack("stage", "--file", "in.raw", staged)
    setup.alice.openstack("import", "--method", "glance-direct", staged)
    fetched = setup.alice.ask("create", "fetched", *FORMATS)["id"]
    setup.alice.openstack("import", "--method", "web-download", "--uri", f"{setup.source.url}/y", fetched)
    assert [setup.only("unified"), setup.only("fetched")] == [staged, fetched]
    assert "web-download" in str(setup.alice.ask("import", "info"))


def test_nothing_went_wrong(setup: Setup) -> None:
    assert "Traceback" not in setup.cloud.daemon.log.read_text()
