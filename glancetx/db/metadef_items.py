"""What is in a namespace - objects, properties, tags, associations - in the database: each method is one transaction.

Who may see the namespace was asked before; that it is still there, and not protected, is seen to here. *tell* is called
at the end of the transaction with what was written, or is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError

from glancetx.db.engine import Engine
from glancetx.db.metadef_rows import (
    TAGS,
    Kind,
    insert_association,
    insert_definitions,
    lock_namespace,
    select_associations,
    to_association,
)
from glancetx.db.metadefs import with_types
from glancetx.db.paging import behind, ordering
from glancetx.db.schema import metadef_namespace_resource_types as link
from glancetx.db.schema import metadef_resource_types
from glancetx.db.telling import Tell, nobody
from glancetx.domain.errors import (
    AssociationNotFound,
    DefinitionExists,
    DefinitionNotFound,
    DefinitionProtected,
    Invalid,
)
from glancetx.domain.image import utc_now
from glancetx.domain.metadef import TAG_KEYS, Association, MetadefQuery, Namespace, ResourceType, Tag

T = TypeVar("T")
Items = list[T]
TypeList = list[ResourceType]
AssociationList = list[Association]


class Definitions(Generic[T]):
    """All definitions of one *kind*."""

    def __init__(self, engine: Engine, kind: Kind[T]) -> None:
        self._engine = engine
        self.kind = kind

    async def list(self, namespace: Namespace) -> Items[T]:
        """All of a namespace, by name."""
        return await self._engine.read(_list, self.kind, namespace)

    async def get(self, namespace: Namespace, name: str) -> T:
        """:raises DefinitionNotFound: if there is none of that name."""
        return await self._engine.read(_get, self.kind, namespace, name)

    async def add(self, namespace: Namespace, items: Sequence[T], tell: Tell[Sequence[T]] = nobody) -> None:
        """Insert all, or none. :raises NamespaceNotFound, DefinitionExists: as they say."""
        await self._engine.interact(_add, self.kind, namespace, items, tell)

    async def save(self, namespace: Namespace, name: str, item: T, tell: Tell[T] = nobody) -> T:
        """Write *item* in place of the one called *name*; returns it as saved.

        :raises DefinitionNotFound: if there is none. :raises DefinitionExists: if the new name is taken.
        """
        return await self._engine.interact(_save, self.kind, namespace, name, item, tell)

    async def remove(self, namespace: Namespace, name: str, tell: Tell[T] = nobody) -> T:
        """Returns what it was. :raises DefinitionNotFound, DefinitionProtected: as they say."""
        return await self._engine.interact(_remove, self.kind, namespace, name, tell)

    async def clear(self, namespace: Namespace, tell: Tell[None] = nobody) -> None:
        """Remove all of the namespace. :raises NamespaceNotFound, DefinitionProtected: as they say."""
        await self._engine.interact(_clear, self.kind, namespace, tell)


class TagRows(Definitions[Tag]):
    """All tags."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, TAGS)

    async def page(self, namespace: Namespace, query: MetadefQuery) -> Items[Tag]:
        """One page, or all. :raises DefinitionNotFound: if the marker is none. :raises Invalid: as the sort key is."""
        return await self._engine.read(_page, namespace, query)

    async def replace(self, namespace: Namespace, tags: Sequence[Tag], tell: Tell[Sequence[Tag]] = nobody) -> None:
        """Remove all, then insert these. :raises NamespaceNotFound, DefinitionExists: nothing has changed then."""
        await self._engine.interact(_replace, namespace, tags, tell)


class ResourceTypes:
    """The types of resources, and which namespaces are for which of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list(self) -> TypeList:
        """In the order in which they were first named."""
        return await self._engine.read(_types)

    async def of(self, namespace: Namespace) -> AssociationList:
        """The associations of a namespace."""
        return await self._engine.read(_associations, namespace)

    async def associate(
        self, namespace: Namespace, association: Association, tell: Tell[Sequence[Association]] = nobody
    ) -> None:
        """:raises NamespaceNotFound, AssociationExists: as they say."""
        await with_types(self._engine, _associate, namespace, association, tell)

    async def dissociate(self, namespace: Namespace, name: str, tell: Tell[Association] = nobody) -> Association:
        """Returns what it was. :raises AssociationNotFound, DefinitionProtected: as they say."""
        return await self._engine.interact(_dissociate, namespace, name, tell)


def _list(connection: Connection, kind: Kind[T], namespace: Namespace) -> Items[T]:
    return [kind.read(row) for row in connection.execute(kind.of(namespace).order_by(kind.table.c.name))]


def _get(connection: Connection, kind: Kind[T], namespace: Namespace, name: str) -> T:
    return kind.read(_find(connection, kind, namespace, name))


def _find(connection: Connection, kind: Kind[T], namespace: Namespace, name: str) -> Any:
    # PostgreSQL cannot even be asked for a NUL.
    row = None if "\0" in name else connection.execute(kind.of(namespace).where(kind.table.c.name == name)).first()
    if row is None:
        raise DefinitionNotFound(kind.word, name)
    return row


def _add(
    connection: Connection, kind: Kind[T], namespace: Namespace, items: Sequence[T], tell: Tell[Sequence[T]]
) -> None:
    insert_definitions(connection, kind, lock_namespace(connection, namespace), items)
    tell(connection, items)


def _save(connection: Connection, kind: Kind[T], namespace: Namespace, name: str, item: T, tell: Tell[T]) -> T:
    lock_namespace(connection, namespace)
    row = _find(connection, kind, namespace, name)
    values = kind.values(item) | {"created_at": row.created_at, "updated_at": utc_now()}
    try:
        connection.execute(update(kind.table).where(kind.table.c.id == row.id).values(values))
    except IntegrityError as error:
        raise DefinitionExists(kind.word, values["name"], namespace.name) from error
    saved = kind.read(connection.execute(select(kind.table).where(kind.table.c.id == row.id)).one())
    tell(connection, saved)
    return saved


def _remove(connection: Connection, kind: Kind[T], namespace: Namespace, name: str, tell: Tell[T]) -> T:
    found = lock_namespace(connection, namespace)
    row = _find(connection, kind, namespace, name)
    if found.protected:
        raise DefinitionProtected(kind.word, row.name)
    connection.execute(delete(kind.table).where(kind.table.c.id == row.id))
    removed = kind.read(row)
    tell(connection, removed)
    return removed


def _clear(connection: Connection, kind: Kind[Any], namespace: Namespace, tell: Tell[None]) -> None:
    if lock_namespace(connection, namespace).protected:
        raise DefinitionProtected("namespace", namespace.name)
    connection.execute(delete(kind.table).where(kind.table.c.namespace_id == namespace.id))
    tell(connection, None)


def _page(connection: Connection, namespace: Namespace, query: MetadefQuery) -> Items[Tag]:
    if query.sort_key not in TAG_KEYS:
        raise Invalid(f"Invalid sort key: {query.sort_key}. It must be one of the following: {', '.join(TAG_KEYS)}.")
    page = TAGS.of(namespace).order_by(*ordering(TAGS.table, query.sort)).limit(query.limit)
    if query.marker is not None:
        marker = dict(_find(connection, TAGS, namespace, query.marker)._mapping)
        page = page.where(behind(TAGS.table, query.sort, marker, connection.dialect))
    return [TAGS.read(row) for row in connection.execute(page)]


def _replace(connection: Connection, namespace: Namespace, tags: Sequence[Tag], tell: Tell[Sequence[Tag]]) -> None:
    found = lock_namespace(connection, namespace)
    connection.execute(delete(TAGS.table).where(TAGS.table.c.namespace_id == found.id))
    insert_definitions(connection, TAGS, found, tags)
    tell(connection, tags)


def _types(connection: Connection) -> TypeList:
    table = metadef_resource_types
    rows = connection.execute(select(table).order_by(table.c.id))
    return [ResourceType(name=row.name, created_at=row.created_at, updated_at=row.updated_at) for row in rows]


def _associations(connection: Connection, namespace: Namespace) -> AssociationList:
    found = select_associations().where(link.c.namespace_id == namespace.id)
    return [to_association(row) for row in connection.execute(found)]


def _associate(
    connection: Connection, namespace: Namespace, association: Association, tell: Tell[Sequence[Association]]
) -> None:
    insert_association(connection, lock_namespace(connection, namespace), association)
    tell(connection, [association])


def _dissociate(connection: Connection, namespace: Namespace, name: str, tell: Tell[Association]) -> Association:
    found = lock_namespace(connection, namespace)
    kinds = metadef_resource_types
    mine = link.c.namespace_id == found.id
    row = None if "\0" in name else connection.execute(select_associations().where(mine, kinds.c.name == name)).first()
    if row is None:
        raise AssociationNotFound(name)
    if found.protected:
        raise DefinitionProtected("resource-type-association", row.name)
    one = select(kinds.c.id).where(kinds.c.name == row.name).scalar_subquery()
    connection.execute(delete(link).where(mine, link.c.resource_type_id == one))
    removed = to_association(row)
    tell(connection, removed)
    return removed
