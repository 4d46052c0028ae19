"""What the inspector makes of content; what real Glance 33 answers to each of these was recorded from its API."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glancetx.config.settings import FormatSettings
from glancetx.domain.errors import FormatMismatch
from glancetx.formats.inspector import FIRST_PIECE, Inspector
from tests.disks import BLANK, DISK, GPT, NOISE, boot_sector, iso, luks, made_by_hand, qcow2, vdi, vhd, vhdx, vmdk


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
    """Noise is known as such after some pieces, and need not be fed any more."""
    inspector = Inspector("raw", "bare", FormatSettings())
    inspector.feed([NOISE[: 2 * FIRST_PIECE]])
    assert not inspector.settled
    inspector.feed([NOISE[2 * FIRST_PIECE : 3 * FIRST_PIECE]])
    assert inspector.settled
    assert inspector.finish(10**12) == 10**12


def test_survives_text_that_is_none() -> None:
    """Content that begins like a descriptor and goes on as something else is raw, and refused as anything else."""
    content = b"#!/bin/sh\n" * 100 + NOISE
    assert inspect(content, "raw") == len(content)
    with pytest.raises(FormatMismatch):
        inspect(content, "qcow2")


def test_a_lenient_operator_is_safe() -> None:
    """What is tolerated in spite of its format is looked at all the same, if it is of several formats as well."""
    lenient = FormatSettings(require_image_format_match=False)
    for content in (vmdk("monolithicFlat"), iso(qcow2(backing=512)[:512])):
        with pytest.raises(FormatMismatch, match="safety checks"):
            inspect(content, "vdi", settings=lenient)


def tables(regions: int, entries: int) -> bytes:
    """A VHDX with tables full of what nobody looks for."""
    content = bytearray(vhdx())
    meta = bytes(content[0x30010:0x30030])
    content[0x30008:0x3000C] = struct.pack("<I", regions)
    content[0x30010 : 0x30010 + 32 * regions] = bytes(32 * (regions - 1)) + meta if entries else bytes(32 * regions)
    content[(1 << 20) + 10 : (1 << 20) + 12] = struct.pack("<H", entries)
    content[(1 << 20) + 32 : (1 << 20) + 32 + 32 * entries] = bytes(32 * entries)
    return bytes(content)


@pytest.mark.parametrize("content", [tables(2047, 0), tables(2047, 2047), qcow2(), vmdk(), vdi(), vhd(), iso(GPT)])
def test_looks_no_longer_than_it_must(content: bytes) -> None:
    """What all parsers have decided about costs nothing any more, however long it is."""
    inspector = Inspector("raw", "bare", FormatSettings())
    inspector.feed([content, bytes(2 * 1024 * 1024)])
    assert inspector.settled


SEEDS = [sample.content for sample in made_by_hand()] + [vdi(), vhd(), vhdx(), tables(9, 9), b"QED\0" + BLANK, luks()]
HEADS = [0, 4, 8, 36, 56, 72, 446, 510, 512, 600, 0x170, 32768, 0x30000, 0x30008, 0x30010, 1 << 20, (1 << 20) + 8]
FORMATS = ["raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso", "luks", "gpt", "ami", None]


@settings(max_examples=int(os.environ.get("GLANCETX_FUZZ", "150")), deadline=None)
@given(
    st.sampled_from(SEEDS) | st.binary(max_size=2000),
    st.lists(st.tuples(st.sampled_from(HEADS) | st.integers(0, 70_000), st.binary(max_size=16)), max_size=6),
    st.none() | st.integers(0, 400_000),
    st.sampled_from(FORMATS),
    st.booleans(),
    st.integers(1, 300_000),
)
def test_any_content(
    content: bytes, changes: list[tuple[int, bytes]], end: int | None, declared: str | None, strict: bool, step: int
) -> None:
    """It passes, with a size that can be kept, or it is refused; there is no other outcome, however it is cut."""
    changed = bytearray(content[:end])
    for at, what in changes:
        changed[at : at + len(what)] = what
    rules = FormatSettings(require_image_format_match=strict)
    outcomes: set[object] = set()
    for pace in (step, len(changed) + 1):
        try:
            outcomes.add(inspect(bytes(changed), declared or "", settings=rules, step=pace))
        except FormatMismatch as error:
            outcomes.add(str(error))
    (outcome,) = outcomes
    assert outcome is None or isinstance(outcome, str) or (isinstance(outcome, int) and 0 < outcome < 2**63)
