"""Delayed delete: data stays until the scrubber comes, and an image may come back until then (P-061..P-065, D-050)."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve

from glancetx.config.settings import FilesystemSettings, ScrubSettings, StoresSettings
from glancetx.db.scrub import PendingDeletes, restore
from glancetx.domain.context import service_context
from glancetx.domain.image import Location
from glancetx.transfer.scrub import Scrubs
from tests.functional.test_crash import CONTENT, SCRUB, create, files, show, upload
from tests.nursery import run_command
from tests.running import Api, Daemon, Started, settings_in

DELAYED = ScrubSettings(delayed_delete=True, scrub_pool_size=4)


async def delete(api: Api, image_id: str) -> None:
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 204


async def statuses(api: Api, table: str = "images") -> set[str]:
    """The statuses of all rows, those of deleted ones too."""

    def read(connection: Any) -> set[str]:
        return set(connection.exec_driver_sql(f"SELECT status FROM {table}").scalars())

    found: set[str] = await api.service._engine.read(read)
    return found


@pytest_twisted.ensureDeferred
async def test_data_stays_until_the_scrubber_comes(start: Started, tmp_path: Path) -> None:
    """The image is gone for clients at once; its data goes with the scrubber, also by an encrypted URL (P-065)."""
    settings = settings_in(tmp_path, scrub=DELAYED)
    api = await start(evolve(settings, database=evolve(settings.database, encryption_key="sixteen or more!")))
    ids = [await api.create() for _ in range(5)]
    for image_id in ids[:4]:
        await api.upload(image_id, b"0123456789")
    for image_id in ids:
        await delete(api, image_id)
        assert (await api.request("GET", f"/v2/images/{image_id}")).status == 404
    assert len(api.stored()) == 4
    assert await statuses(api) == {"pending_delete", "deleted"}
    (api.folder / "images" / ids[0]).unlink()
    assert await api.service.background.scrubber.run_once() == 4
    assert api.stored() == []
    assert await statuses(api) == {"deleted"}
    assert await statuses(api, "image_locations") == {"deleted"}
    assert await api.service.background.scrubber.run_once() == 0


@pytest_twisted.ensureDeferred
async def test_scrub_time(start: Started, tmp_path: Path) -> None:
    """What was deleted more recently is left alone."""
    api = await start(settings_in(tmp_path, scrub=ScrubSettings(delayed_delete=True, scrub_time=3600)))
    image_id = await api.create()
    await api.upload(image_id, b"0123456789")
    await delete(api, image_id)
    assert await api.service.background.scrubber.run_once() == 0
    assert api.stored() == [image_id]


@pytest_twisted.ensureDeferred
async def test_restored_just_before_its_turn(start: Started, tmp_path: Path) -> None:
    """What was restored after the scrubber had looked, and before it came, keeps its data."""
    api = await start(settings_in(tmp_path, scrub=DELAYED))
    image_id = await api.create()
    await api.upload(image_id, b"0123456789")
    await delete(api, image_id)
    engine = api.service._engine
    pending = PendingDeletes(engine)
    (doomed,) = await pending.due(0, 10)
    await engine.interact(restore, image_id)
    service = api.service
    scrubs = Scrubs(pending, service._claims, service._stores, service._process.id)
    assert not await scrubs.scrub(doomed)
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == b"0123456789"
    await delete(api, image_id)
    assert await api.service.background.scrubber.run_once() == 1


@pytest_twisted.ensureDeferred
async def test_what_a_store_refuses_is_tried_again(start: Started, tmp_path: Path) -> None:
    """An image in a store that is not there stays, and does not keep the others."""
    api = await start(settings_in(tmp_path, scrub=DELAYED))
    stuck, other = [await api.create(name=name) for name in ("stuck", "other")]
    for image_id in (stuck, other):
        await api.upload(image_id, b"0123456789")
    moved = "UPDATE image_locations SET value = 'rbd://elsewhere' WHERE image_id = ?"
    await api.service._engine.interact(lambda c: c.exec_driver_sql(moved, (stuck,)) and None)
    for image_id in (stuck, other):
        await delete(api, image_id)
    assert await api.service.background.scrubber.run_once() == 1
    assert api.service.background.scrubber.status()["refused"] == 1
    assert await statuses(api) == {"pending_delete", "deleted"}


@pytest_twisted.ensureDeferred
async def test_a_location_removed_by_patch_waits_too(start: Started, tmp_path: Path) -> None:
    """Its data is read by nobody and removed by the scrubber; the image lives on."""
    stores = StoresSettings(
        filesystems=tuple(FilesystemSettings(identifier=name, datadir=tmp_path / name) for name in ("cheap", "fast")),
        default="cheap",
        multiple=True,
    )
    api = await start(settings_in(tmp_path, scrub=DELAYED, stores=stores))
    image_id = await api.create()
    await api.upload(image_id, b"0123456789")
    (tmp_path / "fast" / image_id).write_bytes(b"0123456789")
    images = api.service.images._images
    image = await images.get(service_context(), image_id)
    second = Location(url=f"file://{tmp_path / 'fast' / image_id}", metadata={"store": "fast"})
    await images.save(evolve(image, locations=(*image.locations, second)), was="active")
    reply = await api.request("DELETE", f"/v2/stores/cheap/{image_id}")
    assert reply.status == 204
    assert (tmp_path / "cheap" / image_id).exists()
    await api.service.background.scrubber.run_once()
    assert not (tmp_path / "cheap" / image_id).exists()
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == b"0123456789"


def command(daemon: Daemon, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    config = daemon.folder / "glance-api.conf"
    return run_command("glancetx-scrubber", "--config-file", config, *words, environ=environ)


def test_restored_by_command(daemon: Daemon) -> None:
    """With its tags and properties; not twice, and not once its data is gone."""
    daemon.configure("[DEFAULT]\ndelayed_delete = true\nwakeup_time = 100000\n")
    daemon.start()
    body = json.dumps(
        {"name": "x", "disk_format": "raw", "container_format": "bare", "tags": ["a"], "of": "b"}
    ).encode()
    image_id = json.loads(daemon.call("POST", "/v2/images", body)[1])["id"]
    assert upload(daemon, image_id) == 204
    before = show(daemon, image_id)
    assert daemon.call("DELETE", f"/v2/images/{image_id}")[0] == 204
    assert show(daemon, image_id) is None
    assert command(daemon, "--restore", image_id).returncode == 0
    after = show(daemon, image_id)
    assert {**after, "updated_at": before["updated_at"]} == before
    assert daemon.call("GET", f"/v2/images/{image_id}/file") == (200, CONTENT)
    refused = command(daemon, "--restore", image_id)
    assert (refused.returncode, "active" in refused.stderr) == (1, True)
    assert command(daemon, "--restore", image_id, "-D").returncode == 1
    assert daemon.call("DELETE", f"/v2/images/{image_id}")[0] == 204
    done = command(daemon)
    assert (done.returncode, done.stdout) == (0, "1 images scrubbed\n"), done
    assert files(daemon) == []
    assert command(daemon, "--restore", image_id).returncode == 1
    assert "No image" in command(daemon, "--restore", "nonsense").stderr


@pytest.mark.parametrize("point", SCRUB)
def test_killed_while_scrubbing(daemon: Daemon, point: str) -> None:
    """The next run goes on, and nothing is left."""
    daemon.configure("[DEFAULT]\ndelayed_delete = true\n")
    daemon.start()
    image_id = create(daemon)
    assert upload(daemon, image_id) == 204
    assert daemon.call("DELETE", f"/v2/images/{image_id}")[0] == 204
    daemon.stop()
    assert command(daemon, GLANCETX_FAILPOINT=point).returncode == -signal.SIGKILL
    done = command(daemon)
    assert (done.returncode, done.stdout) == (0, "1 images scrubbed\n"), done
    assert files(daemon) == []


def test_no_database(tmp_path: Path) -> None:
    """The reason is told, and no traceback."""
    config = tmp_path / "glance-api.conf"
    config.write_text(f"[database]\nconnection = sqlite:///{tmp_path / 'no' / 'where.sqlite'}\n")
    done = run_command("glancetx-scrubber", "--config-file", config)
    assert done.returncode == 1
    assert "unable to open database file" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
