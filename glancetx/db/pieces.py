"""One page of a list, as a query that reads little more than the page, however many images there are.

Indexes of ours lead through the images of each visibility, and of each owner, in the orders that are asked for; so the
first of each `Share` are taken from there, as many as the page has, and of these the first. If a filter leads to a few
images only (`clues`), these are sorted instead; so are all of an owner, where the order is one that few ask for: each
index costs every change of an image.

Who asks for what a clue leads to may set a bound to the images that are looked at one after the other for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from sqlalchemy import (
    CompoundSelect,
    Dialect,
    FromClause,
    Integer,
    Select,
    Subquery,
    bindparam,
    false,
    func,
    or_,
    select,
    text,
    true,
    union,
    union_all,
)

from glancetx.db.clues import FEW, Clue
from glancetx.db.dialects import (
    alive,
    counts_what_it_reads,
    merges_distinct,
    merges_unions,
    prefers_joins,
    stops_within,
    unindexed,
)
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


ASKED: Final = 6
"""Rows and entries that MariaDB looks at for an image that it asks: two, in each of three visibilities."""
SHOWN: Final = 100
"""Those of an image that is on the page, with what belongs to it. If there are more, another way is tried in vain."""


def bounds(bound: int, limit: int) -> Mapping[str, int]:
    """What a query is given that asks *bound* images for a page of *limit*."""
    return {"bound": bound, "examined": ASKED * bound + SHOWN * limit}


@frozen(eq=False)
class Pieces:
    """The queries that a page is put together from: each has the ids and sort values of the first of its images.

    *marker* has the sort values of the image that the page begins behind; *followed* is the one of the *clues* whose
    images are sorted, if any; *shared* tells how many images the clue of a share leads to. *few* is what
    `select_images` wants to know. If *bounded*, `bounds` are given with the query; then its rows count only if the
    database did not stop (`stopped`), and if they are as many as wanted or there were fewer to be `walked`.
    """

    dialect: Dialect
    query: ImageQuery
    sort: Sort
    marker: Marker | None
    clues: list[Clue]
    followed: Clue | None
    shared: int
    few: bool
    bounded: bool = False

    def of(self, shown: Sequence[Share]) -> Select[Any] | None:
        """The page of what is *shown* and matches the query; None if there is nothing."""
        pieces = list(self._all(shown))
        if not pieces:
            return None
        page = self._ordered(pieces).subquery("page")
        if self._asks_later:
            page = self._tried(page).subquery("page")
        found = select_images(self.dialect, few=self.few).select_from(page.join(images, page.c.id == images.c.id))
        if self.bounded and counts_what_it_reads(self.dialect):
            found = found.suffix_with(text("LIMIT ROWS EXAMINED :examined"), dialect="mysql")
        # By the page's columns and this way round: MariaDB sorts ids then, and no rows with long texts in files.
        return found.prefix_with("STRAIGHT_JOIN", dialect="mysql").order_by(*ordering(page, self.sort))

    def walked(self, shown: Sequence[Share]) -> Select[Any] | None:
        """How many images there are to be asked for a clue, up to the bound."""
        pieces = list(self._all(shown))
        return select(func.count()).select_from(self._ordered(pieces).subquery()) if pieces else None

    @property
    def _asks_later(self) -> bool:
        """Whether images are brought in order first, as many as the bound allows, and asked for the clues then."""
        return self.bounded and stops_within(self.dialect)

    @property
    def _limit(self) -> Any:
        return bindparam("bound", None, Integer) if self._asks_later else self.query.limit

    def _tried(self, walked: Subquery) -> Select[Any]:
        """The first of *walked* to which all clues lead."""
        own = images.alias("own")
        status = select(own.c.status).where(own.c.id == walked.c.id).scalar_subquery()
        found = select(walked).where(*(clue.holds(walked.c.id) for clue in self.clues), status != "killed")
        if not merges_unions(self.dialect):  # SQLite has them in order, and would sort them all the same
            found = found.order_by(*ordering(walked, self.sort))
        return found.limit(self.query.limit)

    def _ordered(self, pieces: Sequence[Select[Any]]) -> CompoundSelect[Any] | Select[Any]:
        return pieces[0] if len(pieces) == 1 else self._united(pieces)

    def _united(self, pieces: Sequence[Select[Any]]) -> CompoundSelect[Any] | Select[Any]:
        """The first of all *pieces*; an image may be in several."""
        every: CompoundSelect[Any] | Select[Any]
        if merges_unions(self.dialect):
            every = union(*(piece.order_by(None).limit(None) for piece in pieces))
        elif merges_distinct(self.dialect):
            every = select(union_all(*(select(piece.subquery()) for piece in pieces)).subquery()).distinct()
        else:
            every = union(*(select(piece.subquery()) for piece in pieces))
        return every.order_by(*ordering(every, self.sort)).limit(self._limit)

    def _all(self, shown: Sequence[Share]) -> Iterator[Select[Any]]:
        if self.followed is not None:
            yield from self._follow(self.followed, [_among(shown)])
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
        if self.shared == 0:
            return iter(())
        if self.shared <= FEW:
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
        """The images that *clue* leads to."""
        living = (alive(images), unindexed(images.c.os_hidden) == self.query.os_hidden)
        filters = [*conditions, *living, *self._filters([other for other in self.clues if other is not clue])]
        if self.marker is not None:
            filters.append(behind(images, self.sort, self.marker, self.dialect))
        found = clue.found().distinct().subquery("found")
        # MariaDB takes the tables as they come then.
        columns = self._columns().select_from(found.join(images, images.c.id == found.c.image_id))
        yield self._first(columns.where(*filters).prefix_with("STRAIGHT_JOIN", dialect="mysql"), self.sort)

    def _filters(self, clues: Sequence[Clue]) -> list[Condition]:
        if self._asks_later:
            return list(matching(self.query))
        return [images.c.status != "killed", *matching(self.query), *(clue.holds() for clue in clues)]

    def _columns(self) -> Select[Any]:
        return select(images.c.id, *(images.c[key] for key, _ in self.sort if key != "id"))

    def _first(self, rows: Select[Any], order: Sort) -> Select[Any]:
        return rows.order_by(*ordering(images, order)).limit(self._limit)


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
