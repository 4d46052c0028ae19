"""Pages that begin behind a row: its values in the order of the sort keys are all that is needed to find them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    Boolean,
    ColumnElement,
    CompoundSelect,
    Dialect,
    FromClause,
    Select,
    Table,
    and_,
    bindparam,
    false,
    or_,
    tuple_,
)
from sqlalchemy.sql.operators import gt, lt

from glancetx.db.dialects import enters_by_rows, nulls_are_smallest

Condition = ColumnElement[bool]
Sort = tuple[tuple[str, str], ...]
"""Columns with their directions, ``asc`` or ``desc``; no two rows are equal in all of them."""


def ordering(table: FromClause | CompoundSelect[Any] | Select[Any], sort: Sort) -> list[ColumnElement[Any]]:
    """The terms of ORDER BY."""
    columns = table.selected_columns if isinstance(table, (CompoundSelect, Select)) else table.c
    return [columns[key].asc() if direction == "asc" else columns[key].desc() for key, direction in sort]


def behind(table: Table, sort: Sort, marker: Mapping[str, Any], dialect: Dialect) -> Condition:
    """Behind the row whose values are *marker*.

    The first key's bound is said twice, on its own, so that an index on it can be entered at the marker.
    """
    small_nulls = nulls_are_smallest(dialect)
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


def stretches(table: Table, sort: Sort, marker: Mapping[str, Any], dialect: Dialect) -> list[tuple[Condition, Sort]]:
    """As `behind`, in pieces that follow each other, each with its order.

    Each is one range of an index that has just the order *sort*.
    """
    columns = [table.c[key] for key, _ in sort]
    if not _is_plain(columns, sort):
        return [(behind(table, sort, marker, dialect), sort)]
    direction, column, value = sort[0][1], columns[0], marker[sort[0][0]]
    nulls_follow = nulls_are_smallest(dialect) == (direction == "desc")
    # What is NULL is all the same; MariaDB sorts by it even so. PostgreSQL would take an index that begins further on.
    within = sort if enters_by_rows(dialect) else sort[1:]
    if value is None:
        equals = and_(column.is_(None), _further(columns[1:], marker, direction, dialect))
        return [(equals, within)] if nulls_follow else [(equals, within), (column.is_not(None), sort)]
    further = _further(columns, marker, direction, dialect)
    nulls = [(column.is_(None), within)] if nulls_follow and column.nullable else []
    return [(further, sort), *nulls]


def _is_plain(columns: Sequence[Any], sort: Sort) -> bool:
    """Whether all go in one direction, and only the first may be NULL."""
    return len({direction for _, direction in sort}) == 1 and not any(column.nullable for column in columns[1:])


def _further(columns: Sequence[Any], marker: Mapping[str, Any], direction: str, dialect: Dialect) -> Condition:
    """Behind *marker*, which has a value in each of *columns*; what has NULL in the first is not behind it."""
    values = [marker[column.name] for column in columns]
    if enters_by_rows(dialect) and len(columns) > 1:
        row = tuple_(*(_typed(column, value) for column, value in zip(columns, values, strict=True)))
        # Put together by hand: SQLAlchemy's operators take the named parameters of a row for its values.
        return BinaryExpression(tuple_(*columns), row, gt if direction == "asc" else lt, type_=Boolean())
    found: Condition | None = None  # not "or false", with which SQLite does not enter an index at the marker
    for column, value in zip(reversed(columns), reversed(values), strict=True):
        beyond = column > value if direction == "asc" else column < value
        found = beyond if found is None else or_(beyond, and_(column == value, found))
    return false() if found is None else found


def _typed(column: ColumnElement[Any], value: Any) -> BindParameter[Any]:
    return value if isinstance(value, BindParameter) else bindparam(None, value, column.type, unique=True)


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
