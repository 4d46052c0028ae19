"""What is in a namespace of metadata definitions: who may see and change it (api.md, A-235..A-248)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from attrs import evolve

from glancetx.db.metadef_items import Definitions, ResourceTypes, TagRows
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import NotFound
from glancetx.domain.metadef import Association, MetadefObject, MetadefQuery, Property, ResourceType, Tag
from glancetx.notifications.metadef_events import MetadefEvents
from glancetx.operations.metadef_documents import (
    check_association,
    check_object,
    check_property,
    check_texts,
    parse_association,
    parse_object,
    parse_property,
    parse_tag,
)
from glancetx.operations.metadef_schemas import MetadefSchemas
from glancetx.operations.metadefs import NamespaceDoor

ObjectList = list[MetadefObject]
PropertyList = list[Property]
TypeList = list[ResourceType]
AssociationList = list[Association]
TagList = Sequence[Tag]


class MetadefObjects:
    """Objects: properties that belong together."""

    def __init__(
        self, objects: Definitions[MetadefObject], door: NamespaceDoor, schemas: MetadefSchemas, events: MetadefEvents
    ) -> None:
        self._objects = objects
        self._door = door
        self._schemas = schemas
        self._events = events

    async def list(self, context: RequestContext, namespace: str) -> ObjectList:
        """All that the caller may see, by name. :raises NamespaceNotFound, Forbidden: as they say."""
        found = await self._door.enter(context, namespace, "get_metadef_objects", formal=True)
        shown = self._door.allows("get_metadef_object", context, found)
        return await self._objects.list(found) if shown else []

    async def create(self, context: RequestContext, namespace: str, document: Any) -> MetadefObject:
        """:raises Invalid, Forbidden, NamespaceNotFound, DefinitionExists: as they say."""
        self._schemas.check("object", document)
        found = await self._door.enter(context, namespace, "add_metadef_object", formal=True)
        item = parse_object(document)
        check_object("create metadata object", item)
        await self._objects.add(found, [item], partial(self._events.created, found))
        return item

    async def get(self, context: RequestContext, namespace: str, name: str) -> MetadefObject:
        """:raises NamespaceNotFound, DefinitionNotFound, Forbidden: as they say."""
        found = await self._door.enter(context, namespace, "get_metadef_object", formal=True)
        return await self._objects.get(found, name)

    async def update(self, context: RequestContext, namespace: str, name: str, document: Any) -> MetadefObject:
        """:raises Invalid, Forbidden, NamespaceNotFound, DefinitionNotFound, DefinitionExists: as they say."""
        self._schemas.check("object", document)
        found = await self._door.enter(context, namespace, "modify_metadef_object", formal=True)
        item = parse_object(document)
        check_object("update metadata object", item)
        saved = await self._objects.save(found, name, item, partial(self._events.updated, found, name))
        return evolve(item, created_at=saved.created_at, updated_at=saved.updated_at)

    async def delete(self, context: RequestContext, namespace: str, name: str) -> None:
        """:raises Forbidden, NamespaceNotFound, DefinitionNotFound, DefinitionProtected: as they say."""
        found = await self._door.enter(context, namespace, "delete_metadef_object", formal=True)
        await self._objects.remove(found, name, partial(self._events.deleted, found))

    async def clear(self, context: RequestContext, namespace: str) -> None:
        """Delete all. :raises Forbidden, NamespaceNotFound, DefinitionProtected: as they say."""
        found = await self._door.enter(context, namespace, "delete_metadef_namespace")
        await self._objects.clear(found, partial(self._events.namespace_cleared, found, "objects"))


class MetadefProperties:
    """Properties that stand by themselves."""

    def __init__(
        self,
        properties: Definitions[Property],
        types: ResourceTypes,
        door: NamespaceDoor,
        schemas: MetadefSchemas,
        events: MetadefEvents,
    ) -> None:
        self._properties = properties
        self._types = types
        self._door = door
        self._schemas = schemas
        self._events = events

    async def list(self, context: RequestContext, namespace: str) -> PropertyList:
        """All, by name. :raises NamespaceNotFound, Forbidden: as they say."""
        return await self._properties.list(await self._door.enter(context, namespace, "get_metadef_properties"))

    async def create(self, context: RequestContext, namespace: str, document: Any) -> Property:
        """:raises Invalid, Forbidden, NamespaceNotFound, DefinitionExists: as they say."""
        self._schemas.check("property", document)
        found = await self._door.enter(context, namespace, "add_metadef_property")
        item = parse_property(document)
        check_property("create metadata property", item)
        await self._properties.add(found, [item], partial(self._events.created, found))
        return item

    async def get(
        self, context: RequestContext, namespace: str, name: str, resource_type: str | None = None
    ) -> Property:
        """A property; with a *resource_type*, *name* is the one it has on such resources (A-242).

        :raises NamespaceNotFound, DefinitionNotFound, Forbidden: as they say.
        :raises NotFound: if the namespace is not for that type, or the name is without the prefix.
        """
        found = await self._door.enter(context, namespace, "get_metadef_property")
        if resource_type:
            self._door.check(context, found, "get_metadef_resource_type")
            prefix = await self._prefix(await self._types.of(found), resource_type, found.name)
            if not name.startswith(prefix):
                raise NotFound(
                    f"Property {name} does not start with the expected resource type association prefix of '{prefix}'."
                )
            name = name.removeprefix(prefix)
        return await self._properties.get(found, name)

    async def update(self, context: RequestContext, namespace: str, name: str, document: Any) -> Property:
        """:raises Invalid, Forbidden, NamespaceNotFound, DefinitionNotFound, DefinitionExists: as they say."""
        self._schemas.check("property", document)
        found = await self._door.enter(context, namespace, "modify_metadef_property")
        item = parse_property(document)
        check_property("update metadata property", item)
        return await self._properties.save(found, name, item, partial(self._events.updated, found, name))

    async def delete(self, context: RequestContext, namespace: str, name: str) -> None:
        """:raises Forbidden, NamespaceNotFound, DefinitionNotFound, DefinitionProtected: as they say."""
        found = await self._door.enter(context, namespace, "remove_metadef_property")
        await self._properties.remove(found, name, partial(self._events.deleted, found))

    async def clear(self, context: RequestContext, namespace: str) -> None:
        """Delete all. :raises Forbidden, NamespaceNotFound, DefinitionProtected: as they say."""
        found = await self._door.enter(context, namespace, "delete_metadef_namespace")
        await self._properties.clear(found, partial(self._events.namespace_cleared, found, "properties"))

    async def _prefix(self, associations: AssociationList, resource_type: str, namespace: str) -> str:
        for each in associations:
            if each.name == resource_type:
                return each.prefix or ""
        if any(each.name == resource_type for each in await self._types.list()):
            raise NotFound(
                f"The metadata definition resource-type association of resource-type={resource_type} "
                f"to namespace={namespace}, was not found."
            )
        raise NotFound(f"The metadata definition resource-type with name={resource_type}, was not found.")


class MetadefTags:
    """Tags, one by one and many at once."""

    def __init__(self, tags: TagRows, door: NamespaceDoor, schemas: MetadefSchemas, events: MetadefEvents) -> None:
        self._tags = tags
        self._door = door
        self._schemas = schemas
        self._events = events

    async def list(self, context: RequestContext, namespace: str, query: MetadefQuery) -> TagList:
        """A page, or all. :raises NamespaceNotFound, DefinitionNotFound, Invalid, Forbidden: as they say."""
        found = await self._door.enter(context, namespace, "get_metadef_tags")
        return [] if query.limit == 0 else await self._tags.page(found, query)

    async def create_all(self, context: RequestContext, namespace: str, document: Any, *, append: bool) -> TagList:
        """Add many, all or none; unless *append*, they replace those that are there (A-247).

        :raises Invalid, Forbidden, NamespaceNotFound, DefinitionExists: as they say.
        """
        self._schemas.check("tags", document)
        found = await self._door.enter(context, namespace, "add_metadef_tags")
        tags = [parse_tag(each) for each in document["tags"]]
        for tag in tags:
            check_texts("create metadata tags", {"Name": tag.name})
        write = self._tags.add if append or not tags else self._tags.replace  # an empty list replaces nothing in Glance
        await write(found, tags, partial(self._events.created, found))
        return tags

    async def create(self, context: RequestContext, namespace: str, name: str) -> Tag:
        """:raises Invalid, Forbidden, NamespaceNotFound, DefinitionExists: as they say."""
        self._schemas.check("tag", {"name": name})
        found = await self._door.enter(context, namespace, "add_metadef_tag")
        tag = Tag(name=name)
        check_texts("create metadata tag", {"Name": name})
        await self._tags.add(found, [tag], partial(self._events.created, found))
        return tag

    async def get(self, context: RequestContext, namespace: str, name: str) -> Tag:
        """:raises NamespaceNotFound, DefinitionNotFound, Forbidden: as they say."""
        return await self._tags.get(await self._door.enter(context, namespace, "get_metadef_tag"), name)

    async def update(self, context: RequestContext, namespace: str, name: str, document: Any) -> Tag:
        """Rename. :raises Invalid, Forbidden, NamespaceNotFound, DefinitionNotFound, DefinitionExists: as they say."""
        self._schemas.check("tag", document)
        found = await self._door.enter(context, namespace, "modify_metadef_tag")
        tag = parse_tag(document)
        check_texts("update metadata tag", {"Name": tag.name})
        return await self._tags.save(found, name, tag, partial(self._events.updated, found, name))

    async def delete(self, context: RequestContext, namespace: str, name: str) -> None:
        """:raises Forbidden, NamespaceNotFound, DefinitionNotFound, DefinitionProtected: as they say."""
        found = await self._door.enter(context, namespace, "delete_metadef_tag")
        await self._tags.remove(found, name, partial(self._events.deleted, found))

    async def clear(self, context: RequestContext, namespace: str) -> None:
        """Delete all. :raises Forbidden, NamespaceNotFound, DefinitionProtected: as they say."""
        found = await self._door.enter(context, namespace, "delete_metadef_namespace", "delete_metadef_tags")
        await self._tags.clear(found, partial(self._events.namespace_cleared, found, "tags"))


class MetadefTypes:
    """Types of resources, and which namespaces are for them."""

    def __init__(
        self, types: ResourceTypes, door: NamespaceDoor, schemas: MetadefSchemas, events: MetadefEvents
    ) -> None:
        self._types = types
        self._door = door
        self._schemas = schemas
        self._events = events

    async def list(self, context: RequestContext) -> TypeList:
        """All types that were ever named. :raises Forbidden: by policy."""
        self._door.check_any(context, "list_metadef_resource_types")
        return await self._types.list()

    async def of(self, context: RequestContext, namespace: str) -> AssociationList:
        """The associations of a namespace. :raises NamespaceNotFound, Forbidden: as they say."""
        found = await self._door.enter(context, namespace, "list_metadef_resource_types")
        shown = self._door.allows("get_metadef_resource_type", context, found)
        return await self._types.of(found) if shown else []

    async def associate(self, context: RequestContext, namespace: str, document: Any) -> Association:
        """:raises Invalid, Forbidden, NamespaceNotFound, AssociationExists: as they say."""
        self._schemas.check("resource_type", document)
        found = await self._door.enter(context, namespace, "add_metadef_resource_type_association")
        association = parse_association(document)
        check_association("create metadata resource type association", association)
        await self._types.associate(found, association, partial(self._events.created, found))
        return association

    async def dissociate(self, context: RequestContext, namespace: str, name: str) -> None:
        """:raises Forbidden, NamespaceNotFound, AssociationNotFound, DefinitionProtected: as they say."""
        found = await self._door.enter(context, namespace, "remove_metadef_resource_type_association")
        await self._types.dissociate(found, name, partial(self._events.deleted, found))
