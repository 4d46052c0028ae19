"""Learns from the bytes of an upload which disk format they are, how big the disk is, and whether they are safe.

The formats themselves are read by oslo.utils, as in Glance; what follows from the findings is decided here (api.md,
A-103). All of it is plain computing, which hostile content can make slow: call it in a thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from oslo_utils.imageutils import format_inspector

from glancetx.config.settings import FormatSettings
from glancetx.domain.errors import FormatMismatch

PIECE: Final = 64 * 1024
FIRST_PIECE: Final = 16 * 1024  # until as much as a PIECE was seen, which settles most: a slow upload keeps less
LARGEST_DISK: Final = 2**63 - 1  # what the database can hold
DESCRIPTOR: Final = slice(512, 21 * 512)  # where qemu looks for a VMDK's parent, whatever size the header gives
COUNTING: Final = ("luks",)
"""Formats whose parser has to see every byte, since the size follows from their number. All others are left alone when
they have what they need: some look through their tables again at each piece, which hostile content can make long."""
UNUSED: Final = "system_area"  # 32 KiB before an ISO's header, which its parser keeps and never reads
NAMED: Final = ("vhdx",)
"""Formats told by the first bytes alone, whose parser would go on to wait for tables far behind in whatever content."""

# What the parsers warn of is told to the client; with no handler at all it would be written to stderr.
logging.getLogger("oslo_utils.imageutils").addHandler(logging.NullHandler())


class Inspector:
    """Looks at content declared as *disk_format*. Only the container format ``bare`` is looked into (*active*).

    *found* is the format that the content has, when `finish` was called; None if it was not looked into, or is of
    several. Call `feed` with the bytes in order, then `finish` once. When *settled*, what is still to come makes no
    difference and need not be fed.
    """

    def __init__(self, disk_format: str | None, container_format: str | None, settings: FormatSettings) -> None:
        self.active = container_format == "bare"
        self.found: str | None = None
        self._declared = disk_format
        self._settings = settings
        self._pieces = _Pieces()
        self._head = b""  # the first piece
        self._parsers = {name: kind() for name, kind in format_inspector.ALL_FORMATS.items() if name != "raw"}
        if (iso := self._parsers["iso"]).has_region(UNUSED):
            iso.delete_region(UNUSED)
        self._feeding = list(self._parsers.values())

    def feed(self, chunks: Sequence[bytes]) -> None:
        """Look at the next bytes."""
        for chunk in chunks:
            if not self.settled:
                for piece in self._pieces.cut(chunk):
                    self._show(piece)
        if self.settled:
            self._pieces = _Pieces()  # what is left of the last chunk makes no difference either

    @property
    def settled(self) -> bool:
        return not (self.active and self._feeding)

    def finish(self, size: int) -> int | None:
        """The size in bytes of the disk inside, None if it cannot be known. *size* is the number of all bytes.

        :raises FormatMismatch: if the content is not what was declared, or not safe.
        """
        if not self.active:
            return None
        if rest := self._pieces.rest():
            self._show(rest)
        for parser in self._parsers.values():
            parser.finish()
        try:
            return self._judge(size)
        except FormatMismatch:
            raise
        except Exception as error:  # a parser that breaks on its input: nothing is known about the content then
            self._mismatch(f"The content cannot be inspected: {error}")
            return None

    def _show(self, piece: bytes) -> None:
        self._head = self._head or piece
        for parser in self._feeding[:]:
            try:
                parser.eat_chunk(piece)
                if parser.NAME in NAMED and not _matches(parser):
                    settled = True
                else:
                    settled = parser.complete and not (parser.NAME in COUNTING and _matches(parser))
            except Exception:  # not this format, or a broken one: it may still match by its first bytes
                settled = True
            if settled:
                self._feeding.remove(parser)
                self._forget(parser)

    def _forget(self, parser: Any) -> None:
        """Free what a parser keeps of content that is not of its format: 64 KiB, for some, until an upload ends."""
        name = parser.NAME
        if _matches(parser):
            return
        del self._parsers[name]
        vars(parser).clear()  # its checks hold it in a circle, which the garbage collector may find late
        if name == "vmdk":
            self._head = b"-"  # only a VMDK's is looked at again

    def _judge(self, size: int) -> int | None:
        found = self._found()
        if found is None:
            return None
        name, parser = found
        self.found = name
        virtual_size: int | None = None
        if name == self._declared:
            virtual_size = size if parser is None else parser.virtual_size
        elif self._declared == "raw":
            virtual_size = size
        elif name != "raw" or self._declared in format_inspector.ALL_FORMATS:
            self._mismatch(f"Image disk_format {self._declared} does not match stream data {name}")
        if virtual_size is not None and not 0 <= virtual_size <= LARGEST_DISK:
            raise FormatMismatch(f"The image names an impossible disk size: {virtual_size}")
        if parser is not None:
            self._check_safety(name, parser)
        return virtual_size or None

    def _found(self) -> tuple[str, Any] | None:
        """The format of the content and its parser; None if there are several and that is tolerated."""
        matches = {name: parser for name, parser in self._parsers.items() if _matches(parser)}
        if self._declared == "iso" and matches.keys() == {"iso", "gpt"}:
            del matches["gpt"]  # a CD that also boots from a USB stick
        if len(matches) > 1:
            # Also if declared raw: who reads it might see the one format while another was checked.
            self._mismatch(f"The content is of several formats at once: {', '.join(sorted(matches))}")
            for name, parser in matches.items():
                with suppress(
                    format_inspector.ImageFormatError
                ):  # one that cannot be judged says nothing of the others
                    self._check_safety(name, parser)
            return None
        return next(iter(matches.items()), ("raw", None))

    def _check_safety(self, name: str, parser: Any) -> None:
        """Applies to content declared raw as well: a reader that probes the format would still open it."""
        try:
            parser.safety_check()
        except format_inspector.SafetyCheckFailed as error:
            tolerated = set(self._settings.gpt_safety_checks_nonfatal) if name == "gpt" else set[str]()
            if failures := {check: why for check, why in error.failures.items() if check not in tolerated}:
                reasons = "; ".join(f"{check}: {why}" for check, why in sorted(failures.items()))
                raise FormatMismatch(f"The {name} content fails safety checks: {reasons}") from None
        if name == "vmdk":
            allowed = {kind.lower() for kind in self._settings.vmdk_allowed_types}
            if parser.vmdktype not in allowed:
                raise FormatMismatch(f"The vmdk content is of the type {parser.vmdktype}, which is not allowed")
            if b"parentfilenamehint" in self._head[DESCRIPTOR].lower():  # qemu opens that file, wherever it is
                raise FormatMismatch("The vmdk content names a parent")

    def _mismatch(self, message: str) -> None:
        if self._settings.require_image_format_match:
            raise FormatMismatch(message)


def _matches(parser: Any) -> bool:
    try:
        return bool(parser.format_match)
    except Exception:  # some parsers cannot be asked before they have seen enough
        return False


class _Pieces:
    """Cuts a stream into pieces of known sizes, so that findings do not depend on how the network cut it.

    It also bounds what a hostile sender of single bytes can cost.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._seen = 0

    def cut(self, chunk: bytes) -> Iterator[bytes]:
        view = memoryview(chunk)
        while len(self._held) + len(view) >= (size := FIRST_PIECE if self._seen < PIECE else PIECE):
            missing = size - len(self._held)
            piece = bytes(self._held) + view[:missing]
            self._held.clear()
            view = view[missing:]
            self._seen += size
            yield piece
        self._held += view

    def rest(self) -> bytes:
        return bytes(self._held)
