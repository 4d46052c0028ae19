"""One page of a list, as a query that reads little more than the page, however many images there are.

Indexes of ours lead through the images of each visibility and of each owner in every order that can be asked for; so
the first of each `Share` are taken from there, as many as the page has, and of these the first. If a filter leads to a
few images only (`clues`), these are sorted instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from sqlalchemy import Dialect, Select, false, or_, select, true, union

from glancetx.db.clues import FEW, Clue
from glancetx.db.dialects import alive, unindexed
from glancetx.db.filters import matching
from glancetx.db.paging import Condition, Sort, behind, ordering, stretches
from glancetx.db.rows import select_images
from glancetx.db.schema import images
from glancetx.db.shares import Share
from glancetx.domain.query import ImageQuery

Marker = Mapping[str, Any]
"""The sort values of an image."""
BY_AGE: Final = ("created_at", "id")
ORDERS: Final = {BY_AGE, ("id",), *((key, *BY_AGE) for key in ("updated_at", "name", "size", "status"))}
"""Those that there are indexes for."""
SELECTIVE: Final = frozenset({"id", "checksum", "os_hash_value"})
"""Columns that have an index of Glance's, by which few images are found."""


@frozen(eq=False)
class Pieces:
    """The queries that a page is put together from: each has the ids and sort values of the first of its images.

    *marker* has the sort values of the image that the page begins behind; *sizes* tells how much each clue leads to.
    *few* is what `select_images` wants to know.
    """

    dialect: Dialect
    query: ImageQuery
    sort: Sort
    marker: Marker | None
    clues: list[Clue]
    sizes: Mapping[Clue, int]
    few: bool

    def of(self, shown: Sequence[Share]) -> Select[Any] | None:
        """The page of what is *shown* and matches the query; None if there is nothing."""
        pieces = list(self._all(shown))
        if not pieces:
            return None
        if len(pieces) == 1:
            page = pieces[0].subquery("page")
        else:  # an image may be in several
            every = union(*(select(piece.subquery()) for piece in pieces))
            page = every.order_by(*ordering(every, self.sort)).limit(self.query.limit).subquery("page")
        found = select_images(self.dialect, few=self.few).select_from(page.join(images, page.c.id == images.c.id))
        # By the page's columns and this way round: MariaDB sorts ids then, and no rows with long texts in files.
        return found.prefix_with("STRAIGHT_JOIN", dialect="mysql").order_by(*ordering(page, self.sort))

    def _all(self, shown: Sequence[Share]) -> Iterator[Select[Any]]:
        best = min(self.clues, key=self.sizes.__getitem__, default=None)
        if best is not None and self.sizes[best] <= FEW:
            yield from self._follow(best, [_among(shown)])
        elif "owner" in self.query.equal:
            yield from self._walk([_among(shown)], "owner")
        else:
            for share in shown:
                yield from self._share(share)

    def _share(self, share: Share) -> Iterator[Select[Any]]:
        if share.clue is None:
            return self._walk(share.conditions(), share.first)
        if self.sizes[share.clue] <= FEW:
            return self._follow(share.clue, [share.holds(followed=share.clue)])
        return self._walk([*share.conditions(), share.clue.holds()], share.first)

    def _walk(self, conditions: list[Condition], first: str) -> Iterator[Select[Any]]:
        """By an index whose *first* column is asked for, from the marker on."""
        living = (images.c.deleted == false(), images.c.os_hidden == self.query.os_hidden)
        filters = [*conditions, *living, *self._filters(self.clues)]
        whole = [(true(), self.sort)]
        pieces = whole if self.marker is None else stretches(images, self.sort, self.marker, self.dialect)
        for piece, order in pieces:
            yield self._first(self._hint(self._columns(), first).where(*filters, piece), order)

    def _follow(self, clue: Clue, conditions: list[Condition]) -> Iterator[Select[Any]]:
        """The images that *clue* leads to, if it leads to any."""
        if self.sizes[clue] == 0:
            return
        living = (alive(images), unindexed(images.c.os_hidden) == self.query.os_hidden)
        filters = [*conditions, *living, *self._filters([other for other in self.clues if other is not clue])]
        if self.marker is not None:
            filters.append(behind(images, self.sort, self.marker, self.dialect))
        found = clue.found().distinct().subquery("found")
        # MariaDB takes the tables as they come then.
        columns = self._columns().select_from(found.join(images, images.c.id == found.c.image_id))
        yield self._first(columns.where(*filters).prefix_with("STRAIGHT_JOIN", dialect="mysql"), self.sort)

    def _hint(self, rows: Select[Any], first: str) -> Select[Any]:
        """MariaDB often takes another index, by which it would read all images in the end."""
        index = index_for(self.query, self.sort)
        return rows.with_hint(images, f"FORCE INDEX (glancetx_{first}_{index})", "mysql") if index else rows

    def _filters(self, clues: Sequence[Clue]) -> list[Condition]:
        return [images.c.status != "killed", *matching(self.query), *(clue.holds() for clue in clues)]

    def _columns(self) -> Select[Any]:
        return select(images.c.id, *(images.c[key] for key, _ in self.sort if key != "id"))

    def _first(self, rows: Select[Any], order: Sort) -> Select[Any]:
        return rows.order_by(*ordering(images, order)).limit(self.query.limit)


def _among(shown: Sequence[Share]) -> Condition:
    return or_(false(), *(share.holds() for share in shown))


def index_for(query: ImageQuery, sort: Sort) -> str | None:
    """What an index of ours should go on with; None if the database is to find out which is best."""
    ranges = (query.dates, query.minimum, query.maximum, query.any_of)
    if any(ranges) or not query.equal.keys().isdisjoint(SELECTIVE):
        return None
    keys = tuple(key for key, _ in sort)
    orderly = keys in ORDERS and len({direction for _, direction in sort}) == 1
    for column in ("name", "size"):
        if column in query.equal:
            return column
    if "status" in query.equal and orderly and keys == BY_AGE:
        return "status"
    return keys[0] if orderly else None
