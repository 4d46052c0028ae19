"""What the inspector makes of content; what real Glance 33 answers to each of these was recorded from its API."""

from __future__ import annotations

import os
import struct

import pytest

from glancetx.config.settings import FormatSettings
from glancetx.domain.errors import FormatMismatch
from glancetx.formats.inspector import Inspector

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


def inspect(
    content: bytes,
    declared: str,
    container: str = "bare",
    settings: FormatSettings | None = None,
    step: int = 65536,
) -> int | None:
    """Feed the content in steps; the outcome."""
    inspector = Inspector(declared, container, settings or FormatSettings())
    for start in range(0, len(content), step):
        inspector.feed([content[start : start + step]])
    return inspector.finish(len(content))


@pytest.mark.parametrize("step", [777, 65536, 10**7])
@pytest.mark.parametrize(
    ("declared", "content", "size"),
    [
        ("qcow2", qcow2(), DISK),
        ("qcow2", qcow2(version=2), DISK),
        ("vmdk", vmdk(), DISK),
        ("vmdk", vmdk("streamOptimized"), DISK),
        ("vdi", vdi(), DISK),
        ("vhd", vhd(), DISK),
        ("vhdx", vhdx(), DISK),
        ("iso", iso(), 100 * 2048),
        ("iso", iso(GPT), 100 * 2048),
        ("raw", NOISE, len(NOISE)),
        ("raw", b"abc", 3),
        ("raw", b"plain text\n" * 9999, 9999 * 11),
        ("raw", GPT + NOISE, 512 + len(NOISE)),
        ("raw", boot_sector((0x80, 0x83), (0, 0x82)) + NOISE, 512 + len(NOISE)),
        ("raw", qcow2(), len(qcow2())),
        ("raw", iso(), len(iso())),
        ("raw", b"", None),
        ("ami", NOISE, None),
        ("aki", b"abc", None),
        ("ploop", NOISE, None),
        ("ami", b"", None),
    ],
)
def test_accepts(declared: str, content: bytes, size: int | None, step: int) -> None:
    """Content of its declared format passes and tells its virtual size, however it was cut."""
    assert inspect(content, declared, step=step) == size


@pytest.mark.parametrize("step", [777, 65536])
@pytest.mark.parametrize(
    ("declared", "content", "reason"),
    [
        ("qcow2", NOISE, "disk_format qcow2 does not match stream data raw"),
        ("qcow2", b"", "match stream data raw"),
        ("qcow2", qcow2()[:200], "match stream data raw"),
        ("qcow2", vmdk(), "match stream data vmdk"),
        ("vmdk", qcow2(), "match stream data qcow2"),
        ("iso", NOISE, "match stream data raw"),
        ("iso", GPT + NOISE, "match stream data gpt"),
        ("vhd", NOISE + b"conectix".ljust(512, b"\0"), "match stream data raw"),
        ("ami", qcow2(), "match stream data qcow2"),
        ("ami", iso(GPT), "several formats at once: gpt, iso"),
        ("raw", iso(GPT), "several formats at once: gpt, iso"),
        ("qcow2", qcow2()[:510] + b"\x55\xaa" + BLANK, "several formats at once: gpt, qcow2"),
        ("qcow2", qcow2(backing=512), "backing_file"),
        ("raw", qcow2(backing=512), "backing_file"),
        ("qcow2", qcow2(features=4), "data_file"),
        ("qcow2", qcow2(features=1 << 63), "unknown_features"),
        ("qcow2", qcow2(size=2**63), "impossible disk size"),
        ("vmdk", vmdk("monolithicFlat"), "descriptor: Unsupported subformat"),
        ("vmdk", vmdk(extent="/etc/passwd"), "descriptor: Invalid extent"),
        ("raw", vmdk(extent="/etc/passwd"), "descriptor"),
        ("vhdx", vhdx()[:300_000], "cannot be inspected"),
        ("raw", boot_sector((0x12, 0x83)) + NOISE, "mbr"),
        ("raw", boot_sector((0, 0xEE), (0, 0x83)) + NOISE, "mbr"),
        ("raw", boot_sector() + NOISE, "mbr"),
        ("raw", b"QED\0" + BLANK, "banned"),
    ],
)
def test_refuses(declared: str, content: bytes, reason: str, step: int) -> None:
    """Other content and unsafe content does not pass, and the reason is told."""
    with pytest.raises(FormatMismatch, match=reason):
        inspect(content, declared, step=step)


@pytest.mark.parametrize("container", ["ovf", "ova", "docker", "compressed", "ami"])
def test_looks_only_into_bare_images(container: str) -> None:
    """In any other container the content is not inspected."""
    inspector = Inspector("qcow2", container, FormatSettings())
    assert inspector.settled
    assert inspect(NOISE, "qcow2", container) is None


@pytest.mark.parametrize("content", [NOISE, vmdk(), iso(GPT), vhdx()[:300_000]])
def test_can_be_lenient(content: bytes) -> None:
    """Where the operator does not insist, a mismatch only means that the size is unknown."""
    assert inspect(content, "qcow2", settings=FormatSettings(require_image_format_match=False)) is None


def test_is_never_lenient_about_safety() -> None:
    """Not insisting on the format does not let an unsafe image pass."""
    with pytest.raises(FormatMismatch, match="backing_file"):
        inspect(qcow2(backing=512), "qcow2", settings=FormatSettings(require_image_format_match=False))


def test_can_tolerate_boot_sectors() -> None:
    """The checks of partition tables may be made harmless by their names; others may not."""
    settings = FormatSettings(gpt_safety_checks_nonfatal=("mbr", "backing_file"))
    content = boot_sector() + NOISE
    assert inspect(content, "raw", settings=settings) == len(content)
    with pytest.raises(FormatMismatch, match="backing_file"):
        inspect(qcow2(backing=512), "qcow2", settings=settings)


def test_knows_the_allowed_vmdk_types() -> None:
    """A type the operator does not list is refused, even if it is safe."""
    settings = FormatSettings(vmdk_allowed_types=("streamOptimized",))
    assert inspect(vmdk("streamOptimized"), "vmdk", settings=settings) == DISK
    with pytest.raises(FormatMismatch, match="monolithicsparse"):
        inspect(vmdk(), "vmdk", settings=settings)


def test_settles_on_raw_content() -> None:
    """Noise is known as such after some hundred kilobytes, and need not be fed any more."""
    inspector = Inspector("raw", "bare", FormatSettings())
    inspector.feed([NOISE])
    assert inspector.settled
    assert inspector.finish(10**12) == 10**12


def test_survives_text_that_is_none() -> None:
    """Content that begins like a descriptor and goes on as something else is raw, and refused as anything else."""
    content = b"#!/bin/sh\n" * 100 + NOISE
    assert inspect(content, "raw") == len(content)
    with pytest.raises(FormatMismatch):
        inspect(content, "qcow2")
