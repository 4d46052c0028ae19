"""Where a request body ends: by its announced length, or by its last chunk (RFC 9112, sections 6 and 7)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_AFTER_DATA: Final = b"\r\n0\r\n\r\n"  # at least
_MAX_LINE: Final = 1024
_MAX_TRAILERS: Final = 16384


class BadChunk(Exception):
    """The chunked coding is malformed: nobody knows where this body ends."""


class Framing(Protocol):
    """Cuts the body out of the bytes of a connection."""

    ended: bool

    @property
    def sure(self) -> int:
        """How many bytes will come in any case, if the client does not leave."""

    def feed(self, data: bytes) -> bytes:
        """Pass on the body's bytes; returns what follows the body. :raises BadChunk: if it is malformed."""


class FixedLength:
    """A body of *length* bytes, passed to *deliver*."""

    __slots__ = ("_deliver", "_missing", "ended")

    def __init__(self, length: int, deliver: Callable[[bytes], None]) -> None:
        self._missing, self._deliver = length, deliver
        self.ended = length == 0

    @property
    def sure(self) -> int:
        return self._missing

    def feed(self, data: bytes) -> bytes:
        rest = b""
        if len(data) > self._missing:
            data, rest = data[: self._missing], data[self._missing :]
        self._missing -= len(data)
        self.ended = self._missing == 0
        if data:
            self._deliver(data)
        return rest


class Chunked:
    """A body in chunks. Chunk extensions are read and ignored, within limits, and trailers, unless somebody wants them.

    *trailer* is given each line of them as it is.
    """

    __slots__ = ("_at", "_buffer", "_deliver", "_missing", "_read", "_tell", "_trailers", "ended")

    def __init__(self, deliver: Callable[[bytes], None], trailer: Callable[[bytes], None] | None = None) -> None:
        self._deliver, self._tell = deliver, trailer
        self._buffer, self._at = b"", 0  # the bytes at hand, and how many of them are done with
        self._missing = 0
        self._trailers = 0
        self._read: Callable[[], bool] = self._size  # reads one element; False: not all of it is here
        self.ended = False

    @property
    def sure(self) -> int:
        return self._missing + len(_AFTER_DATA) if self._missing else 0

    def feed(self, data: bytes) -> bytes:
        self._buffer = self._buffer + data if self._buffer else data
        while not self.ended and self._read():
            pass
        rest, self._at = self._buffer[self._at :], 0
        self._buffer = b"" if self.ended else rest
        return rest if self.ended else b""

    def _size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise BadChunk("A chunk size is malformed.")
        self._missing = int(match[1], 16)
        self._read = self._data if self._missing else self._trailer
        return True

    def _data(self) -> bool:
        data = self._buffer[self._at : self._at + self._missing]
        if not data:
            return False
        self._at += len(data)
        self._missing -= len(data)
        if not self._missing:
            self._read = self._data_end
        self._deliver(data)
        return True

    def _data_end(self) -> bool:
        end = self._buffer[self._at : self._at + 2]
        if not b"\r\n".startswith(end):
            raise BadChunk("A chunk does not end where it should.")
        if len(end) < 2:
            return False
        self._at += 2
        self._read = self._size
        return True

    def _trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        self._trailers += len(line)
        if self._trailers > _MAX_TRAILERS or b"\n" in line or b"\0" in line:
            raise BadChunk("The trailers are too large or malformed.")
        self.ended = not line
        if line and self._tell is not None:
            self._tell(line)
        return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n", self._at, self._at + _MAX_LINE)
        if end < 0:
            if len(self._buffer) - self._at >= _MAX_LINE or b"\n" in self._buffer[self._at :]:
                raise BadChunk("A line of the chunked coding is too long or malformed.")
            return None
        line, self._at = self._buffer[self._at : end], end + 2
        return line
