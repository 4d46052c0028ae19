"""Whole sets of metadata definitions brought into the database, and out of it (config.md, C-120..C-122).

Plain functions on a connection, for commands; what the sets look like as files is told by `glancetx.cli.metadefs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, TypeVar

from attrs import evolve
from sqlalchemy import Connection, delete, select, update

from glancetx.db.metadef_rows import (
    CHILDREN,
    OBJECTS,
    PROPERTIES,
    TAGS,
    Kind,
    insert_association,
    insert_definitions,
    insert_namespace,
    namespace_values,
    to_namespace,
)
from glancetx.db.metadefs import delete_namespace, fill, read_contents
from glancetx.db.schema import metadef_namespace_resource_types as link
from glancetx.db.schema import metadef_namespaces as table
from glancetx.db.schema import metadef_resource_types
from glancetx.domain.image import utc_now
from glancetx.domain.metadef import Association, Contents, Namespace

T = TypeVar("T")

Definitions = Sequence[tuple[Namespace, Contents]]


class Manner(Enum):
    """What to do about a namespace that is there already."""

    SKIP = "skip"
    ADD = "add"  # what it lacks
    PREFER_NEW = "prefer new"  # and replace what has the same name
    OVERWRITE = "overwrite"  # delete it first


class Done(Enum):
    """What was done about it."""

    LOADED = "Loaded"
    SKIPPED = "Skipped, since it already exists:"
    MERGED = "Merged"
    OVERWRITTEN = "Overwritten:"


def load(connection: Connection, definitions: Definitions, manner: Manner) -> list[Done]:
    """Bring in all *definitions*, or none. Returns what was done about each.

    :raises TypeRaced: if it is to be done again. :raises DefinitionExists, AssociationExists: if one has a name twice.
    """
    return [_load(connection, namespace, contents, manner) for namespace, contents in definitions]


def unload(connection: Connection) -> None:
    """Remove all definitions, and all resource types."""
    for each in (*CHILDREN, table, metadef_resource_types):
        connection.execute(delete(each))


def dump(connection: Connection) -> Definitions:
    """All definitions there are."""
    found = [to_namespace(row) for row in connection.execute(select(table).order_by(table.c.namespace))]
    return [(each, read_contents(connection, each)) for each in found]


def _load(connection: Connection, namespace: Namespace, contents: Contents, manner: Manner) -> Done:
    row = connection.execute(select(table).where(table.c.namespace == namespace.name)).first()
    if row is None:
        fill(connection, insert_namespace(connection, namespace), contents, protected=True)
        return Done.LOADED
    found = to_namespace(row)
    if manner is Manner.SKIP:
        return Done.SKIPPED
    if manner is Manner.OVERWRITE:
        delete_namespace(connection, found)
        fill(connection, insert_namespace(connection, namespace), contents, protected=True)
        return Done.OVERWRITTEN
    _merge(connection, found, namespace, contents, replace=manner is Manner.PREFER_NEW)
    return Done.MERGED


def _merge(
    connection: Connection, found: Namespace, namespace: Namespace, contents: Contents, *, replace: bool
) -> None:
    """Bring into *found* what it lacks of *namespace*, and all of it if it is to *replace* what has the same name."""
    if replace:
        values = namespace_values(evolve(namespace, updated_at=utc_now()))
        connection.execute(update(table).where(table.c.id == found.id).values(values))
    for association in contents.associations or ():
        _merge_association(connection, found, association, replace=replace)
    _merge_items(connection, OBJECTS, found, contents.objects or (), replace=replace)
    _merge_items(connection, TAGS, found, contents.tags or (), replace=replace)
    _merge_items(connection, PROPERTIES, found, contents.properties or (), replace=replace)


def _merge_items(
    connection: Connection, kind: Kind[T], namespace: Namespace, items: Sequence[T], *, replace: bool
) -> None:
    for item in items:
        values = kind.values(item)
        wanted = kind.of(namespace).where(kind.table.c.name == values["name"])
        row: Any = connection.execute(wanted).first()
        if row is None:
            insert_definitions(connection, kind, namespace, [item])
        elif replace:
            changed = values | {"created_at": row.created_at, "updated_at": utc_now()}
            connection.execute(update(kind.table).where(kind.table.c.id == row.id).values(changed))


def _merge_association(
    connection: Connection, namespace: Namespace, association: Association, *, replace: bool
) -> None:
    kinds = metadef_resource_types
    one = select(kinds.c.id).where(kinds.c.name == association.name).scalar_subquery()
    mine = (link.c.namespace_id == namespace.id, link.c.resource_type_id == one)
    if connection.execute(select(link.c.namespace_id).where(*mine)).first() is None:
        insert_association(connection, namespace, association, protected=True)
    elif replace:
        values = {
            "prefix": association.prefix,
            "properties_target": association.properties_target,
            "updated_at": utc_now(),
        }
        connection.execute(update(link).where(*mine).values(values))
