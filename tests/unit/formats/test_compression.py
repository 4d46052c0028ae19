"""Compressed files as streams: every kind comes back, and what is broken or greedy is refused."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import struct
import zipfile
from functools import partial
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from glancetx.formats.compression import HEAD, PIECE, BadArchive, kind_of, pieces

CONTENT = os.urandom(300_000) + bytes(3 * PIECE)
# Without the time, since it is part of a test's name, and all processes that share tests must find the same names.
gzipped = partial(gzip.compress, mtime=0)
GREEDY = b"\x28\xb5\x2f\xfd\x00\xa0\x09\x00\x00x"  # a byte of zstd that wants a window of a gigabyte


def zipped(*names: str, method: int = zipfile.ZIP_DEFLATED, content: bytes = CONTENT) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in names:
            archive.writestr(name, content)
    return buffer.getvalue()


def lha(content: bytes = CONTENT, name: bytes = b"disk.img") -> bytes:
    """An archive of one file that is stored as it is."""
    checksum = 0
    for byte in content:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ 0xA001 if checksum & 1 else checksum >> 1
    header = struct.pack("<5sIIIBB", b"-lh0-", len(content), len(content), 0, 0x20, 0)
    header += bytes([len(name)]) + name + struct.pack("<H", checksum)
    return bytes([len(header), sum(header) & 0xFF]) + header + content + b"\0"


def encrypted() -> bytes:
    data = bytearray(zipped("x"))
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


def greedy_directory() -> bytes:
    data = bytearray(zipped("x"))
    end = data.rindex(b"PK\5\6")
    data[end + 12 : end + 16] = struct.pack("<I", 2**31)
    return bytes(data)


def greedy_xz() -> bytes:
    return lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 512 * 1024 * 1024}])


def content_of(data: bytes, folder: Path) -> bytes:
    path = folder / "file"
    path.write_bytes(data)
    kind = kind_of(data[:HEAD])
    assert kind is not None
    with path.open("rb") as file:
        return b"".join(pieces(kind, path, file))


@pytest.mark.parametrize(
    ("kind", "data", "content"),
    [
        ("gzip", gzipped(CONTENT), CONTENT),
        ("gzip", gzipped(CONTENT) + gzipped(b"more"), CONTENT + b"more"),
        ("zip", zipped("disk.img"), CONTENT),
        ("zip", zipped("../../etc/passwd"), CONTENT),
        ("zip", zipped("disk.img", method=zipfile.ZIP_STORED), CONTENT),
        ("zip", zipped("disk.img", method=zipfile.ZIP_BZIP2), CONTENT),
        ("xz", lzma.compress(CONTENT), CONTENT),
        ("xz", lzma.compress(CONTENT) + bytes(8) + lzma.compress(b"more") + bytes(4), CONTENT + b"more"),
        ("zstd", zstd.compress(CONTENT), CONTENT),
        ("zstd", zstd.compress(CONTENT) + zstd.compress(b"more"), CONTENT + b"more"),
        ("lha", lha(CONTENT[:100_000]), CONTENT[:100_000]),
        ("gzip", gzipped(b""), b""),
    ],
)  # fmt: skip
def test_content(tmp_path: Path, kind: str, data: bytes, content: bytes) -> None:
    """What was compressed comes back, in pieces of a bounded size."""
    assert kind_of(data[:HEAD]) == kind
    assert content_of(data, tmp_path) == content
    with (tmp_path / "file").open("rb") as file:
        assert max(map(len, pieces(kind, tmp_path / "file", file)), default=0) <= PIECE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzipped(CONTENT)[:-1], "gzip"),
        (gzipped(CONTENT)[:-8] + bytes(8), "CRC"),
        (gzipped(CONTENT) + b"behind", "gzip"),
        (zipped("x")[:-30], "zip"),
        (zipped("x", "y", content=b"x"), "exactly one"),
        (zipped("x/", content=b""), "exactly one"),
        (encrypted(), "encrypted"),
        (zipped("x", method=zipfile.ZIP_LZMA), "not supported"),
        (greedy_directory(), "exactly one"),
        (lzma.compress(CONTENT)[:-1], "too early"),
        (lzma.compress(CONTENT) + b"behind", "xz"),
        (greedy_xz(), "[Mm]emory"),
        (zstd.compress(CONTENT)[:-4], "too early"),
        (zstd.compress(CONTENT, options={zstd.CompressionParameter.checksum_flag: 1})[:-4] + bytes(4), "zstd"),
        (GREEDY, "memory"),
        (lha(b"x" * 50)[:-30], "lha"),
        (lha(b"x")[:-1] + lha(b"y"), "exactly one"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(BadArchive, match=reason):
        content_of(data, tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK", b"plain text", bz2.compress(b"x"), b"QFI\xfb" + bytes(60)])
def test_not_compressed(data: bytes) -> None:
    """Only what Glance knows, and two more."""
    assert kind_of(data[:HEAD]) is None


SEEDS = [gzipped(b"x" * 99), zipped("x", content=b"y" * 99), lzma.compress(b"x" * 99), lha(b"x" * 99)]
SEEDS.append(zstd.compress(b"x" * 99))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 250), st.binary(max_size=4)), max_size=4))
def test_any_content(tmp_path_factory: pytest.TempPathFactory, seed: bytes, changes: list[tuple[int, bytes]]) -> None:
    """It is read, or it is a bad archive; there is no other outcome."""
    data = bytearray(seed)
    for at, what in changes:
        data[at : at + len(what)] = what
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(data)
    kind = kind_of(bytes(data[:HEAD]))
    if kind is not None:
        with path.open("rb") as file, contextlib.suppress(BadArchive):
            assert sum(map(len, pieces(kind, path, file))) < 10 * PIECE
