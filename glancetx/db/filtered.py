"""A page of a list with any filters: its queries are made anew each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import define, field
from sqlalchemy import Select, select
from sqlalchemy.exc import DBAPIError

from glancetx.db.clues import Clue, clues_in, size
from glancetx.db.dialects import is_stop, stopped, stops_within
from glancetx.db.page import Page
from glancetx.db.pieces import Pieces, bounds
from glancetx.db.rows import moment
from glancetx.db.shares import Share, shares

TIMES: Final = ("created_at", "updated_at")


@define
class Filtered(Page):
    """The page of any query.

    :raises Invalid: if a filter is unknown.
    """

    _shown: list[Share] = field(init=False)
    _clues: list[Clue] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._shown = shares(
            self._sight.is_admin, self._sight.project_id, self._query.visibility, self._query.member_status
        )
        self._clues = list(clues_in(self._query))

    def sizes(self, most: int) -> Sequence[int]:
        shared = [share.clue for share in self._shown if share.clue] if self._shared is None else []
        counts = [*map(size, shared), *(size(clue, most + 1) for clue in self._clues)]
        found = list(self._connection.execute(select(*counts)).one()) if counts else []
        if self._shared is None:
            self._shared = found.pop(0) if shared else 0
        return found

    def rows(self, *, followed: int | None = None, bound: int | None = None) -> Sequence[Any] | None:
        query = self.query(followed=followed, bounded=bound is not None)
        if query is None:
            return ()
        try:
            result = self._connection.execute(query, self._bounds(bound))
        except DBAPIError as error:
            if bound is not None and is_stop(error):
                return None
            raise
        cursor = result.cursor
        found = result.all()
        return None if bound is not None and stopped(self._connection, cursor) else found

    def ends_within(self, count: int) -> bool:
        query = self._pieces(None, bounded=True).walked(self._shown)
        if query is None or not stops_within(self._connection.dialect):
            return True
        return int(self._connection.execute(query, self._bounds(count + 1)).scalar_one()) <= count

    def query(self, *, followed: int | None = None, bounded: bool = False) -> Select[Any] | None:
        """As `Plain.query`."""
        return self._pieces(followed, bounded=bounded).of(self._shown)

    def _bounds(self, bound: int | None) -> Mapping[str, int]:
        return {} if bound is None else bounds(bound, self._query.limit)

    def _pieces(self, followed: int | None, *, bounded: bool) -> Pieces:
        marker = self._marker
        behind = marker and {key: moment(value) if value and key in TIMES else value for key, value in marker.items()}
        clue = None if followed is None else self._clues[followed]
        return Pieces(
            self._connection.dialect,
            self._query,
            self._sort,
            behind,
            self._clues,
            clue,
            self._shared or 0,
            self._few,
            bounded,
        )
