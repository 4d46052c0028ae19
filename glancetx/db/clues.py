"""What leads to images from rows of other tables: a tag, a property, a membership.

Such a clue may lead to a few images or to nearly all. So it is followed if it leads to few, and else asked of each
image that the order of the list brings along: in both cases little is read, however many images there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from attrs import frozen
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    Join,
    ScalarSelect,
    Select,
    String,
    Table,
    bindparam,
    false,
    func,
    literal,
    select,
)

from glancetx.db.dialects import alive, beginning, exactly, unindexed
from glancetx.db.paging import Condition
from glancetx.db.schema import image_members, image_properties, image_tags, images
from glancetx.domain.query import ImageQuery
from glancetx.domain.text import is_wide

FEW: Final = 500
"""So many rows are read and sorted, whatever else might be done."""

Given = str | BindParameter[Any]
"""A value, or the name under which it is given later."""


@frozen(eq=False)
class Clue:
    """The images that have a row in *table* for which *where* holds; that it lives is part of it.

    *asked*: the same, in words for one image after the other.
    """

    table: Table
    where: tuple[Condition, ...]
    asked: tuple[Condition, ...]

    def found(self) -> Select[Any]:
        """The ids of the images, some of them perhaps several times."""
        return select(self.table.c.image_id).where(*self.where)

    def holds(self, of: ColumnElement[str] = images.c.id) -> Condition:
        """Whether it is so of an image; asked of one after the other, which EXISTS need not be."""
        mine = self.table.c.image_id == of
        return select(self.table.c.id).where(mine, *self.asked).limit(1).scalar_subquery().is_not(None)

    def joined(self, to: FromClause) -> Join:
        """Those of *to*, images and perhaps more, of which it is so; as often as there are rows that say so."""
        rows = select(self.table.c.image_id).where(*self.asked).subquery()
        return to.join(rows, rows.c.image_id == images.c.id)


def clues_in(query: ImageQuery) -> Iterator[Clue]:
    """All of them must hold."""
    for tag in query.tags:
        yield _tag(tag)
    for name, value in query.properties.items():
        yield _property(name, value)


def named_clues(tags: int, properties: int) -> Iterator[Clue]:
    """Those of so many tags and properties, whose values (`clue_values`) are given later."""
    for number in range(tags):
        yield _tag(_named(f"tag_{number}"))
    for number in range(properties):
        yield _property(_named(f"property_{number}"), _named(f"value_{number}"))


def too_wide(query: ImageQuery) -> bool:
    """Whether one of the tags and properties of a query is nothing that a column can hold."""
    return any(map(is_wide, (*query.tags, *query.properties, *query.properties.values())))


def clue_values(query: ImageQuery) -> dict[str, str]:
    """What the `named_clues` of a query are given."""
    values = {f"tag_{number}": tag for number, tag in enumerate(query.tags)}
    for number, (name, value) in enumerate(query.properties.items()):
        values |= {f"property_{number}": name, f"value_{number}": value}
    return values


def _named(name: str) -> BindParameter[Any]:
    return bindparam(name, None, String)


def _is_wide(value: Given) -> bool:
    return isinstance(value, str) and is_wide(value)


def _tag(tag: Given) -> Clue:
    table = image_tags
    where = (false() if _is_wide(tag) else table.c.value == tag, table.c.deleted == false())
    return Clue(table, where, where)


def _property(name: Given, value: Given) -> Clue:
    table = image_properties
    if _is_wide(name) or _is_wide(value):
        return Clue(table, (false(),), (false(),))
    named, same = table.c.name == name, table.c.value == value
    indexed = beginning(table.c.value) == beginning(literal(value) if isinstance(value, str) else value)
    return Clue(table, (named, same, indexed, alive(table)), (named, unindexed(table.c.value) == value, alive(table)))


def shared_with(project: Given, status: Given) -> Clue:
    """The images shared with *project*, which has answered with *status*, or in any way if that is ``all``."""
    table = image_members
    answered = () if isinstance(status, str) and status == "all" else (table.c.status == status,)
    where = (exactly(table.c.member, project), table.c.deleted == false(), *answered)
    return Clue(table, where, where)


def size(clue: Clue, most: Any = FEW + 1) -> ScalarSelect[int]:
    """How many rows it has, counted up to *most*."""
    return select(func.count()).select_from(clue.found().limit(most).subquery()).scalar_subquery()
