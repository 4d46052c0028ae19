"""Preconditions and ranges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glancetx.domain.errors import RangeNotSatisfiable
from glancetx.web.ranges import Range, parse_date, parse_ranges, precondition, wanted_ranges

ETAG = '"abc"'
MODIFIED = datetime(2026, 5, 20, 10, 30, 1)
EARLIER, LATER = MODIFIED - timedelta(seconds=1), MODIFIED + timedelta(seconds=1)


def http(date: datetime) -> str:
    return format_datetime(date.replace(tzinfo=UTC), usegmt=True)


def wanted(size: int = 100, **headers: str) -> list[Range] | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return wanted_ranges(named.get, size, ETAG, MODIFIED, 4)


def decided(**headers: str) -> int | None:
    return precondition({name.replace("_", "-"): value for name, value in headers.items()}.get, ETAG, MODIFIED)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-99", [(0, 100)]),
        ("bytes=10-", [(10, 90)]),
        ("bytes=99-", [(99, 1)]),
        ("bytes=-1", [(99, 1)]),
        ("bytes=-1000", [(0, 100)]),
        ("bytes=90-1000", [(90, 10)]),
        ("bytes=90-" + "9" * 5000, [(90, 10)]),
        ("Bytes=0-1", [(0, 2)]),
        ("bytes= 0-1 , 4-5\t,,", [(0, 2), (4, 2)]),
        ("bytes=50-59,0-9", [(50, 10), (0, 10)]),
        ("bytes=0-9,200-", [(0, 10)]),
        ("bytes=0-9,5-14", [(0, 15)]),
        ("bytes=0-9,5-14,20-29,25-34", [(0, 15), (20, 15)]),
        ("bytes=0-9,10-19", [(0, 10), (10, 10)]),
        ("bytes=000-001", [(0, 2)]),
        ("seconds=1-2", None),
        ("bytes = 1 - 2", [(1, 2)]),
    ],
)
def test_ranges(text: str, ranges: list[Range] | None) -> None:
    """What a Range header means for 100 bytes."""
    assert parse_ranges(text, 100, 4) == ranges


@pytest.mark.parametrize(
    "text",
    [
        "bytes=100-",
        "bytes=100-200",
        "bytes=" + "9" * 5000 + "-",
        "bytes=-0",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=5-4",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=\u0661-\u0662",
        "bytes",
        "bytes 1-2",
        "",
        "bytes=0-1,x",
        "bytes=0-0,2-2,4-4,6-6,8-8",
        "bytes=0-9,1-9,2-9",
        "bytes=0-5,10-15,3-12",
    ],
)
def test_refused_ranges(text: str) -> None:
    """Malformed, nowhere, too many, or too often the same: 416 with the size."""
    with pytest.raises(RangeNotSatisfiable) as caught:
        parse_ranges(text, 100, 4)
    assert caught.value.size == 100


def test_ranges_of_nothing() -> None:
    """No byte exists of nothing, but its last bytes are all of it."""
    assert parse_ranges("bytes=-5", 0, 4) is None
    with pytest.raises(RangeNotSatisfiable):
        parse_ranges("bytes=0-", 0, 4)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=6),
    st.integers(1, 40),
)
def test_any_ranges(pairs: list[tuple[int, int]], size: int) -> None:
    """What is served lies inside, does not overlap, and is exactly the bytes that were asked for and exist."""
    specs = [(min(pair), max(pair)) for pair in pairs]
    asked = {byte for first, last in specs for byte in range(first, last + 1) if byte < size}
    text = "bytes=" + ",".join(f"{first}-{last}" for first, last in specs)
    try:
        found = parse_ranges(text, size, 6)
    except RangeNotSatisfiable:
        assert not asked or len(specs) > 2
        return
    assert found is not None
    served = [byte for offset, length in found for byte in range(offset, offset + length)]
    assert all(length > 0 for _, length in found)
    assert sorted(served) == sorted(asked)


@given(st.text(max_size=40), st.integers(0, 100))
def test_any_text(text: str, size: int) -> None:
    """Whatever the header says, it is understood, ignored or refused."""
    try:
        found = parse_ranges("bytes=" + text, size, 4)
    except RangeNotSatisfiable:
        return
    assert found is None or all(0 <= offset < offset + length <= size for offset, length in found)


def test_no_range() -> None:
    """Without a header, everything is wanted."""
    assert wanted() is None


@pytest.mark.parametrize("text", [ETAG, http(MODIFIED)])
def test_if_range_holds(text: str) -> None:
    """The range counts if the client names what we have."""
    assert wanted(range="bytes=0-1", if_range=text) == [(0, 2)]


@pytest.mark.parametrize("text", ['"other"', f"W/{ETAG}", http(EARLIER), http(LATER), "nonsense", ""])
def test_if_range_fails(text: str) -> None:
    """Everything is sent if the client has something else, or says so unclearly."""
    assert wanted(range="bytes=0-1", if_range=text) is None
    assert wanted(range="nonsense", if_range=text) is None


def test_content_range_header() -> None:
    """Old clients ask with Content-Range; Range goes first."""
    assert wanted(content_range="bytes 1-4/*") == [(1, 4)]
    assert wanted(content_range="bytes 1-4/100") == [(1, 4)]
    assert wanted(content_range="bytes 1-4/*", range="bytes=0-0") == [(0, 1)]


@pytest.mark.parametrize("text", ["bytes 0-100/*", "bytes 5-4/*", "bytes 5-9/8", "bytes */100", "0-1", "bytes=0-1"])
def test_refused_content_range(text: str) -> None:
    """A Content-Range which cannot be served is refused."""
    with pytest.raises(RangeNotSatisfiable):
        wanted(content_range=text)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"if_match": ETAG}, None),
        ({"if_match": f'"x", {ETAG}'}, None),
        ({"if_match": "*"}, None),
        ({"if_match": '"x"'}, 412),
        ({"if_match": f"W/{ETAG}"}, 412),
        ({"if_unmodified_since": http(MODIFIED)}, None),
        ({"if_unmodified_since": http(EARLIER)}, 412),
        ({"if_unmodified_since": "yesterday"}, None),
        ({"if_match": ETAG, "if_unmodified_since": http(EARLIER)}, None),
        ({"if_none_match": ETAG}, 304),
        ({"if_none_match": f'"x" , W/{ETAG}'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"a,b", "x"'}, None),
        ({"if_none_match": '"x"', "if_modified_since": http(LATER)}, None),
        ({"if_modified_since": http(MODIFIED)}, 304),
        ({"if_modified_since": http(LATER)}, 304),
        ({"if_modified_since": http(EARLIER)}, None),
        ({"if_modified_since": "now"}, None),
        ({"if_match": '"x"', "if_none_match": ETAG}, 412),
        ({"if_match": ETAG, "if_none_match": ETAG}, 304),
    ],
)
def test_preconditions(headers: dict[str, str], status: int | None) -> None:
    """Preconditions decide in the order of the RFC."""
    assert decided(**headers) == status


def test_tag_with_a_comma() -> None:
    """A comma inside of a tag does not end it."""
    assert precondition({"if-none-match": '"x,y", "a,b"'}.get, '"a,b"', MODIFIED) == 304
    assert precondition({"if-none-match": '"x, "abc", y"'}.get, '"y"', MODIFIED) is None


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_date_forms(text: str) -> None:
    """All three forms of the RFC are dates."""
    assert parse_date(text) == datetime(1994, 11, 6, 8, 49, 37)


@pytest.mark.parametrize(
    "text",
    ["", "0", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 +0200", "Sun, 31 Feb 1994 08:49:37 GMT",
     "Sun, 06 Xxx 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "1994-11-06T08:49:37Z"],
)  # fmt: skip
def test_no_date(text: str) -> None:
    """Anything else is none, and its header does not count."""
    assert parse_date(text) is None
