"""What a caller wants listed (api.md, section 2.3); how it is asked of SQL is told by `db.filters`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import field, frozen

SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")


def _items(values: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """By which mappings are compared, and hashed."""
    return frozenset(values.items())


@frozen
class DateFilter:
    """``created_at``/``updated_at`` compared by *operator* (eq, neq, gt, gte, lt, lte) with *value* (naive UTC)."""

    column: str
    operator: str
    value: datetime


@frozen(kw_only=True)
class ImageQuery:
    """One page of a list.

    *limit* is final (already capped). *marker* is an image id or None. *sort* holds (key, "asc" or "desc") with
    the tie breakers ``created_at`` and ``id`` already appended. *equal* maps base columns to one value; *any_of* to
    several; *minimum*/*maximum* compare integers; *tags* must all be there; *properties* are custom properties.
    *visibility* is one of public, private, shared, community, all, or None for the default view (A-047).
    """

    limit: int
    marker: str | None = None
    sort: tuple[tuple[str, str], ...] = (("created_at", "desc"), ("id", "desc"))
    equal: Mapping[str, Any] = field(factory=dict, eq=_items)
    any_of: Mapping[str, tuple[str, ...]] = field(factory=dict, eq=_items)
    minimum: Mapping[str, int] = field(factory=dict, eq=_items)
    maximum: Mapping[str, int] = field(factory=dict, eq=_items)
    dates: tuple[DateFilter, ...] = ()
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(factory=dict, eq=_items)
    visibility: str | None = None
    member_status: str = "accepted"
    os_hidden: bool = False
