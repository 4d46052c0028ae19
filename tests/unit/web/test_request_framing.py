"""Bodies are cut out of a connection's bytes exactly."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glancetx.web.framing import BadChunk, Chunked, FixedLength, Framing


def feed(framing: Framing, pieces: list[bytes]) -> bytes:
    """What follows the body."""
    rest, left = b"", sum(map(len, pieces))
    for piece in pieces:
        rest += piece if framing.ended else framing.feed(piece)
        left -= len(piece)
        assert framing.ended or framing.sure <= left
    return rest


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.binary(max_size=300), st.binary(max_size=30), st.lists(st.integers(0, 400), max_size=10))
def test_fixed_length(body: bytes, rest: bytes, places: list[int]) -> None:
    """Exactly as many bytes as announced belong to the body, however they come."""
    got = bytearray()
    framing = FixedLength(len(body), got.extend)
    assert feed(framing, cut(body + rest, places)) == rest
    assert framing.ended
    assert bytes(got) == body


@given(
    st.lists(st.binary(min_size=1, max_size=60), max_size=8),
    st.sampled_from([b"", b";a=b", b' ; a="b"']),
    st.sampled_from([b"", b"X: y\r\n", b"X: y\r\nZ: \xff\r\n"]),
    st.lists(st.integers(0, 1000), max_size=40),
)
def test_chunked(chunks: list[bytes], extension: bytes, trailers: bytes, places: list[int]) -> None:
    """Chunks give the body, extensions and trailers are ignored, however they come."""
    coded = b"".join(b"%X%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    got = bytearray()
    framing = Chunked(got.extend)
    assert feed(framing, cut(coded + b"000\r\n" + trailers + b"\r\nGET", places)) == b"GET"
    assert framing.ended
    assert bytes(got) == b"".join(chunks)


@pytest.mark.parametrize(
    "coded",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b" 1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b"1 1\r\n",
        b"1;a\0b\r\n",
        b"1\na",
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"1\r\na\r\r\n",
        b"1" * 16 + b"\r\n",
        b"1" * 2000,
        b"1;" + b"a" * 2000,
        b"0\r\nX: a\nb\r\n\r\n",
        b"0\r\nX: a\0\r\n\r\n",
        b"0\r\n" + (b"X: " + b"a" * 900 + b"\r\n") * 20,
    ],
)
def test_bad_chunks(coded: bytes) -> None:
    """A malformed coding is refused."""
    framing = Chunked(lambda data: None)
    with pytest.raises(BadChunk):
        framing.feed(coded)


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    """Whatever comes, it is a body, a part of one, or refused."""
    framing = Chunked(lambda part: None)
    with contextlib.suppress(BadChunk):
        framing.feed(data)


def test_tiny_chunks_are_cheap() -> None:
    """Many tiny chunks in one piece take time in proportion to their number."""
    got: list[bytes] = []
    Chunked(got.append).feed(b"1\r\nx\r\n" * 100_000)
    assert len(got) == 100_000
