"""Small disk images of every kind: made by hand, or by qemu-img; harmless ones, and those that nobody should open."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from tests.needs import program

DISK = 10 * 1024 * 1024
NOISE = os.urandom(300_000)
BLANK = bytes(64 * 1024)


def qcow2(*, version: int = 3, backing: int = 0, features: int = 0, size: int = DISK) -> bytes:
    """The beginning of a qcow2 image."""
    header = struct.pack(">4sIQIIQ", b"QFI\xfb", version, backing, 0, 16, size)
    return header.ljust(72, b"\0") + struct.pack(">Q", features) + BLANK


def vmdk(kind: str = "monolithicSparse", extent: str = "disk.vmdk") -> bytes:
    """A sparse VMDK with its descriptor."""
    text = f'# Disk DescriptorFile\nversion=1\ncreateType="{kind}"\nRW 20480 SPARSE "{extent}"\n'
    header = struct.pack("<4sIIQQQQIQQ", b"KDMV", 1, 3, DISK // 512, 128, 1, 20, 512, 21, 26)
    return header.ljust(512, b"\0") + text.encode().ljust(20 * 512, b"\0") + BLANK


def vdi() -> bytes:
    """A VirtualBox disk."""
    content = bytearray(BLANK)
    content[0x40:0x44] = struct.pack("<I", 0xBEDA107F)
    content[0x170:0x178] = struct.pack("<Q", DISK)
    return bytes(content)


def vhd() -> bytes:
    """A dynamic VHD: its footer comes first as well."""
    return b"conectix".ljust(40, b"\0") + struct.pack(">Q", DISK) + BLANK


def vhdx() -> bytes:
    """A VHDX with a region table, a metadata table and the size."""
    content = bytearray(2 * 1024 * 1024)
    content[:8] = b"vhdxfile"
    meta = struct.pack("<IHH", 0x8B7CA206, 0x4790, 0x4B9A) + bytes.fromhex("B8FE575F050F886E")
    size = struct.pack("<IHH", 0x2FA54224, 0xCD1B, 0x4876) + bytes.fromhex("B2115DBED83BF4B8")
    content[0x30000:0x30030] = struct.pack("<IIII", 0x69676572, 0, 1, 0) + meta + struct.pack("<QII", 1 << 20, 1, 1)
    content[1 << 20 : (1 << 20) + 12] = struct.pack("<8sHH", b"metadata", 0, 1)
    content[(1 << 20) + 32 : (1 << 20) + 60] = size + struct.pack("<III", 65536, 8, 0)
    content[(1 << 20) + 65536 : (1 << 20) + 65544] = struct.pack("<Q", DISK)
    return bytes(content)


def luks(version: int = 1) -> bytes:
    """An encrypted disk: a header, and noise."""
    header = struct.pack(">6sH32s32s32sII", b"LUKS\xba\xbe", version, b"aes", b"xts-plain64", b"sha256", 8, 64)
    return header.ljust(4096, b"\0") + NOISE


def boot_sector(*partitions: tuple[int, int]) -> bytes:
    """512 bytes with partitions of (boot flag, type)."""
    entries = [struct.pack("<B3BB3BII", boot, 0, 2, 0, kind, 0, 0, 0, 1, 9) for boot, kind in partitions]
    return bytes(446) + b"".join(entries).ljust(64, b"\0") + b"\x55\xaa"


def iso(first: bytes = b"") -> bytes:
    """A CD image of 100 blocks, perhaps with a boot sector."""
    header = bytearray(2048)
    header[:6] = b"\x01CD001"
    header[80:84] = struct.pack("<L", 100)
    header[128:130] = struct.pack("<H", 2048)
    return first.ljust(32768, b"\0") + bytes(header) + NOISE


GPT = boot_sector((0, 0xEE))


@frozen
class Sample:
    """A file that is said to be of the disk format *declared*; *refused* tells why it is none, if so."""

    name: str
    declared: str
    content: bytes
    refused: str | None = None


def made_by_hand() -> list[Sample]:
    """What qemu-img does not make: several formats in one, headers that lie, files cut short."""
    polyglot = "several formats at once"
    return [
        Sample("noise", "raw", NOISE),
        Sample("text", "raw", b"#!/bin/sh\n" * 1000),
        Sample("noise-as-qcow2", "qcow2", NOISE, "does not match stream data raw"),
        Sample("noise-as-ami", "ami", NOISE),
        Sample("iso", "iso", iso()),
        Sample("iso-and-gpt", "iso", iso(GPT)),
        Sample("iso-and-gpt-as-raw", "raw", iso(GPT), polyglot),
        Sample("iso-and-qcow2", "iso", iso(qcow2()[:512]), polyglot),
        Sample("qcow2-and-iso", "qcow2", iso(qcow2()[:512]), polyglot),
        Sample("qcow2-and-gpt", "qcow2", qcow2()[:510] + b"\x55\xaa" + BLANK, polyglot),
        Sample("qcow2-and-gpt-as-raw", "raw", qcow2()[:510] + b"\x55\xaa" + BLANK, polyglot),
        Sample("vmdk-and-iso", "vmdk", iso(vmdk()[: 21 * 512]), polyglot),
        Sample("vhd-and-iso", "vhd", iso(vhd()[:512]), polyglot),
        Sample("qcow2-cut", "qcow2", qcow2()[:200], "does not match stream data raw"),
        Sample("qcow2-version-1", "qcow2", qcow2(version=1), "unknown_features"),
        Sample("qcow2-unknown-feature", "qcow2", qcow2(features=1 << 40), "unknown_features"),
        Sample("qcow2-backing-as-raw", "raw", qcow2(backing=512), "backing_file"),
        Sample("qcow2-as-vmdk", "vmdk", qcow2(), "does not match stream data qcow2"),
        Sample("vmdk-absolute-extent", "vmdk", vmdk(extent="/etc/passwd"), "Invalid extent"),
        Sample("vmdk-flat", "vmdk", vmdk("monolithicFlat"), "Unsupported subformat"),
        Sample("vmdk-flat-as-raw", "raw", vmdk("monolithicFlat"), "Unsupported subformat"),
        Sample("vhdx-cut", "vhdx", vhdx()[:300_000], "cannot be inspected"),
        Sample("luks-as-raw", "raw", luks()),
        Sample("luks-2-as-raw", "raw", luks(2), "version"),
        Sample("luks-as-qcow2", "qcow2", luks(), "does not match stream data luks"),
        Sample("gpt", "raw", GPT + NOISE),
        Sample("mbr", "raw", boot_sector((0x80, 0x83)) + NOISE),
        Sample("mbr-bad-flag", "raw", boot_sector((0x12, 0x83)) + NOISE, "mbr"),
        Sample("mbr-empty", "raw", boot_sector() + NOISE, "mbr"),
        Sample("gpt-and-more", "raw", boot_sector((0, 0xEE), (0, 0x83)) + NOISE, "mbr"),
        Sample("mbr-as-aki", "aki", boot_sector((0x80, 0x83)) + NOISE, "does not match stream data gpt"),
    ]


def made_by_qemu(folder: Path) -> Iterator[Sample]:
    """What a current qemu-img makes of one megabyte, kept in *folder* meanwhile."""
    (folder / "base").write_bytes(bytes(1024 * 1024))
    create(folder / "made.vmdk", "vmdk")
    for name, declared, kind, options, refused in (
        ("qcow2", "qcow2", "qcow2", "", None),
        ("qcow2-old", "qcow2", "qcow2", "-o compat=0.10", None),
        ("qcow2-zstd", "qcow2", "qcow2", "-o compression_type=zstd", None),
        ("qcow2-lazy", "qcow2", "qcow2", "-o lazy_refcounts=on", None),
        ("qcow2-extended", "qcow2", "qcow2", "-o extended_l2=on", "unknown_features"),
        ("qcow2-backing", "qcow2", "qcow2", f"-b {folder}/base -F raw", "backing_file"),
        ("qcow2-backing-relative", "qcow2", "qcow2", "-u -b base -F raw", "backing_file"),
        ("qcow2-backing-json", "qcow2", "qcow2", '-u -F raw -b json:{"driver":"file"}', "backing_file"),
        ("qcow2-data-file", "qcow2", "qcow2", "-o data_file=data", "data_file"),
        ("qcow2-data-file-raw", "qcow2", "qcow2", "-o data_file=data,data_file_raw=on", "data_file"),
        ("qcow1", "qcow2", "qcow", "", "unknown_features"),
        ("qcow2-as-raw", "raw", "qcow2", "", None),
        ("vmdk", "vmdk", "vmdk", "", None),
        ("vmdk-stream", "vmdk", "vmdk", "-o subformat=streamOptimized", None),
        ("vmdk-flat", "vmdk", "vmdk", "-o subformat=monolithicFlat", "vmdk"),
        ("vmdk-split", "vmdk", "vmdk", "-o subformat=twoGbMaxExtentSparse", "vmdk"),
        ("vmdk-split-flat", "vmdk", "vmdk", "-o subformat=twoGbMaxExtentFlat", "vmdk"),
        ("vmdk-parent", "vmdk", "vmdk", f"-b {folder}/made.vmdk -F vmdk", "names a parent"),
        ("vmdk-parent-as-raw", "raw", "vmdk", f"-b {folder}/made.vmdk -F vmdk", "names a parent"),
        ("vdi", "vdi", "vdi", "", None),
        ("vhd", "vhd", "vpc", "", None),
        ("vhd-fixed", "vhd", "vpc", "-o subformat=fixed", "does not match stream data raw"),
        ("vhdx", "vhdx", "vhdx", "", None),
        ("qed", "raw", "qed", "", "banned"),
        ("ploop", "ploop", "parallels", "", None),
    ):
        (folder / name).mkdir()
        create(folder / name / "disk", kind, *options.split())
        content = (folder / name / "disk").read_bytes()
        yield Sample(f"made-{name}", declared, content, refused)
        if name == "vmdk-parent":
            yield Sample("vmdk-hidden-parent", "vmdk", hidden_parent(content), refused)


def hidden_parent(content: bytes) -> bytes:
    """A VMDK whose header says that its descriptor ends before the line that names the parent; qemu reads on."""
    before, line, after = content[512 : 21 * 512].partition(b"parentFileNameHint")
    text = (before + b'RW 2048 SPARSE "disk"\n').ljust(520, b"#") + b"\n" + line + after.rstrip(b"\0")
    return content[:36] + struct.pack("<Q", 1) + content[44:512] + text.ljust(20 * 512, b"\0") + content[21 * 512 :]


def create(path: Path, kind: str, *options: str) -> None:
    command = [program("qemu-img"), "create", "-q", "-f", kind, *options, path.name, "1M"]
    subprocess.run(command, cwd=path.parent, check=True, capture_output=True, timeout=300)
