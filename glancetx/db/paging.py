"""Pages that begin behind a row: its values in the order of the sort keys are all that is needed to find them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, false, or_

Condition = ColumnElement[bool]
Sort = tuple[tuple[str, str], ...]
"""Columns with their directions, ``asc`` or ``desc``; no two rows are equal in all of them."""


def ordering(table: Table, sort: Sort) -> list[ColumnElement[Any]]:
    """The terms of ORDER BY."""
    return [table.c[key].asc() if direction == "asc" else table.c[key].desc() for key, direction in sort]


def behind(table: Table, sort: Sort, marker: Mapping[str, Any], *, small_nulls: bool) -> Condition:
    """Behind the row whose values are *marker*.

    *small_nulls*: whether the database sorts NULL before every value, and not behind it. The first key's bound is said
    twice, on its own, so that an index on it can be entered at the marker.
    """
    steps: list[Condition] = []
    same: list[Condition] = []
    for key, direction in sort:
        column, value = table.c[key], marker[key]
        steps.append(and_(*same, _beyond(column, value, direction, small_nulls=small_nulls)))
        same.append(_same(column, value))
    key, direction = sort[0]
    column, value = table.c[key], marker[key]
    first = or_(_same(column, value), _beyond(column, value, direction, small_nulls=small_nulls))
    return and_(first, or_(*steps))


def _same(column: ColumnElement[Any], value: Any) -> Condition:
    return column.is_(None) if value is None else column == value


def _beyond(column: ColumnElement[Any], value: Any, direction: str, *, small_nulls: bool) -> Condition:
    """After *value*: NULL is one end of the order, and nothing is beyond it in its own direction."""
    nulls_follow = small_nulls == (direction == "desc")
    if value is None:
        return false() if nulls_follow else column.is_not(None)
    beyond = column > value if direction == "asc" else column < value
    may_be_null = getattr(column, "nullable", True)
    return or_(beyond, column.is_(None)) if nulls_follow and may_be_null else beyond
