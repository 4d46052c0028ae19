"""What belongs to an image: its properties, tags and locations, brought to agree with the record (D-042..D-048).

Plain functions on a connection, run within the transaction of `glancetx.db.images`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from attrs import evolve
from sqlalchemy import Connection, Dialect, Table, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from glancetx.db.dialects import alive, folds_letters
from glancetx.db.prepared import Prepared, any_of, padded, prepare_change
from glancetx.db.schema import image_locations, image_members, image_properties, image_tags
from glancetx.domain.errors import Conflict
from glancetx.domain.image import Location

_NEW_PROPERTIES: Final = insert(image_properties)
_NEW_TAGS: Final = insert(image_tags)

Children = tuple[str, Mapping[str, str | None], Sequence[str], datetime]
"""The id of an image, properties and tags of it, and since when it has them."""

LOCK_PROPERTY: Final = "os_glance_import_task"
"""Taken and given back by imports alone; a save neither writes nor removes it (D-045)."""


def add_children(
    connection: Connection, image_id: str, properties: Mapping[str, str | None], tags: Sequence[str], now: datetime
) -> None:
    """Insert properties and tags that the image does not have.

    :raises Conflict: if the database takes two names of properties for the same.
    """
    insert_children(connection, [(image_id, properties, tags, now)])


def insert_children(connection: Connection, children: Sequence[Children]) -> None:
    """As `add_children`, for several images."""
    properties = [
        _fresh(image_id, now) | {"name": name, "value": value}
        for image_id, own, _, now in children
        for name, value in own.items()
    ]
    if properties:
        try:
            connection.execute(_NEW_PROPERTIES, properties)
        except IntegrityError as error:
            raise Conflict("Properties of an image cannot have names that differ in case or accents only") from error
    tags = [_fresh(image_id, now) | {"value": tag} for image_id, _, own, now in children for tag in own]
    if tags:
        connection.execute(_NEW_TAGS, tags)


def reconcile_properties(
    connection: Connection, image_id: str, properties: Mapping[str, str | None], now: datetime
) -> None:
    """Make the live properties those given.

    The key is (image, name) whether or not the row is deleted, so a deleted row is revived. Its deleted_at becomes
    NULL, and so does that of live rows which Glance revived and left it on: else its purge destroys them (D-072).
    """
    wanted = {name: value for name, value in properties.items() if name != LOCK_PROPERTY}
    table = image_properties
    found = connection.execute(
        select(table.c.id, table.c.name, table.c.value, table.c.deleted, table.c.deleted_at).where(
            table.c.image_id == image_id, table.c.name != LOCK_PROPERTY
        )
    ).all()
    for row in found:
        if row.name not in wanted:
            if not row.deleted:
                _end(connection, table, row.id, now)
            continue
        value = wanted.pop(row.name)
        if row.deleted or row.value != value or row.deleted_at is not None:
            values = {"value": value, "deleted": False, "deleted_at": None, "updated_at": now}
            connection.execute(update(table).where(table.c.id == row.id).values(values))
    if found and folds_letters(connection.dialect):
        for name in list(wanted):
            if _revive_alike(connection, image_id, name, wanted[name], now):
                del wanted[name]
    add_children(connection, image_id, wanted, (), now)


def _revive_alike(connection: Connection, image_id: str, name: str, value: str | None, now: datetime) -> bool:
    """Revive the deleted property whose name the database takes for the same; tells whether there was one."""
    table = image_properties
    deleted = (table.c.image_id == image_id, table.c.name == name, ~alive(table))
    values = {"name": name, "value": value, "deleted": False, "deleted_at": None, "updated_at": now}
    return connection.execute(update(table).where(*deleted).values(values)).rowcount == 1


def reconcile_tags(connection: Connection, image_id: str, tags: Sequence[str], now: datetime) -> None:
    """Make the live tags those given; a tag that comes back is a new row (D-046)."""
    wanted = dict.fromkeys(tags)
    table = image_tags
    found = connection.execute(
        select(table.c.id, table.c.value).where(table.c.image_id == image_id, alive(table))
    ).all()
    for row in found:
        if row.value in wanted:
            del wanted[row.value]
        else:
            _end(connection, table, row.id, now)
    add_children(connection, image_id, {}, tuple(wanted), now)


def reconcile_locations(
    connection: Connection, image_id: str, locations: Sequence[Location], now: datetime
) -> tuple[Location, ...]:
    """Make the live, active locations those given, and return them with their ids.

    A row keeps its id (D-048), unless others now come before it: their order is that of the ids. One that is not
    among the live rows any more stays gone: its data may be gone as well.
    """
    table = image_locations
    found = {
        row.id: row
        for row in connection.execute(
            select(table.c.id, table.c.value, table.c.meta_data, table.c.status).where(
                table.c.image_id == image_id, alive(table), table.c.status == "active"
            )
        )
    }
    kept: list[Location] = []
    last = -1
    for location in locations:
        if location.id is not None and location.id not in found:
            continue
        if location.id is None or location.id < last:
            kept.append(add_location(connection, image_id, location, now))
        else:
            _update_location(connection, found.pop(location.id), location, now)
            kept.append(location)
        last = kept[-1].id or 0
    for row_id in found:
        _end(connection, table, row_id, now, status="deleted")
    return tuple(kept)


def add_location(connection: Connection, image_id: str, location: Location, now: datetime) -> Location:
    """Insert a location; returns it with its id."""
    row = _fresh(image_id, now) | _location_values(location)
    (row_id,) = connection.execute(insert(image_locations).values(row)).inserted_primary_key or (None,)
    return evolve(location, id=row_id)


def _update_location(connection: Connection, row: Any, location: Location, now: datetime) -> None:
    metadata = json.loads(row.meta_data) if row.meta_data else {}
    if (row.value, metadata, row.status) != (location.url, dict(location.metadata), location.status):
        values = _location_values(location) | {"updated_at": now}
        connection.execute(update(image_locations).where(image_locations.c.id == row.id).values(values))


def _location_values(location: Location) -> dict[str, Any]:
    metadata = json.dumps(dict(location.metadata))
    return {"value": location.url, "meta_data": metadata, "status": location.status}


def ends_of_children(
    dialect: Dialect, image_ids: Sequence[str], now: datetime, status: str
) -> Iterator[tuple[Prepared, Mapping[str, Any]]]:
    """What soft-deletes all that belongs to images, at the time they themselves are deleted (D-049, D-050)."""
    mine = padded("mine", image_ids)
    for table in (image_properties, image_tags, image_members, image_locations):
        yield _ended(dialect, table, len(mine)), {**mine, "now": now, "ended": status}


@cache
def _ended(dialect: Dialect, table: Table, size: int) -> Prepared:
    values: dict[str, Any] = {"deleted": True, "deleted_at": bindparam("now", None)}
    if table is image_locations:
        values["status"] = bindparam("ended", None)
    mine = table.c.image_id.in_(any_of("mine", size))
    return prepare_change(update(table).where(mine, alive(table)).values(values), dialect)


def _fresh(image_id: str, now: datetime) -> dict[str, Any]:
    return {"image_id": image_id, "created_at": now, "updated_at": now, "deleted": False}


def _end(connection: Connection, table: Table, row_id: int, now: datetime, **more: Any) -> None:
    ended = {"deleted": True, "deleted_at": now, **more}
    connection.execute(update(table).where(table.c.id == row_id).values(ended))
