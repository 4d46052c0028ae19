"""One page of a list, as a query that reads little more than the page, however many images there are.

Indexes of ours lead through the images of each visibility, and of each owner, in the orders that are asked for; so the
first of each `Share` are taken from there, as many as the page has, and of these the first. If a filter leads to a few
images only (`clues`), these are sorted instead; so are all of an owner, where the order is one that few ask for: each
index costs every change of an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from sqlalchemy import CompoundSelect, Dialect, FromClause, Select, false, or_, select, true, union, union_all

from glancetx.db.clues import FEW, Clue
from glancetx.db.dialects import alive, merges_distinct, merges_unions, prefers_joins, unindexed
from glancetx.db.filters import matching
from glancetx.db.paging import Condition, Sort, behind, ordering, stretches
from glancetx.db.rows import select_images
from glancetx.db.schema import images
from glancetx.db.shares import Share
from glancetx.domain.query import ImageQuery

Marker = Mapping[str, Any]
"""The sort values of an image."""
BY_AGE: Final = ("created_at", "id")
ORDERS: Final = {BY_AGE, *((key, *BY_AGE) for key in ("updated_at", "name", "size", "status"))}
"""Those that there are indexes for."""
OWNED: Final = ("created_at", "name")
"""What the indexes of an owner's images may go on with."""
NEARLY_ALL: Final = frozenset({"public", "private", "shared"})
"""Of images that have one of these visibilities there are so many that one may look at all for the first few."""
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
        page = (pieces[0] if len(pieces) == 1 else self._united(pieces)).subquery("page")
        found = select_images(self.dialect, few=self.few).select_from(page.join(images, page.c.id == images.c.id))
        # By the page's columns and this way round: MariaDB sorts ids then, and no rows with long texts in files.
        return found.prefix_with("STRAIGHT_JOIN", dialect="mysql").order_by(*ordering(page, self.sort))

    def _united(self, pieces: Sequence[Select[Any]]) -> CompoundSelect[Any] | Select[Any]:
        """The first of all *pieces*; an image may be in several."""
        every: CompoundSelect[Any] | Select[Any]
        if merges_unions(self.dialect):
            every = union(*(piece.order_by(None).limit(None) for piece in pieces))
        elif merges_distinct(self.dialect):
            every = select(union_all(*(select(piece.subquery()) for piece in pieces)).subquery()).distinct()
        else:
            every = union(*(select(piece.subquery()) for piece in pieces))
        return every.order_by(*ordering(every, self.sort)).limit(self.query.limit)

    def _all(self, shown: Sequence[Share]) -> Iterator[Select[Any]]:
        best = min(self.clues, key=self.sizes.__getitem__, default=None)
        if best is not None and self.sizes[best] <= FEW:
            yield from self._follow(best, [_among(shown)])
        elif "owner" in self.query.equal:
            yield from self._walk([_among(shown)], "owner")
        elif self.sort[0][0] == "id" and not self.query.equal and _is_known(self.query) and _nearly_all(shown):
            yield from self._go_through([_among(shown)])
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
        index = index_for(self.query, self.sort, first)
        yield from self._in_order([*conditions, *living], index and f"glancetx_{first}_{index}")

    def _go_through(self, conditions: list[Condition]) -> Iterator[Select[Any]]:
        """By the primary key: all that there is in the order of ids, deleted or not."""
        living = (alive(images), unindexed(images.c.os_hidden) == self.query.os_hidden)
        yield from self._in_order([*conditions, *living], "PRIMARY")

    def _in_order(self, conditions: list[Condition], index: str | None) -> Iterator[Select[Any]]:
        """From the marker on, by *index*; MariaDB often takes another one, by which it would read all in the end."""
        joins = index is not None and bool(self.clues) and prefers_joins(self.dialect)
        rows = self._joined() if joins else self._columns().where(*self._filters(self.clues))
        if index is not None:
            rows = rows.with_hint(images, f"FORCE INDEX ({index})", "mysql")
        whole = [(true(), self.sort)]
        pieces = whole if self.marker is None else stretches(images, self.sort, self.marker, self.dialect)
        for piece, order in pieces:
            found = self._first(rows.where(*conditions, piece), order)
            yield found.group_by(*(images.c[key] for key, _ in order)) if joins else found

    def _joined(self) -> Select[Any]:
        """What matches, by joins. Only what all clues lead to is looked up beside the index, which has no status."""
        own = images.alias("own")
        joined: FromClause = images
        for clue in self.clues:
            joined = clue.joined(joined)
        joined = joined.join(own, own.c.id == images.c.id)
        rows = self._columns().select_from(joined).where(own.c.status != "killed", *matching(self.query))
        return rows.prefix_with("STRAIGHT_JOIN", dialect="mysql")

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

    def _filters(self, clues: Sequence[Clue]) -> list[Condition]:
        return [images.c.status != "killed", *matching(self.query), *(clue.holds() for clue in clues)]

    def _columns(self) -> Select[Any]:
        return select(images.c.id, *(images.c[key] for key, _ in self.sort if key != "id"))

    def _first(self, rows: Select[Any], order: Sort) -> Select[Any]:
        return rows.order_by(*ordering(images, order)).limit(self.query.limit)


def _among(shown: Sequence[Share]) -> Condition:
    return or_(false(), *(share.holds() for share in shown))


def _nearly_all(shown: Sequence[Share]) -> bool:
    return NEARLY_ALL.issubset(share.visibility for share in shown if share.owner is None and share.clue is None)


def index_for(query: ImageQuery, sort: Sort, first: str) -> str | None:
    """What an index of ours that begins with *first* should go on with.

    None if the database is to find out which is best.
    """
    if not _is_known(query):
        return None
    keys = tuple(key for key, _ in sort)
    orderly = keys in ORDERS and len({direction for _, direction in sort}) == 1
    wanted = keys[0] if orderly else None
    if "status" in query.equal and orderly and keys == BY_AGE:
        wanted = "status"
    for column in ("size", "name"):
        if column in query.equal:
            wanted = column
    return "created_at" if first == "owner" and wanted not in OWNED else wanted


def _is_known(query: ImageQuery) -> bool:
    """Whether we know which index is best: no filter may lead to few images by another one."""
    ranges = (query.dates, query.minimum, query.maximum, query.any_of)
    return not any(ranges) and query.equal.keys().isdisjoint(SELECTIVE)
