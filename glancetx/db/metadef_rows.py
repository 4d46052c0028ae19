"""Metadata definitions as rows of Glance's tables, and back (database.md, section 3).

What every kind of definition needs, as plain functions on a connection.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from attrs import evolve, frozen
from sqlalchemy import Connection, Select, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from glancetx.db.schema import (
    metadef_namespace_resource_types,
    metadef_namespaces,
    metadef_objects,
    metadef_properties,
    metadef_resource_types,
    metadef_tags,
)
from glancetx.domain.errors import AssociationExists, DefinitionExists, NamespaceNotFound
from glancetx.domain.image import utc_now
from glancetx.domain.metadef import PRIVATE, Association, MetadefObject, Namespace, Property, Tag

T = TypeVar("T")

CHILDREN: Final = (metadef_objects, metadef_properties, metadef_tags, metadef_namespace_resource_types)


class TypeRaced(Exception):
    """Another process has just inserted the same resource type: what was begun is to be done again."""


def to_namespace(row: Any) -> Namespace:
    """What was loaded by Glance may have neither visibility nor protection (C-121, D-085)."""
    return Namespace(
        id=row.id,
        name=row.namespace,
        owner=row.owner,
        display_name=row.display_name,
        description=row.description,
        visibility=row.visibility or PRIVATE,
        protected=bool(row.protected),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def namespace_values(namespace: Namespace) -> dict[str, Any]:
    """The columns that are written on creation and on every change."""
    return {
        "namespace": namespace.name,
        "owner": namespace.owner,
        "display_name": namespace.display_name,
        "description": namespace.description,
        "visibility": namespace.visibility,
        "protected": namespace.protected,
        "updated_at": namespace.updated_at,
    }


def lock_namespace(connection: Connection, namespace: Namespace) -> Namespace:
    """The namespace as it is now; it stays so until the transaction ends.

    :raises NamespaceNotFound: if it was deleted meanwhile.
    """
    table = metadef_namespaces
    mine = table.c.id == namespace.id
    # An update, not a query: it makes others who change this namespace wait, on databases with many writers too.
    if connection.execute(update(table).where(mine).values(id=table.c.id)).rowcount != 1:
        raise NamespaceNotFound(namespace.name)
    return to_namespace(connection.execute(select(table).where(mine)).one())


@frozen(kw_only=True)
class Kind(Generic[T]):
    """One kind of definition: how it is called, where it is kept, how it is read and written."""

    word: str
    table: Table
    read: Callable[[Any], T]
    values: Callable[[T], dict[str, Any]]

    def of(self, namespace: Namespace) -> Select[Any]:
        """The rows of a namespace."""
        return select(self.table).where(self.table.c.namespace_id == namespace.id)


def _read_object(row: Any) -> MetadefObject:
    return MetadefObject(
        name=row.name,
        description=row.description,
        required=tuple(row.required.split(",")) if row.required else (),
        properties=_document(row.json_schema),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _object_values(item: MetadefObject) -> dict[str, Any]:
    return {
        "name": item.name,
        "description": item.description,
        "required": ",".join(item.required or ()) or None,
        "json_schema": json.dumps({name: dict(schema) for name, schema in (item.properties or {}).items()}),
        "created_at": item.created_at,
        "updated_at": item.updated_at,
    }


def _read_property(row: Any) -> Property:
    return Property(name=row.name, schema=_document(row.json_schema))


def _property_values(item: Property) -> dict[str, Any]:
    now = utc_now()
    return {"name": item.name, "json_schema": json.dumps(dict(item.schema)), "created_at": now, "updated_at": now}


def _document(text: str) -> dict[str, Any]:
    """Glance writes ``null`` for an object without properties, when it loads one from a file."""
    return json.loads(text) or {}


def _read_tag(row: Any) -> Tag:
    return Tag(name=row.name, created_at=row.created_at, updated_at=row.updated_at)


def _tag_values(item: Tag) -> dict[str, Any]:
    return {"name": item.name, "created_at": item.created_at, "updated_at": item.updated_at}


OBJECTS: Final = Kind(word="object", table=metadef_objects, read=_read_object, values=_object_values)
PROPERTIES: Final = Kind(word="property", table=metadef_properties, read=_read_property, values=_property_values)
TAGS: Final = Kind(word="tag", table=metadef_tags, read=_read_tag, values=_tag_values)


def insert_definitions(connection: Connection, kind: Kind[T], namespace: Namespace, items: Iterable[T]) -> None:
    """Add *items*. :raises DefinitionExists: if one of them has a name that is taken."""
    for item in items:  # one by one: whose name is taken must be known
        values = {**kind.values(item), "namespace_id": namespace.id}
        try:
            connection.execute(insert(kind.table).values(values))
        except IntegrityError as error:
            raise DefinitionExists(kind.word, values["name"], namespace.name) from error


def insert_association(
    connection: Connection, namespace: Namespace, association: Association, *, protected: bool = False
) -> None:
    """Associate the namespace with a resource type, which is made if there is none of that name.

    :raises AssociationExists: if it is associated already. :raises TypeRaced: as it says.
    """
    values = {
        "namespace_id": namespace.id,
        "resource_type_id": _find_type(connection, association.name, association.created_at, protected),
        "prefix": association.prefix,
        "properties_target": association.properties_target,
        "created_at": association.created_at,
        "updated_at": association.updated_at,
    }
    try:
        connection.execute(insert(metadef_namespace_resource_types).values(values))
    except IntegrityError as error:
        raise AssociationExists(association.name, namespace.name) from error


def _find_type(connection: Connection, name: str, now: datetime, protected: bool) -> Any:
    table = metadef_resource_types
    wanted = select(table.c.id).where(table.c.name == name)
    if (found := connection.execute(wanted).scalar()) is None:
        row = {"name": name, "protected": protected, "created_at": now, "updated_at": None if protected else now}
        try:
            connection.execute(insert(table).values(row))
        except IntegrityError as error:
            raise TypeRaced from error
        found = connection.execute(wanted).scalar_one()
    return found


def select_associations() -> Select[Any]:
    """All associations, with the id of the namespace, the oldest first."""
    link, kinds = metadef_namespace_resource_types, metadef_resource_types
    columns = (link.c.prefix, link.c.properties_target, link.c.created_at, link.c.updated_at)
    found = select(link.c.namespace_id, kinds.c.name, *columns)
    return found.join_from(link, kinds, kinds.c.id == link.c.resource_type_id).order_by(link.c.created_at, kinds.c.id)


def to_association(row: Any) -> Association:
    return Association(
        name=row.name,
        prefix=row.prefix,
        properties_target=row.properties_target,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def insert_namespace(connection: Connection, namespace: Namespace) -> Namespace:
    """Returns it with its id. Fails as the database does if the name is taken."""
    values = namespace_values(namespace) | {"created_at": namespace.created_at}
    (row_id,) = connection.execute(insert(metadef_namespaces).values(values)).inserted_primary_key or (None,)
    return evolve(namespace, id=row_id)
