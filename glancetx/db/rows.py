"""From rows to images: the one query that reads an image with all that belongs to it, and what its row means."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from attrs import evolve, frozen
from sqlalchemy import ColumnElement, Connection, Dialect, ScalarSelect, Select, Table, select

from glancetx.db.dialects import alive_by_key, few_json_rows, json_parts, json_row, json_rows, likes_one_column
from glancetx.db.schema import image_locations, image_properties, image_tags, images
from glancetx.db.sealing import Seal, seal_of
from glancetx.domain.image import Image, Location

COLUMNS: Final = (
    "id", "status", "name", "owner", "visibility", "disk_format", "container_format", "size", "virtual_size",
    "checksum", "os_hash_algo", "os_hash_value", "min_disk", "min_ram", "protected", "os_hidden", "created_at",
    "updated_at",
)  # fmt: skip


@frozen
class Belonging:
    """The live rows of a *table* that belong to an image, if *where* holds; the row's id comes first, to sort by."""

    table: Table
    columns: tuple[str, ...]
    where: tuple[ColumnElement[bool], ...] = ()

    def rows(self) -> Select[Any]:
        columns = [self.table.c[name] for name in ("id", *self.columns)]
        return select(*columns).where(alive_by_key(self.table), *self.where)

    def as_json(self, *, few: bool) -> ScalarSelect[str]:
        """All of them in one text, as `json_rows`, or `few_json_rows`."""
        rows = self.rows()
        aggregated = (few_json_rows if few else json_rows)(*rows.selected_columns)
        mine = rows.with_only_columns(aggregated).where(self.table.c.image_id == images.c.id)
        return mine.correlate(images).scalar_subquery()


_BELONGINGS: Final = (
    Belonging(image_properties, ("name", "value")),
    Belonging(image_tags, ("value",)),
    # Others are placeholders or waiting for deletion: absent (D-086).
    Belonging(image_locations, ("value", "meta_data", "status"), (image_locations.c.status == "active",)),
)


class Torn(Exception):
    """The database could not aggregate what belongs to an image."""


@cache
def select_images(dialect: Dialect, *, few: bool) -> Select[Any]:
    """All columns of images that `to_image` reads, without any condition. *few*: some images may be `Torn`."""
    columns = [images.c[name] for name in COLUMNS]
    belongings = [query.as_json(few=few) for query in _BELONGINGS]
    if not likes_one_column(dialect):
        return select(*columns, *belongings).select_from(images)
    parts = [json_row(*columns), *belongings]
    return select(*([json_parts(*parts)] if few else parts)).select_from(images)


Rows = Sequence[Sequence[Any]]


def read_images(connection: Connection, find: Callable[[bool], Rows]) -> list[Image]:
    """The images that *find* finds, which is told whether there may be `few` rows that belong to each.

    If there are more, everything is asked for once again, so that it is of one time.
    """
    seal = seal_of(connection.dialect)
    try:
        return [_opened(to_image(row), seal) for row in find(True)]
    except Torn:
        return [_opened(_read_whole(connection, row), seal) for row in find(False)]


def _read_whole(connection: Connection, row: Sequence[Any]) -> Image:
    try:
        return to_image(row)
    except Torn:
        own = row[: -len(_BELONGINGS)]
        return to_image([*own, *(_collect(connection, query, _own(own)[0]) for query in _BELONGINGS)])


def _opened(image: Image, seal: Seal | None) -> Image:
    if seal is None or not image.locations:
        return image
    return evolve(image, locations=tuple(evolve(each, url=seal.open(each.url)) for each in image.locations))


def _collect(connection: Connection, query: Belonging, image_id: str) -> str:
    """What an image has too much of to come in one piece, by row."""
    rows = connection.execute(query.rows().where(query.table.c.image_id == image_id))
    return json.dumps([list(row) for row in rows])


def to_image(row: Sequence[Any]) -> Image:
    """With the URLs of locations as they are kept; of a row of `select_images`, converted by SQLAlchemy or not.

    :raises Torn: if the database could not aggregate what belongs to the image.
    """
    if len(row) == 1:
        own, properties, tags, locations = _parts(row[0])
    else:
        own = _own(row[: -len(_BELONGINGS)])
        properties, tags, locations = [_parsed(text) if text else [] for text in row[-len(_BELONGINGS) :]]
    created_at = moment(own[16])
    return Image(
        id=own[0],
        status=own[1],
        name=own[2],
        owner=own[3],
        visibility=own[4],
        disk_format=own[5],
        container_format=own[6],
        size=own[7],
        virtual_size=own[8],
        checksum=own[9],
        os_hash_algo=own[10],
        os_hash_value=own[11],
        min_disk=own[12],
        min_ram=own[13],
        protected=bool(own[14]),
        os_hidden=bool(own[15]),
        created_at=created_at,
        updated_at=created_at if own[17] is None else moment(own[17]),
        properties={name: value for _, name, value in _children(properties)},
        tags=tuple(dict.fromkeys([value for _, value in _children(tags)])),
        locations=tuple([_location(*child) for child in _children(locations)]),
    )


def _own(columns: Sequence[Any]) -> Sequence[Any]:
    """The image's own columns, which may have come as one."""
    if len(columns) == len(COLUMNS):
        return columns
    own: list[Any] = json.loads(columns[0])
    return own


def moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _parts(text: str | None) -> list[Any]:
    """An image's own columns, and what belongs to it. :raises Torn: if a part is missing."""
    parts = _parsed(f"[{text}]") if text else []
    if len(parts) != 1 + len(_BELONGINGS):
        raise Torn
    return parts


def _parsed(text: str) -> list[Any]:
    """:raises Torn: if it is cut off."""
    try:
        found: list[Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise Torn from error
    return found


def _children(rows: list[Any]) -> list[list[Any]]:
    """*rows* in their order, without their number. :raises Torn: if these are not all."""
    if rows and isinstance(rows[0], int) and rows.pop(0) != len(rows):
        raise Torn
    rows.sort(key=_row_id)
    return rows


def _row_id(child: list[Any]) -> Any:
    return child[0]


def _location(row_id: int, url: str, metadata: str | None, status: str) -> Location:
    return Location(id=row_id, url=url, metadata=json.loads(metadata) if metadata else {}, status=status)
