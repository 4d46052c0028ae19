"""Which images, and in which order: visibility, filters, sorting and paging as SQL (api.md, sections 2.3 and 2.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final, cast

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    Integer,
    Select,
    and_,
    exists,
    false,
    or_,
    select,
    true,
)

from glancetx.db.dialects import alive, exactly, unindexed
from glancetx.db.paging import Condition, Sort, behind, ordering
from glancetx.db.rows import select_images
from glancetx.db.schema import image_members, image_properties, image_tags, images
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import Invalid
from glancetx.domain.query import SORT_KEYS, DateFilter, ImageQuery
from glancetx.domain.text import is_wide

_PRIVATE: Final = ("deleted", "deleted_at")

OPERATORS: Final[Mapping[str, Callable[[Any, Any], Condition]]] = {
    "eq": eq,
    "neq": ne,
    "gt": gt,
    "gte": ge,
    "lt": lt,
    "lte": le,
}


def visible_by_id(project: str | BindParameter[Any] | None) -> Condition:
    """What a caller of *project* who is no admin may see when it knows the id (A-095)."""
    return or_(
        images.c.owner.is_(None),
        images.c.visibility.in_(("public", "community")),
        exactly(images.c.owner, project),
        and_(images.c.visibility == "shared", _is_member(project)),
    )


def listed(context: RequestContext, query: ImageQuery) -> Condition:
    """What a list shows of all images that match (A-047, A-048, A-059).

    :raises Invalid: if there is no such visibility.
    """
    wanted = query.visibility
    if wanted not in (None, "all", "public", "private", "shared", "community"):
        raise Invalid(f"There is no visibility {wanted}")
    mine = exactly(images.c.owner, context.project_id) if context.project_id is not None else false()
    return _listed_to_admin(wanted, mine) if context.is_admin else _listed_to_user(wanted, mine, context, query)


def _listed_to_admin(wanted: str | None, mine: Condition) -> Condition:
    visibility = unindexed(images.c.visibility)  # so that the index of the sort key is used
    if wanted is None:
        return or_(visibility != "community", mine)
    return true() if wanted == "all" else visibility == wanted


def _listed_to_user(wanted: str | None, mine: Condition, context: RequestContext, query: ImageQuery) -> Condition:
    """Alternatives that each have an index: usually few images can be seen, of very many."""
    visibility = unindexed(images.c.visibility)
    to_us = _shared_with(context.project_id, query.member_status)
    if wanted in ("public", "community"):
        return images.c.visibility == wanted
    if wanted == "private":
        return and_(mine, visibility == wanted)
    if wanted == "shared":
        return and_(or_(mine, to_us), visibility == wanted)
    for_all = ("public", "community") if wanted == "all" else ("public",)
    return or_(mine, images.c.visibility.in_(for_all), and_(to_us, visibility == "shared"))


def _shared_with(project: str | None, status: str) -> Condition:
    if project is None:
        return false()
    rows = select(image_members.c.image_id).where(exactly(image_members.c.member, project), alive(image_members))
    return images.c.id.in_(rows if status == "all" else rows.where(image_members.c.status == status))


def _is_member(project: str | BindParameter[Any] | None) -> Condition:
    return exists(
        select(image_members.c.id).where(
            image_members.c.image_id == images.c.id, exactly(image_members.c.member, project), alive(image_members)
        )
    )


def matching(query: ImageQuery) -> Iterator[Condition]:
    """The conditions of the filters.

    :raises Invalid: if one names no column of an image.
    """
    yield alive(images)
    yield images.c.status != "killed"
    yield unindexed(images.c.os_hidden) == query.os_hidden
    for name, value in query.equal.items():
        yield _equal(_column(name), value)
    for name, values in query.any_of.items():
        yield or_(false(), *(_equal(_column(name), value) for value in values))
    for name, number in query.minimum.items():
        yield _in_range(_number_column(name), ge, number)
    for name, number in query.maximum.items():
        yield _in_range(_number_column(name), le, number)
    for date in query.dates:
        yield _compare(date)
    for tag in query.tags:
        yield _has_tag(tag)
    for name, value in query.properties.items():
        yield _has_property(name, value)


def _compare(date: DateFilter) -> Condition:
    if date.operator not in OPERATORS:
        raise Invalid(f"Dates cannot be compared by {date.operator}")
    return OPERATORS[date.operator](_column(date.column), date.value)


def _column(name: str) -> ColumnElement[Any]:
    if name not in images.c or name in _PRIVATE:
        raise Invalid(f"Images cannot be filtered by {name}")
    return images.c[name]


def _number_column(name: str) -> ColumnElement[Any]:
    column = _column(name)
    if not isinstance(column.type, Integer):
        raise Invalid(f"Images cannot be filtered by a range of {name}")
    return column


def _in_range(column: ColumnElement[Any], operator: Callable[[Any, Any], Condition], bound: int) -> Condition:
    """The bound may be what no column can hold, which not every database likes to compare with."""
    largest = _largest(column)
    if -largest <= bound <= largest:
        return operator(column, bound)
    return column.is_not(None) if operator(0, bound) else false()


def _largest(column: ColumnElement[Any]) -> int:
    return 2**63 - 1 if isinstance(column.type, BigInteger) else 2**31 - 1


def _equal(column: ColumnElement[Any], value: Any) -> Condition:
    """Equality; a text that is no number equals no number (A-053), whatever the database would say."""
    if isinstance(column.type, Integer):
        try:
            value = int(value)
        except ValueError:
            return false()
        if abs(value) > _largest(column):
            return false()
    if isinstance(column.type, Boolean) and not isinstance(value, bool):
        raise Invalid(f"{value!r} is neither true nor false")
    if isinstance(value, str) and is_wide(value):
        return false()
    return cast(Condition, column == value)


def _has_tag(tag: str) -> Condition:
    if is_wide(tag):
        return false()
    return exists(
        select(image_tags.c.id).where(
            image_tags.c.image_id == images.c.id, image_tags.c.value == tag, alive(image_tags)
        )
    )


def _has_property(name: str, value: str) -> Condition:
    if is_wide(name) or is_wide(value):
        return false()
    return exists(
        select(image_properties.c.id).where(
            image_properties.c.image_id == images.c.id,
            image_properties.c.name == name,
            image_properties.c.value == value,
            alive(image_properties),
        )
    )


def complete(sort: Sort) -> Sort:
    """*sort* without keys that decide nothing any more, and such that no two images are equal under it.

    :raises Invalid: if a key or a direction is unknown.
    """
    directions: dict[str, str] = {}
    for key, direction in sort:
        if key not in SORT_KEYS or direction not in ("asc", "desc"):
            raise Invalid(f"Images cannot be sorted by {key}:{direction}")
        if "id" not in directions:
            directions.setdefault(key, direction)
    directions.setdefault("id", sort[-1][1] if sort else "desc")
    return tuple(directions.items())


def select_marker(context: RequestContext, marker: str, sort: Sort) -> Select[Any]:
    """The sort values of the image *marker*, if the caller may see it (A-041)."""
    found = select(*(images.c[key] for key, _ in sort)).where(images.c.id == marker, alive(images))
    return found if context.is_admin else found.where(visible_by_id(context.project_id))


def select_page(
    context: RequestContext, query: ImageQuery, sort: Sort, marker: Mapping[str, Any] | None, *, small_nulls: bool
) -> Select[Any]:
    """The rows of one page, behind the image whose sort values are *marker*.

    *small_nulls*: whether the database sorts NULL before every value, and not behind it.
    """
    conditions = [listed(context, query), *matching(query)]
    if marker is not None:
        conditions.append(behind(images, sort, marker, small_nulls=small_nulls))
    # The page is chosen first: otherwise the children of all images that match would be collected to be sorted.
    order = ordering(images, sort)
    page = select(images.c.id).where(*conditions).order_by(*order).limit(query.limit).subquery("page")
    return select_images().join(page, page.c.id == images.c.id).order_by(*order)
