"""Which bytes need not be written, since whoever reads where nothing was written gets zeros."""

from __future__ import annotations

from collections.abc import Iterator


def is_zero(data: bytes) -> bool:
    """Whether there is nothing but zeros."""
    return not any(data[:64]) and data == bytes(len(data))


def written_parts(data: bytes, position: int, chunk: int) -> Iterator[tuple[int, int]]:
    """From where to where *data*, which begins at *position* of a file, is to be written: all but zero chunks.

    Chunks begin at multiples of *chunk*; parts that touch each other are one.
    """
    begin = at = 0
    while at < len(data):
        end = min(len(data), at + chunk - (position + at) % chunk)
        if is_zero(data[at:end]):
            if begin < at:
                yield begin, at
            begin = end
        at = end
    if begin < at:
        yield begin, at
