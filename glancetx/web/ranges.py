"""Preconditions and ranges (RFC 9110, sections 13 and 14), as pure functions of header values.

Dates are naive UTC with whole seconds. *etag* is a strong entity tag with its quotes, *header* reads one request
header, and data never changes under its tag.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from glancetx.domain.errors import RangeNotSatisfiable

HeaderReader = Callable[[str], str | None]
Range = tuple[int, int]
"""Offset and length in bytes; the length is above 0."""

_SPEC: Final = re.compile(r"([0-9]*) *- *([0-9]*)")
_LEGACY: Final = re.compile(r"bytes[ =]([0-9]+)-([0-9]+)/([0-9]+|\*)", re.IGNORECASE)
_ENTITY_TAG: Final = re.compile(r'[ \t]*(W/)?("[\x21\x23-\x7e\x80-\U0010ffff]*")[ \t]*(?:,|$)|[ \t]*(?:,|$)')
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
_TIME: Final = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) (?P<month>[A-Z][a-z]{{2}}) (?P<year>[0-9]{{4}}) {_TIME} GMT",
        rf"[A-Z][a-z]{{5,8}}, (?P<day>[0-9]{{2}})-(?P<month>[A-Z][a-z]{{2}})-(?P<year>[0-9]{{2}}) {_TIME} GMT",
        rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
_TOO_MANY_DIGITS: Final = 19


def wanted_ranges(header: HeaderReader, size: int, etag: str, modified: datetime, most: int) -> list[Range] | None:
    """What a GET of *size* bytes asks for: None means all of it. To be asked after `precondition`.

    A Range header whose If-Range does not hold is ignored. Without one, a Content-Range header counts as a range: old
    clients of Glance send it.

    :raises RangeNotSatisfiable: if it is malformed, if no byte of it exists, or if it asks too much of us.
    """
    text = header("range")
    if text is not None:
        return parse_ranges(text, size, most) if _if_range(header("if-range"), etag, modified) else None
    legacy = header("content-range")
    return None if legacy is None else [_parse_content_range(legacy, size)]


def parse_ranges(text: str, size: int, most: int) -> list[Range] | None:
    """The satisfiable ranges of a Range header, in its order; ranges that overlap are joined. None: ignore it.

    Ignored are other units than bytes, and a suffix of nothing, which 206 has no words for.

    :raises RangeNotSatisfiable: if it is malformed, if no byte of it exists, if there are more than *most* ranges, or
        if more than two overlap each other.
    """
    unit, equals, specs = text.strip(" \t").partition("=")
    if not equals:
        raise RangeNotSatisfiable(size)
    if unit.rstrip(" ").lower() != "bytes":  # Glance reads blanks where no other server does
        return None
    parts = [part for part in (part.strip(" \t") for part in specs.split(",")) if part]
    if not parts or len(parts) > most:
        raise RangeNotSatisfiable(size)
    found = [one for one in (_parse_spec(part, size) for part in parts) if one is not None]
    if not found:
        if size == 0 and any(part.startswith("-") and part.strip("-0") for part in parts):
            return None
        raise RangeNotSatisfiable(size)
    return _joined(found, size)


def _parse_spec(spec: str, size: int) -> Range | None:
    """One range, or None if no byte of it exists."""
    match = _SPEC.fullmatch(spec)
    if match is None or not (match[1] or match[2]):
        raise RangeNotSatisfiable(size)
    if not match[1]:
        length = min(_number(match[2]), size)
        return (size - length, length) if length else None
    first = _number(match[1])
    last = _number(match[2]) if match[2] else max(first, size - 1)
    if last < first:
        raise RangeNotSatisfiable(size)
    return (first, min(last, size - 1) - first + 1) if first < size else None


def _number(digits: str) -> int:
    """Bounded: nothing is that long, and Python refuses to read thousands of digits."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _TOO_MANY_DIGITS else 10**_TOO_MANY_DIGITS


def _joined(ranges: list[Range], size: int) -> list[Range]:
    """At most pairs may overlap; who asks for the same bytes more often wants us to work for nothing."""
    joined: list[tuple[Range, bool]] = []
    for offset, length in ranges:
        end = offset + length
        overlapping = [entry for entry in joined if entry[0][0] < end and offset < sum(entry[0])]
        if len(overlapping) > 1 or (overlapping and overlapping[0][1]):
            raise RangeNotSatisfiable(size)
        if overlapping:
            other = overlapping[0][0]
            start = min(offset, other[0])
            joined[joined.index(overlapping[0])] = ((start, max(end, sum(other)) - start), True)
        else:
            joined.append(((offset, length), False))
    return [one for one, _ in joined]


def _parse_content_range(text: str, size: int) -> Range:
    match = _LEGACY.fullmatch(text.strip(" \t"))
    if match is None:
        raise RangeNotSatisfiable(size)
    first, last = _number(match[1]), _number(match[2])
    whole = None if match[3] == "*" else _number(match[3])
    if last < first or last >= size or (whole is not None and last >= whole):
        raise RangeNotSatisfiable(size)
    return first, last - first + 1


def precondition(header: HeaderReader, etag: str, modified: datetime) -> int | None:
    """304 or 412 if a precondition decides over a GET or HEAD, else None (RFC 9110, section 13.2.2)."""
    match, none_match = header("if-match"), header("if-none-match")
    if match is not None:
        if not _matches(match, etag, weakly=False):
            return 412
    elif _later_than(modified, header("if-unmodified-since")) is True:
        return 412
    if none_match is not None:
        return 304 if _matches(none_match, etag, weakly=True) else None
    return 304 if _later_than(modified, header("if-modified-since")) is False else None


def _later_than(modified: datetime, text: str | None) -> bool | None:
    """None if there is no date, or what is there is none: then the header does not count."""
    date = None if text is None else parse_date(text)
    return None if date is None else modified > date


def _matches(text: str, etag: str, *, weakly: bool) -> bool:
    """Whether a list of entity tags has ours. A malformed list matches as far as it can be read."""
    if text.strip(" \t") == "*":
        return True
    position = 0
    while position < len(text) and (match := _ENTITY_TAG.match(text, position)):
        if match[2] == etag and (weakly or not match[1]):
            return True
        position = max(match.end(), position + 1)
    return False


def _if_range(text: str | None, etag: str, modified: datetime) -> bool:
    """Whether Range counts. A date is as good as a tag here: data that never changes did not change twice a second."""
    if text is None:
        return True
    text = text.strip(" \t")
    return text == etag if text.endswith('"') else parse_date(text) == modified


def parse_date(text: str) -> datetime | None:
    """An HTTP date in any of its three forms (RFC 9110, section 5.6.7), or None."""
    for pattern in _DATES:
        match = pattern.fullmatch(text.strip(" \t"))
        if match is not None:
            return _date_of(match.groupdict())
    return None


def _date_of(parts: dict[str, str]) -> datetime | None:
    year = int(parts["year"])
    if len(parts["year"]) == 2:  # at most 50 years in the future
        this = datetime.now(UTC).year
        year += this - this % 100
        year -= 100 if year > this + 50 else 0
    month, second = _MONTHS.get(parts["month"], 0), min(59, int(parts["second"]))  # 60 is a leap second
    try:
        return datetime(year, month, int(parts["day"]), int(parts["hour"]), int(parts["minute"]), second)
    except ValueError:
        return None
