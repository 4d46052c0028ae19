"""What is done to data between the staging area and the stores (P-030..P-032)."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from backports import zstd
from zope.interface import implementer

from glancetx.config.settings import ConversionSettings, ImagesSettings, PluginSettings
from glancetx.domain.limits import Limits
from glancetx.interfaces import ILimits
from glancetx.testing.fakes import until
from tests.disks import made_by_qemu, qcow2
from tests.functional.test_import import DIRECT, ended, nothing_staged, stage, staged, start_import
from tests.needs import program
from tests.running import Api, Started, settings_in

CONTENT = os.urandom(200_000)
DISK = os.urandom(MIB := 1024 * 1024) + bytes(3 * MIB)


def zipped(content: bytes, *names: str) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return buffer.getvalue()


COMPRESSED: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
    "zip": lambda data: zipped(data, "disk"),
}


@pytest.fixture
def plugged(start: Started, tmp_path: Path) -> Callable[..., Any]:
    """Starts a service with these plugins."""

    async def plugged(*names: str, output: str = "raw", **changes: Any) -> Api:
        plugins = {"names": names, "conversion": ConversionSettings(output_format=output)} | changes.pop("plugins", {})
        limits = changes.pop("limits", None)
        settings = evolve(settings_in(tmp_path), plugins=PluginSettings(**plugins), **changes)
        return await (start(settings) if limits is None else start(settings, limits=limits))

    return plugged


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """`DISK` in several formats."""
    folder = tmp_path_factory.mktemp("disks")
    (folder / "raw").write_bytes(DISK)
    for name, kind in {"qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx"}.items():
        qemu_img(folder, "convert", "-f", "raw", "-O", kind, "raw", name)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def qemu_img(folder: Path, *arguments: str) -> None:
    subprocess.run([program("qemu-img"), *arguments], cwd=folder, check=True, timeout=300)


async def imported(api: Api, data: bytes, body: Any = DIRECT, **values: Any) -> tuple[Any, Any]:
    """The image and its task, when the import has ended."""
    image_id = await api.create(**values)
    assert (await stage(api, image_id, data)).status == 204
    assert (await start_import(api, image_id, body)).status == 202
    task = await ended(api, image_id)
    await nothing_staged(api)
    return await api.show(image_id), task


async def data_of(api: Api, image: Any) -> bytes:
    return (await api.request("GET", f"/v2/images/{image['id']}/file")).body


async def fails(api: Api, data: bytes, **values: Any) -> str:
    """Why; the image is queued again, and nothing is kept."""
    image, task = await imported(api, data, **values)
    assert (task["status"], image["status"], image["size"]) == ("failure", "queued", None)
    assert api.stored() == []
    return str(task["message"])


@pytest_twisted.ensureDeferred
async def test_inject(plugged: Callable[..., Any]) -> None:
    """The properties are set, but for those who are exempt."""
    inject = {"inject": {"hw_disk_bus": "scsi"}, "ignore_user_roles": frozenset({"other"})}
    image, _ = await imported(await plugged("inject_image_metadata", plugins=inject), CONTENT, hw_disk_bus="ide")
    assert (image["status"], image["hw_disk_bus"]) == ("active", "scsi")


@pytest_twisted.ensureDeferred
async def test_inject_not_for_administrators(plugged: Callable[..., Any]) -> None:
    """Who is not asked for credentials is one."""
    api = await plugged("inject_image_metadata", plugins={"inject": {"hw_disk_bus": "scsi"}})
    image, _ = await imported(api, CONTENT)
    assert (image["status"], image.get("hw_disk_bus")) == ("active", None)


@pytest_twisted.ensureDeferred
async def test_decompress(plugged: Callable[..., Any]) -> None:
    """What is stored is the content, and all that the image says is of that."""
    api = await plugged("image_decompression")
    for compress in (*COMPRESSED.values(), bytes):
        image, task = await imported(api, compress(CONTENT))
        assert task["status"] == "success", task
        assert (image["size"], image["virtual_size"]) == (len(CONTENT), len(CONTENT))
        assert image["checksum"] == hashlib.md5(CONTENT).hexdigest()
        assert await data_of(api, image) == CONTENT


@pytest_twisted.ensureDeferred
async def test_stays_compressed(plugged: Callable[..., Any]) -> None:
    """An image that is to be compressed is left alone, as in Glance."""
    data = gzip.compress(CONTENT)
    api = await plugged("image_decompression")
    image, _ = await imported(api, data, container_format="compressed")
    assert await data_of(api, image) == data


@pytest_twisted.ensureDeferred
async def test_bombs(plugged: Callable[..., Any]) -> None:
    """What becomes too large is refused, and so is what is broken."""
    api = await plugged("image_decompression", images=ImagesSettings(image_size_cap=100 * MIB))
    assert "too large" in await fails(api, gzip.compress(bytes(101 * MIB)))
    assert "1000 times" in await fails(api, lzma.compress(bytes(90 * MIB)))
    assert "gzip" in await fails(api, gzip.compress(CONTENT)[:-5])
    assert "exactly one" in await fails(api, zipped(CONTENT, "a", "b"))


@pytest_twisted.ensureDeferred
async def test_formats_behind_compression(plugged: Callable[..., Any]) -> None:
    """The content is inspected like any other."""
    api = await plugged("image_decompression")
    assert "backing_file" in await fails(api, gzip.compress(qcow2(backing=512)), disk_format="qcow2")


@pytest.mark.parametrize("output", ["raw", "qcow2", "vmdk"])
@pytest_twisted.ensureDeferred
async def test_convert(plugged: Callable[..., Any], disks: Mapping[str, bytes], tmp_path: Path, output: str) -> None:
    """Every format becomes that one, with the same disk in it."""
    api = await plugged("image_conversion", output=output)
    for name, data in disks.items():
        image, task = await imported(api, data, disk_format=name)
        assert task["status"] == "success", (name, task)
        assert image["disk_format"] == output
        found = await data_of(api, image)
        assert len(found) == image["size"]
        (tmp_path / "found").write_bytes(found)
        qemu_img(tmp_path, "convert", "-f", output, "-O", "raw", "found", "again")
        assert (tmp_path / "again").read_bytes()[: len(DISK)] == DISK
        assert image["virtual_size"] == (tmp_path / "again").stat().st_size
        if name == output:
            assert found == data


@pytest_twisted.ensureDeferred
async def test_not_converted(plugged: Callable[..., Any], tmp_path: Path) -> None:
    """What is not what it says, or points elsewhere, never reaches qemu-img."""
    api = await plugged("image_conversion")
    for sample in made_by_qemu(tmp_path):
        if sample.refused is not None:
            await fails(api, sample.content, disk_format=sample.declared)
    assert "match" in await fails(api, qcow2(), disk_format="raw")
    assert "cannot be converted" in await fails(api, CONTENT, disk_format="ami")
    assert "qemu-img" in await fails(api, qcow2(), disk_format="qcow2")  # a header, and nothing behind


@pytest_twisted.ensureDeferred
async def test_a_disk_that_is_too_large(plugged: Callable[..., Any], tmp_path: Path) -> None:
    """What counts is the disk, not the file that comes."""
    qemu_img(tmp_path, "create", "-q", "-f", "qcow2", "disk", "1T")
    api = await plugged("image_conversion", images=ImagesSettings(image_size_cap=100 * MIB))
    assert "too large" in await fails(api, (tmp_path / "disk").read_bytes(), disk_format="qcow2")


@pytest_twisted.ensureDeferred
async def test_bounds_of_conversion(plugged: Callable[..., Any], disks: Mapping[str, bytes]) -> None:
    """A qemu-img that needs more than it may have is ended, and so is the import."""
    api = await plugged("image_conversion", plugins={"conversion": ConversionSettings(conversion_memory=16 * MIB)})
    assert "qemu-img" in await fails(api, disks["qcow2"], disk_format="qcow2")


@pytest_twisted.ensureDeferred
async def test_in_their_order(plugged: Callable[..., Any], disks: Mapping[str, bytes]) -> None:
    """What was decompressed can be converted, if that comes later."""
    api = await plugged("image_decompression", "image_conversion")
    image, task = await imported(api, zstd.compress(disks["qcow2"]), disk_format="qcow2")
    assert (task["status"], image["disk_format"], await data_of(api, image) == DISK) == ("success", "raw", True)


@pytest_twisted.ensureDeferred
async def test_the_wrong_order(plugged: Callable[..., Any], disks: Mapping[str, bytes]) -> None:
    api = await plugged("image_conversion", "image_decompression")
    assert "match" in await fails(api, gzip.compress(disks["qcow2"]), disk_format="qcow2")


@pytest_twisted.ensureDeferred
async def test_digests_are_of_what_came(plugged: Callable[..., Any]) -> None:
    """Not of what plugins make of it."""
    data = gzip.compress(CONTENT)
    api = await plugged("image_decompression")
    right = DIRECT | {"expected_digests": {"sha256": hashlib.sha256(data).hexdigest()}}
    image, task = await imported(api, data, right)
    assert (image["status"], task["status"]) == ("active", "success")
    wrong = DIRECT | {"expected_digests": {"sha256": hashlib.sha256(CONTENT).hexdigest()}}
    image, task = await imported(api, data, wrong)
    assert (image["status"], "sha256" in task["message"]) == ("queued", True)


@implementer(ILimits)
class FixedLimits:
    async def limits_of(self, project_id: str | None) -> Limits:
        return Limits(size_total=3 * MIB)


@pytest_twisted.ensureDeferred
async def test_quota(plugged: Callable[..., Any]) -> None:
    """What a project may have counts for what comes of the data."""
    api = await plugged("image_decompression", limits=FixedLimits())
    assert (await imported(api, gzip.compress(bytes(2 * MIB))))[1]["status"] == "success"
    image, task = await imported(api, gzip.compress(bytes(2 * MIB)))
    assert (task["status"], image["status"]) == ("failure", "queued")


@pytest_twisted.ensureDeferred
async def test_deleted_meanwhile(plugged: Callable[..., Any]) -> None:
    """Deleting the image ends the work on it, and nothing stays."""
    from twisted.internet import reactor

    api = await plugged("image_decompression", plugins={"decompression_ratio": 10**9})
    image_id = await api.create()
    await stage(api, image_id, zstd.compress(bytes(2048 * MIB), 1))
    assert (await start_import(api, image_id)).status == 202
    await until(reactor, lambda: any(name.startswith(".") for name in staged(api)))
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 204
    await nothing_staged(api)
    assert api.stored() == []
