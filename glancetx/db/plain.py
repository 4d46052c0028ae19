"""A page of a list without filters, or by tags and properties only.

These are asked for most, so their queries are made once for all that are alike (`Shape`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from attrs import define, evolve, field, frozen
from sqlalchemy import Boolean, Dialect, Integer, bindparam, literal_column, select

from glancetx.db.clues import FEW, clue_values, named_clues, shared_with, size
from glancetx.db.dialects import stops_within
from glancetx.db.page import Page
from glancetx.db.paging import Sort
from glancetx.db.pieces import Marker, Pieces, bounds
from glancetx.db.prepared import Prepared, prepare_query
from glancetx.db.schema import images
from glancetx.db.shares import Share, shares
from glancetx.domain.query import ImageQuery

CACHED: Final = 256
"""Queries that are kept; callers may ask for any sort keys."""


@frozen
class Shape:
    """What the text of a query depends on. Lists of the same shape differ in values only.

    *shared*: how many images are shared with the caller: 0, up to `FEW`, or more. *tags*, *properties*: how many are
    asked for, and which of them is *followed*. *nulls*: where the image that the page begins behind has no value; None
    if it begins at the beginning.
    """

    is_admin: bool
    of_project: bool
    visibility: str | None
    any_status: bool
    tags: int
    properties: int
    sort: Sort
    nulls: frozenset[str] | None
    shared: int = 0
    followed: int | None = None
    bounded: bool = False


@define
class Plain(Page):
    """Tags and properties of the query are not `too_wide`."""

    _values: dict[str, Any] = field(init=False)
    _shape: Shape = field(init=False)

    def __attrs_post_init__(self) -> None:
        sight, query, marker = self._sight, self._query, self._marker
        self._values = {
            **clue_values(query),
            "project": sight.project_id,
            "status": query.member_status,
            "hidden": query.os_hidden,
            "limit": query.limit,
            **{f"behind_{key}": value for key, value in (marker or {}).items()},
        }
        self._shape = Shape(
            is_admin=sight.is_admin,
            of_project=sight.project_id is not None,
            visibility=query.visibility,
            any_status=query.member_status == "all",
            tags=len(query.tags),
            properties=len(query.properties),
            sort=self._sort,
            nulls=None if marker is None else frozenset(key for key, value in marker.items() if value is None),
        )

    def sizes(self, most: int) -> Sequence[int]:
        shape = self._shape
        of_others = not shape.is_admin and shape.of_project and shape.visibility in (None, "all", "shared")
        asks = of_others and self._shared is None
        if not (asks or shape.tags or shape.properties):
            return ()
        counts = _sizes(self._connection.dialect, asks, shape.any_status, shape.tags, shape.properties)
        sizes: list[int]
        shared, *sizes = counts.first(self._connection, {**self._values, "most": most + 1})
        if self._shared is None:
            self._shared = shared
        return sizes

    def rows(self, *, followed: int | None = None, bound: int | None = None) -> Sequence[Any] | None:
        query = self.query(followed=followed, bounded=bound is not None)
        if query is None:
            return ()
        read = query.all if bound is None else query.bounded
        return read(self._connection, self.values(bound))

    def ends_within(self, count: int) -> bool:
        query = _walked(self._connection.dialect, self._shaped(None, bounded=True))
        if query is None or not stops_within(self._connection.dialect):
            return True
        return int(query.first(self._connection, self.values(count + 1))[0]) <= count

    def query(self, *, followed: int | None = None, bounded: bool = False) -> Prepared | None:
        """That of the page; None if there is nothing to be seen."""
        return _page(self._connection.dialect, self._shaped(followed, bounded=bounded), few=self._few)

    def values(self, bound: int | None = None) -> dict[str, Any]:
        """What the query is given."""
        return self._values if bound is None else {**self._values, **bounds(bound, self._query.limit)}

    def _shaped(self, followed: int | None, *, bounded: bool) -> Shape:
        shared = self._shared or 0
        rough = shared if shared in (0, FEW + 1) else FEW
        return evolve(self._shape, shared=rough, followed=followed, bounded=bounded)


@lru_cache(CACHED)
def _sizes(dialect: Dialect, to_us: bool, any_status: bool, tags: int, properties: int) -> Prepared:
    """How many images are shared with a project, if *to_us*, and how many each tag and property leads to."""
    clue = shared_with(bindparam("project", None), "all" if any_status else bindparam("status", None))
    shared = size(clue) if to_us else literal_column("0")
    most = bindparam("most", None, Integer)
    counts: list[Any] = [shared, *(size(each, most) for each in named_clues(tags, properties))]
    return prepare_query(select(*counts), dialect)


@lru_cache(CACHED)
def _page(dialect: Dialect, shape: Shape, *, few: bool) -> Prepared | None:
    pieces, shown = _pieces(dialect, shape, few=few)
    page = pieces.of(shown)
    return prepare_query(page, dialect) if page is not None else None


@lru_cache(CACHED)
def _walked(dialect: Dialect, shape: Shape) -> Prepared | None:
    pieces, shown = _pieces(dialect, shape, few=True)
    count = pieces.walked(shown)
    return prepare_query(count, dialect) if count is not None else None


def _pieces(dialect: Dialect, shape: Shape, *, few: bool) -> tuple[Pieces, list[Share]]:
    project: Any = bindparam("project", None) if shape.of_project else None
    shown = shares(shape.is_admin, project, shape.visibility, "all" if shape.any_status else bindparam("status", None))
    limit: Any = bindparam("limit", None, Integer)
    hidden: Any = bindparam("hidden", None, Boolean)
    marker = None if shape.nulls is None else _names(shape.sort, shape.nulls)
    clues = list(named_clues(shape.tags, shape.properties))
    followed = None if shape.followed is None else clues[shape.followed]
    asked = ImageQuery(limit=limit, os_hidden=hidden)
    return Pieces(dialect, asked, shape.sort, marker, clues, followed, shape.shared, few, shape.bounded), shown


def _names(sort: Sort, nulls: frozenset[str]) -> Marker:
    named = {key: bindparam(f"behind_{key}", None, images.c[key].type) for key, _ in sort}
    return {key: None if key in nulls else value for key, value in named.items()}
