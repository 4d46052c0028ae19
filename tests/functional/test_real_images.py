"""Real images go in by ``openstack image create`` and come back by several clients, bit for bit, plain and over TLS."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from attrs import frozen
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.cloud import Client, Cloud
from tests.needs import lacking, program

MIB = 1024 * 1024
KINDS = ("grub", "ipxe", "raw", "qcow2", "vmdk", "vhdx", "random")
QEMU_OPTIONS = {"vmdk": ["-o", "subformat=streamOptimized"]}
PACKAGED = {
    "grub": ("grub-rescue-pc", ("/usr/lib/grub-rescue/grub-rescue-cdrom.iso",)),
    "ipxe": ("ipxe", ("/usr/lib/ipxe/ipxe.iso", "/boot/ipxe.iso")),
}


@frozen
class Source:
    """An image file as somebody has it. *disk*: a file of the disk in it; *virtual*: that disk's bytes."""

    path: Path
    format: str
    size: int
    sha512: str
    disk: Path
    virtual: int


@frozen
class Uploaded:
    """A source as an image of the cloud, and the client that brought it there. *facts*: what the client was told."""

    source: Source
    client: Client
    id: str
    facts: dict[str, object]

    @property
    def url(self) -> str:
        return f"{self.client.url}/v2/images/{self.id}/file"


def digest_of(path: Path) -> str:
    """The sha512 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def same(found: IO[bytes], file: IO[bytes]) -> bool:
    """Whether all that is left to read of one is the beginning of the other, which takes less time than digests."""
    while chunk := found.read(MIB):
        if chunk != file.read(len(chunk)):
            return False
    return True


def equal(found: Path, path: Path) -> bool:
    """Whether two files hold the same bytes."""
    with found.open("rb") as one, path.open("rb") as other:
        return same(one, other) and not other.read(1)


class Shelf:
    """Makes each source when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, Source] = {}

    def source(self, kind: str) -> Source:
        if kind not in self._found:
            self._found[kind] = self._make(kind)
        return self._found[kind]

    def _make(self, kind: str) -> Source:
        if kind in PACKAGED:
            package, paths = PACKAGED[kind]
            path = next((Path(each) for each in paths if Path(each).exists()), None)
            return plain(path or lacking(f"the Debian package {package}"), "iso")
        path = self._folder / f"{kind}.img"
        if kind == "random":
            write_random(path, 1024 * MIB)
            return plain(path, "raw")
        if kind == "raw":
            write_disk(path)
            return plain(path, "raw")
        disk = self.source("raw")
        convert = [program("qemu-img"), "convert", "-f", "raw", "-O", kind, *QEMU_OPTIONS.get(kind, [])]
        subprocess.run([*convert, disk.path, path], check=True, timeout=300)
        return Source(path, kind, path.stat().st_size, digest_of(path), disk.path, disk.size)


def plain(path: Path, format: str) -> Source:
    """A file that is the disk itself."""
    size = path.stat().st_size
    return Source(path, format, size, digest_of(path), path, size)


def write_random(path: Path, size: int) -> None:
    """A cipher's key stream, which comes ten times as fast as what the kernel calls random."""
    stream = Cipher(algorithms.AES(os.urandom(16)), modes.CTR(bytes(16))).encryptor()
    with path.open("wb") as file:
        for _ in range(size // (16 * MIB)):
            file.write(stream.update(bytes(16 * MIB)))


def write_disk(path: Path) -> None:
    """A disk with data at both ends and nothing between, like many."""
    with path.open("wb") as file:
        file.write(b"\x00" * 1024 + os.urandom(3 * MIB))
        file.seek(57 * MIB)
        file.write(os.urandom(7 * MIB))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module", params=KINDS)
def source(request: pytest.FixtureRequest, shelf: Shelf) -> Source:
    return shelf.source(request.param)


@pytest.fixture(scope="module", params=["https", "http"])
def uploaded(request: pytest.FixtureRequest, source: Source, cloud: Cloud) -> Iterator[Uploaded]:
    """The image, there for the tests of this kind and scheme only."""
    client = cloud.client(scheme=request.param)
    create = ("create", "--file", source.path, "--disk-format", source.format, "real")
    facts = client.ask(*create)
    yield Uploaded(source, client, facts["id"], facts)
    client.openstack("delete", facts["id"])
    assert cloud.stored() == []


@pytest.fixture(scope="session")
def qemu() -> str:
    """A qemu-img whose http driver works: it is a module, which may not be installed."""
    qemu = program("qemu-img")
    probe = [qemu, "info", json.dumps({"driver": "http", "url": "http://127.0.0.1:1/"}).join(["json:", ""])]
    said = subprocess.run(probe, capture_output=True, text=True, timeout=300).stderr
    return qemu if "CURL" in said else lacking("qemu-img's http driver (Debian's qemu-block-extra)")


def test_it_goes_in(uploaded: Uploaded, cloud: Cloud) -> None:
    """The client is told the true hashes and sizes, and the store holds that one file with the same bytes."""
    source, facts = uploaded.source, uploaded.facts
    assert (facts["status"], facts["size"], facts["disk_format"]) == ("active", source.size, source.format)
    assert facts["properties"]["os_hash_value"] == source.sha512  # type: ignore[index]
    if source.format != "iso":  # where the size is that of the file system in it
        assert facts["virtual_size"] == source.virtual
    assert cloud.stored() == [uploaded.id]
    assert equal(cloud.daemon.images / uploaded.id, source.path)


def test_openstack_saves_it(uploaded: Uploaded, tmp_path: Path) -> None:
    """``openstack image save`` checks the hash itself; we look at each byte."""
    copy = tmp_path / "copy.img"
    pieces = () if uploaded.source.size < 100 * MIB else ("--chunk-size", MIB)  # else it writes kilobyte by kilobyte
    uploaded.client.openstack("save", *pieces, "--file", copy, uploaded.id)
    assert equal(copy, uploaded.source.path)
    copy.unlink()


def test_curl_fetches_it_in_pieces(uploaded: Uploaded, tmp_path: Path) -> None:
    """Ranges of uneven sizes, the last one open, make the whole; curl verifies the certificate."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {uploaded.client.user} password {uploaded.client.password}\n")
    size = uploaded.source.size
    cuts = [0, 1, 512, size // 3, size // 2 + 7, size - 1]
    command = [program("curl"), "-sS", "--fail", "--netrc-file", str(netrc), "--cacert", str(uploaded.client.ca)]
    command += ["--write-out", "%{stderr}%{http_code} %header{content-range}"]
    for first, after in zip(cuts, [*cuts[1:], None], strict=True):
        wanted = f"{first}-{'' if after is None else after - 1}"
        with (
            uploaded.source.path.open("rb") as file,
            subprocess.Popen(
                [*command, "--range", wanted, uploaded.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as curl,
        ):
            assert curl.stdout is not None
            assert curl.stderr is not None
            file.seek(first)
            assert same(curl.stdout, file)
            assert file.tell() == (after or size)
            assert curl.stderr.read().decode() == f"206 bytes {first}-{(after or size) - 1}/{size}"


def test_qemu_reads_it(uploaded: Uploaded, qemu: str, tmp_path: Path) -> None:
    """``qemu-img convert`` from the URL: the file as it is, and the disk in it, read where it lies in many ranges."""
    source = uploaded.source
    wanted = {"raw": source.path} | ({} if source.format == "iso" else {source.format: source.disk})
    (tmp_path / "password").write_text(uploaded.client.password)
    for opened_as, expected in wanted.items():
        copy = tmp_path / f"{opened_as}.copy"
        # One request at a time (-m 1): with several, qemu's driver now and then waits for ever, whatever the server is.
        command = [qemu, "convert", "-m", "1", "--object", f"secret,id=password,file={tmp_path}/password"]
        subprocess.run([*command, "-O", "raw", qemu_address(uploaded, opened_as), copy], check=True, timeout=300)
        assert equal(copy, expected)
        copy.unlink()


def qemu_address(uploaded: Uploaded, opened_as: str) -> str:
    """The image as qemu's https driver reads it; the password is in a secret object."""
    scheme = uploaded.client.url.partition(":")[0]
    file = {
        "driver": scheme,
        "url": uploaded.url,
        "username": uploaded.client.user,
        "password-secret": "password",
        "readahead": 4 * MIB,
        "timeout": 60,
    }
    if scheme == "https":
        file["sslverify"] = "off"  # this qemu has no option to name an authority
    return "json:" + json.dumps({"driver": opened_as, "file": file})


def test_nothing_went_wrong(cloud: Cloud) -> None:
    """After all of it the log has no error."""
    assert re.findall(r"Traceback|#error|#critical", cloud.daemon.log.read_text()) == []
