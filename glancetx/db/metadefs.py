"""Namespaces of metadata definitions in the database, whole and one by one: each method is one transaction.

What is in them is changed by `glancetx.db.metadef_items`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Concatenate, Final, ParamSpec, TypeVar

from attrs import evolve
from sqlalchemy import ColumnElement, Connection, delete, or_, select, true, update
from sqlalchemy.exc import IntegrityError

from glancetx.db.engine import Engine
from glancetx.db.metadef_rows import (
    CHILDREN,
    OBJECTS,
    PROPERTIES,
    TAGS,
    Kind,
    TypeRaced,
    insert_association,
    insert_definitions,
    insert_namespace,
    lock_namespace,
    namespace_values,
    select_associations,
    to_association,
    to_namespace,
)
from glancetx.db.paging import behind, ordering
from glancetx.db.schema import metadef_namespace_resource_types as link
from glancetx.db.schema import metadef_namespaces as table
from glancetx.db.schema import metadef_resource_types
from glancetx.db.telling import Tell, nobody
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import DefinitionProtected, Invalid, NamespaceExists, NamespaceNotFound
from glancetx.domain.image import utc_now
from glancetx.domain.metadef import (
    NAMESPACE_KEYS,
    PRIVATE,
    PUBLIC,
    Association,
    Contents,
    MetadefQuery,
    Namespace,
)

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS: Final = 3

Listed = list[tuple[Namespace, Contents]]


class Namespaces:
    """All namespaces of one database. Callers other than administrators see public ones and those of their project.

    *tell* is called at the end of the transaction with what it returns.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, namespace: Namespace, contents: Contents, tell: Tell[Namespace] = nobody) -> Namespace:
        """Insert a namespace with all that is in it, or nothing; returns it with its id.

        :raises NamespaceExists: if the name is taken.
        :raises DefinitionExists, AssociationExists: if *contents* has a name twice.
        """
        return await with_types(self._engine, _create, namespace, contents, tell)

    async def get(self, context: RequestContext, name: str) -> Namespace:
        """:raises NamespaceNotFound: if there is none of that name, for this caller."""
        return await self._engine.read(_get, context, name)

    async def contents(self, context: RequestContext, name: str) -> tuple[Namespace, Contents]:
        """A namespace with all that is in it. :raises NamespaceNotFound: as `get`."""
        return await self._engine.read(_contents, context, name)

    async def list(self, context: RequestContext, query: MetadefQuery) -> Listed:
        """One page, each namespace with its associations and nothing else of its contents.

        :raises NamespaceNotFound: if the marker is none, for this caller.
        :raises Invalid: if the sort key is unknown.
        """
        return await self._engine.read(_list, context, query)

    async def save(self, namespace: Namespace, tell: Tell[Namespace] = nobody) -> Namespace:
        """Write all attributes, the name too; returns it as saved, with its new updated_at.

        :raises NamespaceNotFound: if it was deleted meanwhile. :raises NamespaceExists: if the new name is taken.
        """
        return await self._engine.interact(_save, namespace, tell)

    async def delete(self, namespace: Namespace, tell: Tell[Namespace] = nobody) -> Namespace:
        """Delete it and all that is in it (D-052); returns what it was.

        :raises NamespaceNotFound: if it was deleted meanwhile. :raises DefinitionProtected: if it is protected.
        """
        return await self._engine.interact(_delete, namespace, tell)


async def with_types(
    engine: Engine, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a transaction that may insert resource types; once more if another process inserts the same."""
    for _ in range(ATTEMPTS):
        try:
            return await engine.interact(function, *args, **kwargs)
        except TypeRaced:
            continue
    return await engine.interact(function, *args, **kwargs)


def visible(context: RequestContext) -> ColumnElement[bool]:
    """The condition that the caller may see a namespace."""
    if context.is_admin:
        return true()
    return or_(table.c.visibility == PUBLIC, table.c.owner == context.project_id)


def _create(connection: Connection, namespace: Namespace, contents: Contents, tell: Tell[Namespace]) -> Namespace:
    try:
        made = insert_namespace(connection, namespace)
    except IntegrityError as error:
        raise NamespaceExists(namespace.name) from error
    fill(connection, made, contents)
    tell(connection, made)
    return made


def fill(connection: Connection, namespace: Namespace, contents: Contents, *, protected: bool = False) -> None:
    """Insert *contents* into a namespace; resource types that are new are *protected*, or not."""
    for association in contents.associations or ():
        insert_association(connection, namespace, association, protected=protected)
    insert_definitions(connection, OBJECTS, namespace, contents.objects or ())
    insert_definitions(connection, TAGS, namespace, contents.tags or ())
    insert_definitions(connection, PROPERTIES, namespace, contents.properties or ())


def _get(connection: Connection, context: RequestContext, name: str) -> Namespace:
    # PostgreSQL cannot even be asked for a NUL.
    wanted = (table.c.namespace == name, visible(context))
    row = None if "\0" in name else connection.execute(select(table).where(*wanted)).first()
    if row is None:
        raise NamespaceNotFound(name, formal=True)
    return to_namespace(row)


def _contents(connection: Connection, context: RequestContext, name: str) -> tuple[Namespace, Contents]:
    namespace = _get(connection, context, name)
    return namespace, read_contents(connection, namespace)


def read_contents(connection: Connection, namespace: Namespace) -> Contents:
    """All that is in a namespace: newest tags first, the others by name."""
    newest = ordering(TAGS.table, MetadefQuery().sort)
    return Contents(
        associations=associations_of(connection, [namespace.id])[namespace.id],
        properties=_by_name(connection, PROPERTIES, namespace),
        objects=_by_name(connection, OBJECTS, namespace),
        tags=tuple(TAGS.read(row) for row in connection.execute(TAGS.of(namespace).order_by(*newest))),
    )


def _by_name(connection: Connection, kind: Kind[T], namespace: Namespace) -> tuple[T, ...]:
    rows = connection.execute(kind.of(namespace).order_by(kind.table.c.name))
    return tuple(kind.read(row) for row in rows)


def associations_of(connection: Connection, ids: Sequence[int | None]) -> dict[int | None, tuple[Association, ...]]:
    """The associations of the namespaces with these *ids*."""
    found: dict[int | None, list[Association]] = {each: [] for each in ids}
    for row in connection.execute(select_associations().where(link.c.namespace_id.in_(ids))):
        found[row.namespace_id].append(to_association(row))
    return {each: tuple(associations) for each, associations in found.items()}


def _list(connection: Connection, context: RequestContext, query: MetadefQuery) -> Listed:
    if query.sort_key not in NAMESPACE_KEYS:
        raise Invalid(
            f"Invalid sort key: {query.sort_key}. It must be one of the following: {', '.join(NAMESPACE_KEYS)}."
        )
    conditions = [visible(context), *_matching(query)]
    if query.marker is not None:
        marker = _get(connection, context, query.marker)
        row = dict(connection.execute(select(table).where(table.c.id == marker.id)).mappings().one())
        conditions.append(behind(table, query.sort, row, connection.dialect))
    page = select(table).where(*conditions).order_by(*ordering(table, query.sort)).limit(query.limit)
    namespaces = [to_namespace(row) for row in connection.execute(page)]
    associations = associations_of(connection, [each.id for each in namespaces])
    return [(each, Contents(associations=associations[each.id])) for each in namespaces]


def _matching(query: MetadefQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.visibility == PRIVATE:
        conditions.append(or_(table.c.visibility == PRIVATE, table.c.visibility.is_(None)))
    elif query.visibility is not None:
        conditions.append(table.c.visibility == query.visibility)
    if query.resource_types is not None:
        kinds = select(metadef_resource_types.c.id).where(metadef_resource_types.c.name.in_(query.resource_types))
        conditions.append(table.c.id.in_(select(link.c.namespace_id).where(link.c.resource_type_id.in_(kinds))))
    return conditions


def _save(connection: Connection, namespace: Namespace, tell: Tell[Namespace]) -> Namespace:
    before = lock_namespace(connection, namespace)
    changed = evolve(namespace, created_at=before.created_at, updated_at=utc_now())
    try:
        connection.execute(update(table).where(table.c.id == before.id).values(namespace_values(changed)))
    except IntegrityError as error:
        raise NamespaceExists(namespace.name, renamed=True) from error
    tell(connection, changed)
    return changed


def _delete(connection: Connection, namespace: Namespace, tell: Tell[Namespace]) -> Namespace:
    found = lock_namespace(connection, namespace)
    if found.protected:
        raise DefinitionProtected("namespace", found.name)
    delete_namespace(connection, found)
    tell(connection, found)
    return found


def delete_namespace(connection: Connection, namespace: Namespace) -> None:
    """Delete a namespace and all that is in it, protected or not."""
    for child in CHILDREN:
        connection.execute(delete(child).where(child.c.namespace_id == namespace.id))
    connection.execute(delete(table).where(table.c.id == namespace.id))
