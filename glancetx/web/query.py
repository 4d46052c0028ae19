"""From the query string of a list request to an `ImageQuery` (api.md, section 2.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

from glancetx.config.settings import ImagesSettings
from glancetx.domain.errors import Invalid
from glancetx.domain.query import SORT_KEYS, DateFilter, ImageQuery

Pairs = Sequence[tuple[str, str]]

SORTING: Final = frozenset({"sort", "sort_key", "sort_dir"})
LISTABLE: Final = frozenset({"name", "id", "status", "container_format", "disk_format"})
DATES: Final = frozenset({"created_at", "updated_at"})
DATE_OPERATORS: Final = frozenset({"eq", "neq", "gt", "gte", "lt", "lte"})
NUMBERS: Final = frozenset({"size", "virtual_size", "min_ram", "min_disk"})
EXACT: Final = frozenset({"checksum", "os_hash_algo", "os_hash_value", "owner"})
VISIBILITIES: Final = frozenset({"public", "private", "shared", "community", "all"})
MEMBER_STATUSES: Final = frozenset({"pending", "accepted", "rejected", "all"})
_VALUE: Final = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^",]*)', re.DOTALL)
UNDECODABLE: Final = (
    "Error decoding your request. Either the URL or the request body contained characters that could not be decoded "
    "by Glance"
)
_UNCLOSED: Final = "The quote is not closed."
_NO_COMMA: Final = "There is no comma {} quotation mark."
# From a year to the fraction of a second, each part needing those before it.
_DATE: Final = re.compile(
    r"(?P<year>\d{4})(?:(?:-(?P<month>\d{1,2})|(?P<month2>\d{2})(?!$))(?:(?:-(?P<day>\d{1,2})|(?P<day2>\d{2}))"
    r"(?:[ T](?P<hour>\d{2})(?::?(?P<minute>\d{2})(?::?(?P<second>\d{1,2})(?:[.,](?P<fraction>\d+))?)?)?"
    r"(?:Z|(?P<sign>[ +-])(?P<zone_hour>\d{2}):?(?P<zone_minute>\d{2})?)?)?)?)?",
    re.ASCII,
)
_LARGEST: Final = 2**63 - 1


def parse_query(raw: bytes) -> Pairs:
    """The parameters in order. :raises Invalid: if they are not percent-encoded UTF-8, or hold a NUL."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=256)
    except UnicodeError:
        raise Invalid(UNDECODABLE) from None
    except ValueError:
        raise Invalid("The query string has too many parameters.") from None
    if any("\0" in text for pair in pairs for text in pair):
        raise Invalid("The query string contains a NUL character.")
    return pairs


class QueryParser:
    """Turns parameters into a query, with the limits of *settings*."""

    def __init__(self, settings: ImagesSettings) -> None:
        self._default_limit = settings.limit_param_default
        self._largest_limit = settings.api_limit_max

    def parse(self, pairs: Pairs) -> ImageQuery:
        """:raises Invalid: with the first parameter that breaks a rule."""
        values = dict(pairs)  # of a repeated parameter the last one counts
        if "changes-since" in values:
            raise Invalid('The "changes-since" filter is no longer available on v2.')
        filters = _Filters()
        for name, value in values.items():
            if name not in SORTING and name not in ("limit", "marker", "tag", "tags"):
                filters.add(name, value)
        return ImageQuery(
            limit=self._limit(_first(pairs, "limit")),
            marker=_first(pairs, "marker"),
            sort=parse_sort(pairs),
            tags=tuple(value.strip() if name == "tag" else value for name, value in pairs if name in ("tag", "tags")),
            **filters.collected(),
        )

    def _limit(self, text: str | None) -> int:
        if text is None:
            return min(self._default_limit, self._largest_limit)
        limit = _integer(text, "limit param must be an integer")
        if limit < 0:
            raise Invalid("limit param must be positive")
        return min(limit, self._largest_limit)


class _Filters:
    """Collects the filters of one request."""

    def __init__(self) -> None:
        self._equal: dict[str, Any] = {}
        self._any_of: dict[str, tuple[str, ...]] = {}
        self._minimum: dict[str, int] = {}
        self._maximum: dict[str, int] = {}
        self._dates: list[DateFilter] = []
        self._properties: dict[str, str] = {}
        self._single: dict[str, Any] = {}

    def collected(self) -> dict[str, Any]:
        return {
            "equal": self._equal,
            "any_of": self._any_of,
            "minimum": self._minimum,
            "maximum": self._maximum,
            "dates": tuple(self._dates),
            "properties": self._properties,
            **self._single,
        }

    def add(self, name: str, value: str) -> None:
        if name in LISTABLE:
            self._add_listable(name, value)
        elif name in DATES:
            self._dates.append(parse_date_filter(name, value))
        elif name in NUMBERS:
            self._equal[name] = int(value) if re.fullmatch(r"-?\d{1,18}", value) else -1  # -1: no such image
        elif name in EXACT:
            self._equal[name] = value
        elif name in ("visibility", "member_status", "protected", "os_hidden"):
            self._add_choice(name, value)
        elif name.endswith(("_min", "_max")):
            self._add_bound(name, value)
        elif name != "deleted":  # always overwritten to false
            self._properties[name] = value

    def _add_listable(self, name: str, value: str) -> None:
        values = parse_listable(value)
        if isinstance(values, str):
            self._equal[name] = values
        else:
            self._any_of[name] = values

    def _add_choice(self, name: str, value: str) -> None:
        if name == "visibility":
            if value and value not in VISIBILITIES:
                raise Invalid(f"Invalid visibility value: {value}")
            place = self._single if value else self._equal  # which finds none
            place[name] = value
        elif name == "member_status":
            if value not in MEMBER_STATUSES:
                raise Invalid(f"Invalid status: {value}")
            self._single[name] = value
        else:
            text = value.lower() if name == "os_hidden" else value
            if text not in ("true", "false"):
                raise Invalid(f"Invalid value '{value}' for '{name}' filter. Valid values are 'true' or 'false'.")
            place = self._single if name == "os_hidden" else self._equal
            place[name] = text == "true"

    def _add_bound(self, name: str, value: str) -> None:
        column, _, bound = name.rpartition("_")
        if column not in NUMBERS:
            raise Invalid(f"Unable to filter by {name}: there is no number called {column}.")
        number = _integer(value, "Unable to filter on a range with a non-numeric value.")
        place = self._minimum if bound == "min" else self._maximum
        place[column] = max(min(number, _LARGEST), -_LARGEST)


def parse_sort(pairs: Pairs) -> tuple[tuple[str, str], ...]:
    """Sort keys with directions, tie breakers appended with the last direction (A-042, A-043)."""
    keys = [value.strip() for name, value in pairs if name == "sort_key"]
    directions = [value.strip() for name, value in pairs if name == "sort_dir"]
    combined = [value for name, value in pairs if name == "sort"]
    if combined and (keys or directions):
        raise Invalid("Old and new sorting syntax cannot be combined")
    if combined:
        parts = [part.strip().partition(":") for part in combined[-1].split(",")]
        keys = [key.strip() for key, _, _ in parts]
        directions = [direction.strip() or "desc" for _, _, direction in parts]
    keys = keys or ["created_at"]
    directions = directions or ["desc"]
    if len(directions) == 1:
        directions *= len(keys)
    if len(directions) != len(keys):
        raise Invalid("Number of sort dirs does not match the number of sort keys")
    for key, direction in zip(keys, directions, strict=True):
        _check_sort(key, direction)
    keys += ["created_at", "id"]
    directions += directions[-1:] * 2
    order: dict[str, str] = {}
    for key, direction in zip(keys, directions, strict=True):
        order.setdefault(key, direction)
    return tuple(order.items())


def _check_sort(key: str, direction: str) -> None:
    if key not in SORT_KEYS:
        raise Invalid(f"Invalid sort key: {key}. It must be one of the following: {', '.join(SORT_KEYS)}.")
    if direction not in ("asc", "desc"):
        raise Invalid(f"Invalid sort direction: {direction}")


def parse_listable(value: str) -> str | tuple[str, ...]:
    """``v``, ``eq:v`` or ``in:a,b`` (A-044): one value, or several."""
    operator, colon, rest = value.partition(":")
    if not colon or _parse_date(value) is not None:
        return value
    if operator == "eq":
        return rest
    if operator == "in":
        return tuple(split_quoted(rest))
    raise Invalid(f"Unable to filter by unknown operator '{operator}'.")


def split_quoted(text: str) -> Iterator[str]:
    """Values separated by commas; one that holds a comma stands in double quotes.

    :raises Invalid: if a quote is not closed, or something else stands beside it.
    """
    place = 0
    while text:
        match = _VALUE.match(text, place)
        assert match is not None  # since a value may be empty
        quoted, plain, end = match["quoted"], match["plain"], match.end()
        if quoted is None and text[end : end + 1] == '"':
            closed = _VALUE.match(text, end)
            assert closed is not None
            missing = _UNCLOSED if closed["quoted"] is None else _NO_COMMA.format("before opening")
            raise Invalid(f"Invalid filter value {text}. {missing}")
        if text[end : end + 1] not in ("", ","):
            raise Invalid(f"Invalid filter value {text}. {_NO_COMMA.format('after closing')}")
        yield plain if quoted is None else quoted
        if end == len(text):
            return
        place = end + 1


def parse_date_filter(name: str, value: str) -> DateFilter:
    """``gte:2026-01-31T00:00:00Z``; no operator means equal (A-045)."""
    time = _parse_date(value)
    if time is not None:
        return DateFilter(name, "eq", time)
    operator, colon, rest = value.partition(":")
    time = _parse_date(rest)
    if colon and time is not None and operator not in DATE_OPERATORS:
        raise Invalid("Unable to filter on a unknown operator.")
    if time is None or not colon:
        raise Invalid(f'Bad "{name}" query filter format. Use ISO 8601 DateTime notation.')
    return DateFilter(name, operator, time)


def _parse_date(text: str) -> datetime | None:
    """Naive UTC, or None if *text* is not ISO 8601. A ``+`` of an offset may have become a blank in the URL."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    part = match.groupdict()
    zone = timedelta(hours=int(part["zone_hour"] or 0), minutes=int(part["zone_minute"] or 0))
    fraction = (part["fraction"] or "")[:6].ljust(6, "0")
    try:
        time = datetime(
            int(part["year"]),
            int(part["month"] or part["month2"] or 1),
            int(part["day"] or part["day2"] or 1),
            int(part["hour"] or 0),
            int(part["minute"] or 0),
            int(part["second"] or 0),
            int(fraction),
        )
        return time + zone if part["sign"] == "-" else time - zone
    except (ValueError, OverflowError):
        return None


def _first(pairs: Pairs, name: str) -> str | None:
    return next((value for key, value in pairs if key == name), None)


def _integer(text: str, message: str) -> int:
    if not re.fullmatch(r"\s*[+-]?\d{1,30}\s*", text, re.ASCII):
        raise Invalid(message)
    return int(text)
