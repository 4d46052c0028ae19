"""Reading one page of a list: what must be known to ask for it, and asking.

Lists without filters are asked for most, so their queries are made once for all that are alike (`Shape`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final

from attrs import frozen
from sqlalchemy import Boolean, Connection, Dialect, Integer, Select, bindparam, select

from glancetx.db.clues import FEW, clues_in, shared_with, size
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
    """What the text of a query without filters depends on: lists of the same shape differ in values only.

    *shared*: how many images are shared with the caller: 0, up to `FEW`, or more. *nulls*: where the image that the
    page begins behind has no value; None if it begins at the beginning.
    """

    is_admin: bool
    of_project: bool
    visibility: str | None
    any_status: bool
    shared: int
    sort: Sort
    nulls: frozenset[str] | None


def read_page(connection: Connection, sight: Sight, query: ImageQuery, *, few: bool) -> Sequence[Any]:
    """One page of the images a caller is shown: rows as `select_images` has them, perhaps not converted.

    :raises Invalid: if the marker is no image that he may see, or a filter, a visibility or a sort key is unknown.
    """
    sort = complete(query.sort)
    marker = None if query.marker is None else _find_marker(connection, sight, query.marker, sort)
    filters = (query.equal, query.any_of, query.minimum, query.maximum, query.dates, query.tags, query.properties)
    if any(filters):
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
    """How to ask for a page of a list without filters, and the values to ask with; None if there is nothing to see."""
    values = {
        "project": sight.project_id,
        "status": query.member_status,
        "hidden": query.os_hidden,
        "limit": query.limit,
        **{f"behind_{key}": value for key, value in (marker or {}).items()},
    }
    any_status, shared = query.member_status == "all", 0
    if not sight.is_admin and sight.project_id is not None and query.visibility in (None, "all", "shared"):
        (shared,) = _shared(connection.dialect, any_status).first(connection, values)
    shape = Shape(
        is_admin=sight.is_admin,
        of_project=sight.project_id is not None,
        visibility=query.visibility,
        any_status=any_status,
        shared=shared if shared in (0, FEW + 1) else FEW,
        sort=sort,
        nulls=None if marker is None else frozenset(key for key, value in marker.items() if value is None),
    )
    return _page(connection.dialect, shape, few=few), values


@cache
def _shared(dialect: Dialect, any_status: bool) -> Prepared:
    """How many images are shared with a project."""
    clue = shared_with(bindparam("project", None), "all" if any_status else bindparam("status", None))
    return prepare_query(select(size(clue)), dialect)


@lru_cache(CACHED)
def _page(dialect: Dialect, shape: Shape, *, few: bool) -> Prepared | None:
    """The query of all lists of a shape; None if there is nothing to be seen."""
    project: Any = bindparam("project", None) if shape.of_project else None
    shown = shares(shape.is_admin, project, shape.visibility, "all" if shape.any_status else bindparam("status", None))
    limit: Any = bindparam("limit", None, Integer)
    hidden: Any = bindparam("hidden", None, Boolean)
    marker = None if shape.nulls is None else _names(shape.sort, shape.nulls)
    known = {share.clue: shape.shared for share in shown if share.clue}
    pieces = Pieces(dialect, ImageQuery(limit=limit, os_hidden=hidden), shape.sort, marker, [], known, few)
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
