"""Reading one page of a list: what must be known to ask for it, and asking.

Tags and properties may lead to a few images or to nearly all, so there are two ways: all that one of them leads to are
sorted, or images are asked in their order. What the second takes nobody knows before: a tag may be on old images only,
or on few. So it has a bound; if the page is not found within it, the first may take somewhat more, and so on in turns.
In the end both have taken a few times what the better of them takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Dialect, bindparam, select

from glancetx.db.clues import FEW, too_wide
from glancetx.db.dialects import alive
from glancetx.db.filtered import Filtered
from glancetx.db.filters import complete, visible_by_id
from glancetx.db.page import Page
from glancetx.db.paging import Sort
from glancetx.db.pieces import Marker
from glancetx.db.plain import CACHED, Plain
from glancetx.db.prepared import Prepared, prepare_query
from glancetx.db.schema import images
from glancetx.db.shares import Sight, check_visibility
from glancetx.domain.errors import Invalid
from glancetx.domain.query import ImageQuery

TRIED: Final = 40
"""So many images are asked at first for each one that is wanted."""
TURN: Final = 4
"""How many times as much each way may take as the other one did in vain."""


def read_page(connection: Connection, sight: Sight, query: ImageQuery, *, few: bool) -> Sequence[Any]:
    """One page of the images a caller is shown: rows as `select_images` has them, perhaps not converted.

    :raises Invalid: if the marker is no image that he may see, or a filter, a visibility or a sort key is unknown.
    """
    check_visibility(query.visibility)
    sort = complete(query.sort)
    marker = None if query.marker is None else _find_marker(connection, sight, query.marker, sort)
    filters = (query.equal, query.any_of, query.minimum, query.maximum, query.dates)
    kind = Filtered if any(filters) or too_wide(query) else Plain
    return _find(kind(connection, sight, query, sort, marker, few), query.limit)


def _find(page: Page, limit: int) -> Sequence[Any]:
    most, bound = FEW, TRIED * max(1, limit)
    while sizes := page.sizes(most):
        least = min(sizes)
        if least <= most:
            return page.rows(followed=sizes.index(least)) or () if least else ()
        rows = page.rows(bound=bound)
        # By half, since some may go meanwhile.
        if rows is not None and (len(rows) == limit or page.ends_within(bound // 2)):
            return rows
        most, bound = TURN * bound, TURN**2 * bound
    return page.rows() or ()


def _find_marker(connection: Connection, sight: Sight, marker: str, sort: Sort) -> Marker:
    keys = tuple(key for key, _ in sort)
    found = _marker(connection.dialect, sight.is_admin, keys)
    row = found.first(connection, {"wanted": marker, "project": sight.project_id})
    if row is None:
        raise Invalid(f"No image found with ID {marker}")
    return dict(zip(keys, row, strict=True))


@lru_cache(CACHED)
def _marker(dialect: Dialect, is_admin: bool, keys: tuple[str, ...]) -> Prepared:
    """The sort values of an image, if the caller may see it (A-041); an administrator's may be deleted meanwhile."""
    found = select(*(images.c[key] for key in keys)).where(images.c.id == bindparam("wanted", None))
    visible = found.where(alive(images), visible_by_id(bindparam("project", None)))
    return prepare_query(found if is_admin else visible, dialect)
