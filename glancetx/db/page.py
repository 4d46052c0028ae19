"""What can be asked of a page of a list, however its queries are made (`plain`, `filtered`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from attrs import define
from sqlalchemy import Connection

from glancetx.db.paging import Sort
from glancetx.db.pieces import Marker
from glancetx.db.shares import Sight
from glancetx.domain.query import ImageQuery


@define
class Page(ABC):
    """The page of *query* behind *marker*. *few*: as `select_images` wants it.

    *shared* is how many images are shared with the caller, once that is known.
    """

    _connection: Connection
    _sight: Sight
    _query: ImageQuery
    _sort: Sort
    _marker: Marker | None
    _few: bool
    _shared: int | None = None

    @abstractmethod
    def sizes(self, most: int) -> Sequence[int]:
        """To how many rows each tag and property leads, counted up to one more than *most*."""

    @abstractmethod
    def rows(self, *, followed: int | None = None, bound: int | None = None) -> Sequence[Any] | None:
        """The rows of the page; None if they were not found within *bound*. Fewer than wanted do not count unless the
        list `ends_within` it.

        *followed*: which of the tags and properties is followed; None: images are asked in their order.
        """

    @abstractmethod
    def ends_within(self, count: int) -> bool:
        """Whether no more than *count* images are asked, or the database would have stopped by itself."""
