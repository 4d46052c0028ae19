"""The query string of a list request becomes a query, or a clear refusal."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glancetx.config.settings import ImagesSettings
from glancetx.domain.errors import Invalid
from glancetx.domain.query import SORT_KEYS, DateFilter, ImageQuery
from glancetx.web.query import QueryParser, parse_query, parse_sort, split_quoted

BREAKERS = (("created_at", "desc"), ("id", "desc"))


def parse(raw: str) -> ImageQuery:
    return QueryParser(ImagesSettings()).parse(parse_query(raw.encode()))


def test_empty() -> None:
    """Without parameters: 25 images, newest first."""
    assert parse("") == ImageQuery(limit=25, sort=BREAKERS)


def test_limit_is_capped() -> None:
    """A limit above the cap is silently lowered to it."""
    assert parse("limit=5000").limit == 1000


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("sort_key=name", (("name", "desc"), ("created_at", "desc"), ("id", "desc"))),
        ("sort_key=name&sort_dir=asc", (("name", "asc"), ("created_at", "asc"), ("id", "asc"))),
        ("sort=name:asc,size", (("name", "asc"), ("size", "desc"), ("created_at", "desc"), ("id", "desc"))),
        ("sort=id:asc", (("id", "asc"), ("created_at", "asc"))),
        ("sort_key=%20name&sort_dir=asc%20", (("name", "asc"), ("created_at", "asc"), ("id", "asc"))),
        (
            "sort_key=name&sort_key=size&sort_dir=asc&sort_dir=desc",
            (("name", "asc"), ("size", "desc"), ("created_at", "desc"), ("id", "desc")),
        ),
    ],
)
def test_sort(raw: str, expected: tuple[tuple[str, str], ...]) -> None:
    """Both sorting syntaxes, with the tie breakers appended in the last direction."""
    assert parse(raw).sort == expected


@given(st.lists(st.tuples(st.sampled_from(SORT_KEYS), st.sampled_from(["asc", "desc"])), min_size=1, max_size=5))
def test_sort_is_total(keys: list[tuple[str, str]]) -> None:
    """Whatever is asked, the order ends in a unique key and names none twice."""
    pairs = [("sort", ",".join(f"{key}:{direction}" for key, direction in keys))]
    names = [name for name, _ in parse_sort(pairs)]
    assert "id" in names
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("raw", "equal"),
    [
        ("name=x", {"name": "x"}),
        ("name=eq:a:b", {"name": "a:b"}),
        ("status=active&status=queued", {"status": "queued"}),
        ("protected=true", {"protected": True}),
        ("size=12", {"size": 12}),
        ("size=abc", {"size": -1}),
        ("owner=p", {"owner": "p"}),
        ("name=%C3%A9", {"name": "é"}),
    ],
)
def test_equal(raw: str, equal: dict[str, object]) -> None:
    """Filters by one value of a base attribute."""
    assert parse(raw).equal == equal


def test_in() -> None:
    """Several values; one with a comma stands in quotes."""
    assert parse('id=in:a,"b,c",d').any_of == {"id": ("a", "b,c", "d")}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ('"a', "not closed"),
        ('a"b', "not closed"),
        ('a"b"', "before opening"),
        ('"a"b', "after closing"),
        ('a,"', "not closed"),
    ],
)
def test_in_badly_quoted(text: str, missing: str) -> None:
    """What is wrong with the quotes is told."""
    with pytest.raises(Invalid, match=missing):
        parse(f"name=in:{text}")


def test_in_empty_texts() -> None:
    """Values may be empty, in quotes or not."""
    assert parse('name=in:,"",a,').any_of == {"name": ("", "", "a", "")}


def test_no_visibility() -> None:
    """An empty visibility is that of no image."""
    assert parse("visibility=").equal == {"visibility": ""}


def test_in_nothing() -> None:
    """An empty list of values finds nothing, which is not an error."""
    assert parse("status=in:").any_of == {"status": ()}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-31T10:00:00%2B01:00", datetime(2026, 1, 31, 9)),
        ("2026-01-31T10:00:00+01:00", datetime(2026, 1, 31, 9)),
        ("2026-01-31T23:00:00-01:30", datetime(2026, 2, 1, 0, 30)),
        ("2026-01-31T10:00:00%2B01", datetime(2026, 1, 31, 9)),
        ("2026-01-31T10:00:00.5Z", datetime(2026, 1, 31, 10, 0, 0, 500000)),
        ("2026-01-31T10:00:00,1234567Z", datetime(2026, 1, 31, 10, 0, 0, 123456)),
        ("2026-01-31 10:00", datetime(2026, 1, 31, 10)),
        ("2026-01-31T10", datetime(2026, 1, 31, 10)),
        ("20260131T100000Z", datetime(2026, 1, 31, 10)),
        ("2026-1-3", datetime(2026, 1, 3)),
        ("2026-02", datetime(2026, 2, 1)),
        ("2026", datetime(2026, 1, 1)),
    ],
)
def test_dates(text: str, time: datetime) -> None:
    """Dates with an operator, in any of the ISO 8601 forms that Glance reads, become naive UTC."""
    assert parse(f"created_at=gte:{text}").dates == (DateFilter("created_at", "gte", time),)


@pytest.mark.parametrize(
    "text",
    [
        "2026-W01",
        "2026-001x",
        "202601",
        "2026-13-01",
        "2026-02-30",
        "2026-01-01T24:00",
        "0000-01-01",
        "10000-01-01",
        "2026-01-01T10:00:60",
        "2026-01-01T10:00:00+1:00",
        "0001-01-01T00:00%2B05:00",
        "9999-12-31T23:00-05:00",
        "tomorrow",
    ],
)
def test_bad_dates(text: str) -> None:
    """What is no date, or none that can be told, is refused."""
    with pytest.raises(Invalid, match="ISO 8601"):
        parse(f"created_at=gte:{text}")


def test_other_names_are_properties() -> None:
    """A name that is no attribute is a custom property."""
    assert parse("os_distro=debian&tag=a&tag=b") == ImageQuery(
        limit=25, sort=BREAKERS, properties={"os_distro": "debian"}, tags=("a", "b")
    )


@pytest.mark.parametrize(
    "raw",
    [
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "limit=%D9%A1",
        "sort_key=foo",
        "sort_dir=up",
        "sort=name:up",
        "sort=name&sort_key=id",
        "sort_key=name&sort_dir=asc&sort_dir=asc",
        "name=neq:a",
        "name=a:b",
        'name=in:"a',
        'name=in:"a"b',
        "created_at=foo",
        "created_at=near:2026-01-01",
        "created_at=2026-13-01",
        "visibility=foo",
        "member_status=foo",
        "protected=True",
        "os_hidden=maybe",
        "size_min=x",
        "foo_min=1",
        "changes-since=1",
        "name=%FF",
        "name=a%00b",
    ],
)
def test_refused(raw: str) -> None:
    """What breaks a rule is invalid."""
    with pytest.raises(Invalid):
        parse(raw)


@given(st.lists(st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cs"])), min_size=1))
def test_quoting_round_trip(values: list[str]) -> None:
    """What is quoted is taken apart again as it was."""
    text = ",".join(f'"{value}"' for value in values)
    assert list(split_quoted(text)) == values
