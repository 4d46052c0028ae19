"""From rows to images: the one query that reads an image with all that belongs to it, and what its row means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from attrs import evolve, frozen
from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select, Table, select

from glancetx.db.dialects import alive, json_rows
from glancetx.db.schema import image_locations, image_properties, image_tags, images
from glancetx.db.sealing import seal_of
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
        return select(*columns).where(alive(self.table), *self.where)

    def as_json(self) -> ScalarSelect[str]:
        """All of them in one text."""
        rows = self.rows()
        mine = rows.with_only_columns(json_rows(*rows.selected_columns)).where(self.table.c.image_id == images.c.id)
        return mine.correlate(images).scalar_subquery()


_BELONGINGS: Final = (
    Belonging(image_properties, ("name", "value")),
    Belonging(image_tags, ("value",)),
    # Others are placeholders or waiting for deletion: absent (D-086).
    Belonging(image_locations, ("value", "meta_data", "status"), (image_locations.c.status == "active",)),
)


@cache
def select_images() -> Select[Any]:
    """All columns of images that `to_image` reads, without any condition."""
    columns = (images.c[name] for name in COLUMNS)
    return select(*columns, *(query.as_json() for query in _BELONGINGS)).select_from(images)


def read_image(connection: Connection, row: Sequence[Any]) -> Image:
    """The image of a row of `select_images`, whether or not SQLAlchemy has converted its columns."""
    try:
        image = to_image(row)
    except json.JSONDecodeError:
        image = to_image([*row[: len(COLUMNS)], *(_collect(connection, query, row[0]) for query in _BELONGINGS)])
    seal = seal_of(connection.dialect)
    if seal is None or not image.locations:
        return image
    return evolve(image, locations=tuple(evolve(each, url=seal.open(each.url)) for each in image.locations))


def _collect(connection: Connection, query: Belonging, image_id: str) -> str:
    """What an image has too much of to come in one piece, by row."""
    rows = connection.execute(query.rows().where(query.table.c.image_id == image_id))
    return json.dumps([list(row) for row in rows])


def to_image(row: Sequence[Any]) -> Image:
    """With the URLs of locations as they are kept.

    :raises JSONDecodeError: if the database could not aggregate what belongs to the image."""
    created_at = moment(row[16])
    return Image(
        id=row[0],
        status=row[1],
        name=row[2],
        owner=row[3],
        visibility=row[4],
        disk_format=row[5],
        container_format=row[6],
        size=row[7],
        virtual_size=row[8],
        checksum=row[9],
        os_hash_algo=row[10],
        os_hash_value=row[11],
        min_disk=row[12],
        min_ram=row[13],
        protected=bool(row[14]),
        os_hidden=bool(row[15]),
        created_at=created_at,
        updated_at=created_at if row[17] is None else moment(row[17]),
        properties={name: value for _, name, value in _children(row[18])},
        tags=tuple(dict.fromkeys([value for _, value in _children(row[19])])),
        locations=tuple([_location(*child) for child in _children(row[20])]),
    )


def moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _children(text: str | None) -> list[list[Any]]:
    if text is None or text == "[]":
        return []
    children: list[list[Any]] = json.loads(text)
    children.sort(key=_row_id)
    return children


def _row_id(child: list[Any]) -> Any:
    return child[0]


def _location(row_id: int, url: str, metadata: str | None, status: str) -> Location:
    return Location(id=row_id, url=url, metadata=json.loads(metadata) if metadata else {}, status=status)
