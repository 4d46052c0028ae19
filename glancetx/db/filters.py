"""Which images, and in which order: visibility, filters, sorting and paging as SQL (api.md, sections 2.3 and 2.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final, cast

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    Integer,
    and_,
    exists,
    false,
    or_,
    select,
)

from glancetx.db.dialects import alive, exactly
from glancetx.db.paging import Condition, Sort
from glancetx.db.schema import image_members, images
from glancetx.domain.errors import Invalid
from glancetx.domain.query import SORT_KEYS, DateFilter, ImageQuery
from glancetx.domain.text import is_wide

_PRIVATE: Final = ("deleted", "deleted_at")

OPERATORS: Final[Mapping[str, Callable[[Any, Any], Condition]]] = {
    "eq": eq,
    "neq": ne,
    "gt": gt,
    "gte": ge,
    "lt": lt,
    "lte": le,
}


def visible_by_id(project: str | BindParameter[Any] | None) -> Condition:
    """What a caller of *project* who is no admin may see when it knows the id (A-095)."""
    return or_(
        images.c.owner.is_(None),
        images.c.visibility.in_(("public", "community")),
        exactly(images.c.owner, project),
        and_(images.c.visibility == "shared", _is_member(project)),
    )


def _is_member(project: str | BindParameter[Any] | None) -> Condition:
    return exists(
        select(image_members.c.id).where(
            image_members.c.image_id == images.c.id, exactly(image_members.c.member, project), alive(image_members)
        )
    )


def matching(query: ImageQuery) -> Iterator[Condition]:
    """The conditions of the filters on what stands in the image's own row.

    :raises Invalid: if one names no column of an image.
    """
    for name, value in query.equal.items():
        yield _equal(_column(name), value)
    for name, values in query.any_of.items():
        yield or_(false(), *(_equal(_column(name), value) for value in values))
    for name, number in query.minimum.items():
        yield _in_range(_number_column(name), ge, number)
    for name, number in query.maximum.items():
        yield _in_range(_number_column(name), le, number)
    for date in query.dates:
        yield _compare(date)


def _compare(date: DateFilter) -> Condition:
    if date.operator not in OPERATORS:
        raise Invalid(f"Dates cannot be compared by {date.operator}")
    return OPERATORS[date.operator](_column(date.column), date.value)


def _column(name: str) -> ColumnElement[Any]:
    if name not in images.c or name in _PRIVATE:
        raise Invalid(f"Images cannot be filtered by {name}")
    return images.c[name]


def _number_column(name: str) -> ColumnElement[Any]:
    column = _column(name)
    if not isinstance(column.type, Integer):
        raise Invalid(f"Images cannot be filtered by a range of {name}")
    return column


def _in_range(column: ColumnElement[Any], operator: Callable[[Any, Any], Condition], bound: int) -> Condition:
    """The bound may be what no column can hold, which not every database likes to compare with."""
    largest = _largest(column)
    if -largest <= bound <= largest:
        return operator(column, bound)
    return column.is_not(None) if operator(0, bound) else false()


def _largest(column: ColumnElement[Any]) -> int:
    return 2**63 - 1 if isinstance(column.type, BigInteger) else 2**31 - 1


def _equal(column: ColumnElement[Any], value: Any) -> Condition:
    """Equality; a text that is no number equals no number (A-053), whatever the database would say."""
    if isinstance(column.type, Integer):
        try:
            value = int(value)
        except ValueError:
            return false()
        if abs(value) > _largest(column):
            return false()
    if isinstance(column.type, Boolean) and not isinstance(value, bool):
        raise Invalid(f"{value!r} is neither true nor false")
    if isinstance(value, str) and is_wide(value):
        return false()
    return cast(Condition, column == value)


def complete(sort: Sort) -> Sort:
    """*sort* without keys that decide nothing any more, and such that no two images are equal under it.

    :raises Invalid: if a key or a direction is unknown.
    """
    directions: dict[str, str] = {}
    for key, direction in sort:
        if key not in SORT_KEYS or direction not in ("asc", "desc"):
            raise Invalid(f"Images cannot be sorted by {key}:{direction}")
        if "id" not in directions:
            directions.setdefault(key, direction)
    directions.setdefault("id", sort[-1][1] if sort else "desc")
    return tuple(directions.items())
