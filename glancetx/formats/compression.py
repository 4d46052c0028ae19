"""Reading compressed files as a stream: which kind a file is, and its content, a piece of bounded size at a time.

Compressed data of strangers can ask for any amount of memory; the libraries are told how much they may take.
"""

from __future__ import annotations

import gzip
import importlib
import lzma
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

PIECE: Final = 1024 * 1024
MEMORY: Final = 128 * 1024 * 1024  # bytes of the window of zstd, and of all of xz
DIRECTORY: Final = 1024 * 1024  # bytes of the directory of a zip archive of one file; the library reads it whole
HEAD: Final = 8  # bytes that tell the kind
ZIPPED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
MAGIC: Final = {
    "zip": re.compile(rb"PK\x03\x04"),
    "lha": re.compile(rb"..-lh", re.DOTALL),
    "gzip": re.compile(rb"\x1f\x8b\x08"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
}


class BadArchive(Exception):
    """It cannot be decompressed; the text tells why."""


def kind_of(head: bytes) -> str | None:
    """The kind of compression of a file that begins so, None if it is none of `MAGIC`."""
    return next((kind for kind, magic in MAGIC.items() if magic.match(head)), None)


def pieces(kind: str, path: Path, file: IO[bytes]) -> Iterator[bytes]:
    """The content of the one file in *file*, which is open and lies at *path*; checksums are verified.

    How much of *file* was read is told by its own position, but for lha.

    :raises BadArchive: if it is broken, encrypted, has not exactly one file in it, or no library can read it.
    """
    try:
        yield from READERS[kind](path, file)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
    ) as error:
        raise BadArchive(f"The {kind} data cannot be decompressed: {error}") from error


def _read(stream: Any) -> Iterator[bytes]:
    while piece := stream.read(PIECE):
        yield piece


def _gzip(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file, mode="rb") as stream:
        yield from _read(stream)


def _zip(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    _check_directory(file)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) != 1 or entries[0].is_dir():
            raise BadArchive("The archive has not exactly one file in it.")
        (entry,) = entries
        if entry.flag_bits & 1 or entry.compress_type not in ZIPPED:
            raise BadArchive("The file in the archive is encrypted, or compressed in a way that is not supported.")
        with archive.open(entry) as stream:
            yield from _read(stream)


def _check_directory(file: IO[bytes]) -> None:
    """The library would read a directory of any size into memory. All ends that it might believe are looked at."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 70_000))
    tail = file.read()
    for magic, at, form in ((b"PK\5\6", 12, "<I"), (b"PK\6\6", 40, "<Q")):
        for found in re.finditer(re.escape(magic), tail):
            field = tail[found.start() + at :][: struct.calcsize(form)]
            if len(field) == struct.calcsize(form):
                (length,) = struct.unpack(form, field)
                if length > DIRECTORY and length != 0xFFFFFFFF:
                    raise BadArchive("The archive has not exactly one file in it.")


def _xz(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    yield from _streams("xz", file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY))


def _zstd(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    try:
        zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError as error:
        raise BadArchive("zstd data cannot be decompressed here: the package backports.zstd is missing.") from error
    options = {zstd.DecompressionParameter.window_log_max: MEMORY.bit_length() - 1}
    try:
        yield from _streams("zstd", file, lambda: zstd.ZstdDecompressor(options=options))
    except zstd.ZstdError as error:
        raise BadArchive(f"The zstd data cannot be decompressed: {error}") from error


def _streams(kind: str, file: IO[bytes], make: Callable[[], Any]) -> Iterator[bytes]:
    """The streams that follow each other, perhaps with zeros between; *make* makes what decompresses one of them."""
    data = b""
    while True:
        decompressor = make()
        while not decompressor.eof:
            if decompressor.needs_input and not data:
                data = file.read(PIECE)
                if not data:
                    raise BadArchive(f"The {kind} data ends too early.")
            piece, data = decompressor.decompress(data, PIECE), b""
            if piece:
                yield piece
        data = _behind(decompressor.unused_data, file)
        if not data:
            return


def _behind(data: bytes, file: IO[bytes]) -> bytes:
    """What follows a stream but for padding."""
    while not (data := data.lstrip(b"\0")):
        if not (data := file.read(PIECE)):
            return b""
    return data


def _lha(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    try:
        import libarchive
    except Exception as error:  # it looks for the C library when it is imported, and complains in many ways
        raise BadArchive("lha archives cannot be decompressed here: libarchive is missing.") from error
    try:
        with libarchive.file_reader(str(path), "lha") as archive:
            for number, entry in enumerate(archive):
                if number or not entry.isfile:
                    raise BadArchive("The archive has not exactly one file in it.")
                yield from entry.get_blocks(PIECE)
    except libarchive.ArchiveError as error:
        raise BadArchive(f"The lha data cannot be decompressed: {error}") from error


READERS: Final[Mapping[str, Callable[[Path, IO[bytes]], Iterator[bytes]]]] = {
    "gzip": _gzip,
    "zip": _zip,
    "xz": _xz,
    "zstd": _zstd,
    "lha": _lha,
}
