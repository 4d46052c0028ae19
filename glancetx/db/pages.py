"""Reading one page of a list: what must be known to ask for it, and asking.

Lists without filters, or by tags and properties, are asked for most, so their queries are made once for all that are
alike (`Shape`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from attrs import frozen
from sqlalchemy import Boolean, Connection, Dialect, Integer, Select, bindparam, literal_column, select

from glancetx.db.clues import FEW, clue_values, clues_in, named_clues, shared_with, size
from glancetx.db.dialects import alive
from glancetx.db.filters import complete, visible_by_id
from glancetx.db.paging import Sort
from glancetx.db.pieces import Marker, Pieces
from glancetx.db.prepared import Prepared, prepare_query
from glancetx.db.rows import moment
from glancetx.db.schema import images
from glancetx.db.shares import Sight, shares
from glancetx.domain.errors import Invalid
from glancetx.domain.query import ImageQuery

CACHED: Final = 256
"""Queries that are kept; callers may ask for any sort keys."""
TIMES: Final = ("created_at", "updated_at")


@frozen
class Shape:
    """What the text of a query depends on that has no other filters than tags and properties.

    Lists of the same shape differ in values only.

    *shared*: how many images are shared with the caller: 0, up to `FEW`, or more. *tags*, *properties*: how many are
    asked for; *sizes*: to how many images each leads, likewise, as far as it matters: the one that leads to the fewest.
    *nulls*: where the image that the page begins behind has no value; None if it begins at the beginning.
    """

    is_admin: bool
    of_project: bool
    visibility: str | None
    any_status: bool
    shared: int
    tags: int
    properties: int
    sizes: tuple[int, ...]
    sort: Sort
    nulls: frozenset[str] | None


def read_page(connection: Connection, sight: Sight, query: ImageQuery, *, few: bool) -> Sequence[Any]:
    """One page of the images a caller is shown: rows as `select_images` has them, perhaps not converted.

    :raises Invalid: if the marker is no image that he may see, or a filter, a visibility or a sort key is unknown.
    """
    sort = complete(query.sort)
    marker = None if query.marker is None else _find_marker(connection, sight, query.marker, sort)
    filters = (query.equal, query.any_of, query.minimum, query.maximum, query.dates)
    if any(filters) or clue_values(query) is None:
        page = filtered_page(connection, sight, query, sort, marker, few=few)
        return connection.execute(page).all() if page is not None else ()
    plain, values = plain_page(connection, sight, query, sort, marker, few=few)
    return plain.all(connection, values) if plain is not None else ()


def _find_marker(connection: Connection, sight: Sight, marker: str, sort: Sort) -> Marker:
    keys = tuple(key for key, _ in sort)
    found = _marker(connection.dialect, sight.is_admin, keys)
    row = found.first(connection, {"wanted": marker, "project": sight.project_id})
    if row is None:
        raise Invalid(f"No image found with ID {marker}")
    return dict(zip(keys, row, strict=True))


@lru_cache(CACHED)
def _marker(dialect: Dialect, is_admin: bool, keys: tuple[str, ...]) -> Prepared:
    """The sort values of an image, if the caller may see it (A-041)."""
    found = select(*(images.c[key] for key in keys)).where(images.c.id == bindparam("wanted", None), alive(images))
    return prepare_query(found if is_admin else found.where(visible_by_id(bindparam("project", None))), dialect)


def plain_page(
    connection: Connection, sight: Sight, query: ImageQuery, sort: Sort, marker: Marker | None, *, few: bool
) -> tuple[Prepared | None, Mapping[str, Any]]:
    """How to ask for a page of a list, and the values to ask with; None if there is nothing to see.

    It may be filtered by tags and properties that have `clue_values`.
    """
    values = {
        **(clue_values(query) or {}),
        "project": sight.project_id,
        "status": query.member_status,
        "hidden": query.os_hidden,
        "limit": query.limit,
        **{f"behind_{key}": value for key, value in (marker or {}).items()},
    }
    any_status, shared, sizes = query.member_status == "all", 0, []
    tags, properties = len(query.tags), len(query.properties)
    to_us = not sight.is_admin and sight.project_id is not None and query.visibility in (None, "all", "shared")
    if to_us or tags or properties:
        shared, *sizes = _sizes(connection.dialect, to_us, any_status, tags, properties).first(connection, values)
    shape = Shape(
        is_admin=sight.is_admin,
        of_project=sight.project_id is not None,
        visibility=query.visibility,
        any_status=any_status,
        shared=_rough(shared),
        tags=tags,
        properties=properties,
        sizes=_least(sizes),
        sort=sort,
        nulls=None if marker is None else frozenset(key for key, value in marker.items() if value is None),
    )
    return _page(connection.dialect, shape, few=few), values


def _rough(size: int) -> int:
    return size if size in (0, FEW + 1) else FEW


def _least(sizes: Sequence[int]) -> tuple[int, ...]:
    """*sizes*, roughly, all but the first of the least ones taken to be large."""
    best = min(range(len(sizes)), key=sizes.__getitem__, default=None)
    return tuple(_rough(size) if place == best else FEW + 1 for place, size in enumerate(sizes))


@lru_cache(CACHED)
def _sizes(dialect: Dialect, to_us: bool, any_status: bool, tags: int, properties: int) -> Prepared:
    """How many images are shared with a project, if *to_us*, and how many each tag and property leads to."""
    clue = shared_with(bindparam("project", None), "all" if any_status else bindparam("status", None))
    shared = size(clue) if to_us else literal_column("0")
    counts: list[Any] = [shared, *map(size, named_clues(tags, properties))]
    return prepare_query(select(*counts), dialect)


@lru_cache(CACHED)
def _page(dialect: Dialect, shape: Shape, *, few: bool) -> Prepared | None:
    """The query of all lists of a shape; None if there is nothing to be seen."""
    project: Any = bindparam("project", None) if shape.of_project else None
    shown = shares(shape.is_admin, project, shape.visibility, "all" if shape.any_status else bindparam("status", None))
    limit: Any = bindparam("limit", None, Integer)
    hidden: Any = bindparam("hidden", None, Boolean)
    marker = None if shape.nulls is None else _names(shape.sort, shape.nulls)
    clues = list(named_clues(shape.tags, shape.properties))
    known = {share.clue: shape.shared for share in shown if share.clue} | dict(zip(clues, shape.sizes, strict=True))
    pieces = Pieces(dialect, ImageQuery(limit=limit, os_hidden=hidden), shape.sort, marker, clues, known, few)
    page = pieces.of(shown)
    return prepare_query(page, dialect) if page is not None else None


def _names(sort: Sort, nulls: frozenset[str]) -> Marker:
    named = {key: bindparam(f"behind_{key}", None, images.c[key].type) for key, _ in sort}
    return {key: None if key in nulls else value for key, value in named.items()}


def filtered_page(
    connection: Connection, sight: Sight, query: ImageQuery, sort: Sort, marker: Marker | None, *, few: bool
) -> Select[Any] | None:
    """The query of a page of a list with filters; None if nothing matches."""
    shown = shares(sight.is_admin, sight.project_id, query.visibility, query.member_status)
    clues = list(clues_in(query))
    counted = [*clues, *(share.clue for share in shown if share.clue)]
    known = dict(zip(counted, connection.execute(select(*map(size, counted))).one(), strict=True)) if counted else {}
    behind = marker and {key: moment(value) if value and key in TIMES else value for key, value in marker.items()}
    return Pieces(connection.dialect, query, sort, behind, clues, known, few).of(shown)
