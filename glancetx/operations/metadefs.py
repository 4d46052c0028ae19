"""Namespaces of metadata definitions: who may see and change them (api.md, A-230..A-234)."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from attrs import evolve

from glancetx.access.policy import Policy, not_authorized
from glancetx.db.metadefs import Listed, Namespaces
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import Forbidden, NamespaceNotFound, NotFound
from glancetx.domain.metadef import PUBLIC, Contents, MetadefQuery, Namespace
from glancetx.notifications.metadef_events import MetadefEvents
from glancetx.operations.metadef_documents import (
    Document,
    check_contents,
    check_namespace,
    parse_contents,
    parse_namespace,
)
from glancetx.operations.metadef_schemas import MetadefSchemas

TO_ADD: Final = (
    ("resource_type_associations", "add_metadef_resource_type_association"),
    ("objects", "add_metadef_object"),
    ("properties", "add_metadef_property"),
    ("tags", "add_metadef_tag"),
)
TO_SHOW: Final = (
    "get_metadef_namespace",
    "list_metadef_resource_types",
    "get_metadef_objects",
    "get_metadef_properties",
    "get_metadef_tags",
)


class NamespaceDoor:
    """Finds the namespace that a request is about, for callers who may do what they want to."""

    def __init__(self, namespaces: Namespaces, policy: Policy) -> None:
        self._namespaces = namespaces
        self._policy = policy

    async def enter(self, context: RequestContext, name: str, *rules: str, formal: bool = False) -> Namespace:
        """The namespace, if the caller may do all that *rules* name. *formal*: in which words its absence is told.

        :raises NamespaceNotFound: if there is none, or the caller may not know of it. :raises Forbidden: by policy.
        """
        try:
            namespace = await self._namespaces.get(context, name)
            self.check(context, namespace, *rules)
        except NamespaceNotFound:
            raise NamespaceNotFound(name, formal=formal) from None
        return namespace

    def check(self, context: RequestContext, namespace: Namespace, *rules: str) -> None:
        """:raises Forbidden, NamespaceNotFound: as `enter`."""
        target = namespace_target(namespace)
        for rule in rules:
            if self._policy.allows(rule, context, target):
                continue
            if rule == "get_metadef_namespace" or not self.visible(context, namespace):
                raise NamespaceNotFound(namespace.name)
            raise not_authorized(rule)

    def visible(self, context: RequestContext, namespace: Namespace) -> bool:
        """Whether the policy lets the caller know of the namespace."""
        return self._policy.allows("get_metadef_namespace", context, namespace_target(namespace))

    def allows(self, rule: str, context: RequestContext, namespace: Namespace) -> bool:
        return self._policy.allows(rule, context, namespace_target(namespace))

    def check_any(self, context: RequestContext, *rules: str) -> None:
        """For what concerns no namespace in particular.

        :raises Forbidden: by policy. :raises NotFound: who may not even see namespaces is told of nothing (A-013).
        """
        for rule in rules:
            if not self._policy.allows(rule, context, own_target(context)):
                raise self.refusal(context, rule)

    def refusal(self, context: RequestContext, rule: str) -> Forbidden | NotFound:
        """What a caller is told who may not do what *rule* says to no namespace in particular."""
        if self._policy.allows("get_metadef_namespace", context, own_target(context)):
            return not_authorized(rule)
        return NotFound("The resource could not be found.")


def namespace_target(namespace: Namespace) -> dict[str, Any]:
    """The target of a check about a namespace, or about what is in it."""
    return {
        "namespace": namespace.name,
        "project_id": namespace.owner,
        "owner": namespace.owner,
        "visibility": namespace.visibility,
        "protected": namespace.protected,
    }


def own_target(context: RequestContext) -> dict[str, Any]:
    """The target of a check about whatever the caller's own project has."""
    return {"project_id": context.project_id, "owner": context.project_id, "visibility": PUBLIC}


class Metadefs:
    """The namespaces."""

    def __init__(
        self, namespaces: Namespaces, door: NamespaceDoor, schemas: MetadefSchemas, events: MetadefEvents
    ) -> None:
        self._namespaces = namespaces
        self._door = door
        self._schemas = schemas
        self._events = events

    async def list(self, context: RequestContext, query: MetadefQuery) -> tuple[Listed, str | None]:
        """A page of namespaces with their associations, and the marker of the next page if there may be one (A-230).

        :raises NamespaceNotFound, Invalid, Forbidden: if the marker is none; if the sort key is unknown; by policy.
        """
        self._door.check_any(context, "get_metadef_namespaces", "list_metadef_resource_types")
        if query.limit == 0 and query.marker is None:  # a marker has to exist even so
            return [], None
        page = await self._namespaces.list(context, query)
        last = page[-1][0].name if page and len(page) == query.limit else None
        return [(each, types) for each, types in page if self._door.visible(context, each)], last

    async def create(self, context: RequestContext, document: Any) -> tuple[Namespace, Contents]:
        """A new namespace with all that the document says is in it; or nothing (A-231).

        :raises Invalid, Forbidden, Conflict: if the document breaks a rule, by policy, or if a name is taken.
        """
        self._schemas.check("namespace", document)
        namespace, contents = parse_namespace(document, context.project_id or ""), parse_contents(document)
        rules = [rule for nested, rule in TO_ADD if document.get(nested) is not None]
        self._check_proposed(context, namespace, "add_metadef_namespace", *rules)
        check_namespace("create metadata namespace", namespace)
        check_contents("create metadata namespace", contents)
        made = await self._namespaces.create(namespace, contents, partial(self._events.namespace_created, contents))
        return made, contents

    async def show(
        self, context: RequestContext, name: str, resource_type: str | None = None
    ) -> tuple[Namespace, Contents]:
        """A namespace with all that is in it; with the names that properties have on a *resource_type* (A-232).

        :raises NamespaceNotFound: if there is none, for this caller. :raises Forbidden: by policy.
        """
        namespace, contents = await self._namespaces.contents(context, name)
        try:
            self._door.check(context, namespace, *TO_SHOW)
        except NamespaceNotFound:
            raise NamespaceNotFound(name, formal=True) from None
        return namespace, contents if resource_type is None else contents.seen_from(resource_type)

    async def update(self, context: RequestContext, name: str, document: Document) -> Namespace:
        """Replace all attributes of the namespace itself by those of the document (A-233).

        :raises Invalid, Forbidden, NamespaceNotFound, NamespaceExists: as `create`; or if there is none.
        """
        self._schemas.check("namespace", document)
        namespace = await self._door.enter(context, name, "modify_metadef_namespace")
        changed = parse_namespace(document, context.project_id or "")
        check_namespace("update metadata namespace", changed)
        tell = partial(self._events.namespace_updated, namespace.name)
        return await self._namespaces.save(evolve(changed, id=namespace.id), tell)

    async def delete(self, context: RequestContext, name: str) -> None:
        """Delete the namespace and all that is in it (A-234).

        :raises NamespaceNotFound, Forbidden, DefinitionProtected: as they say.
        """
        namespace = await self._door.enter(context, name, "delete_metadef_namespace")
        await self._namespaces.delete(namespace, self._events.namespace_deleted)

    def _check_proposed(self, context: RequestContext, namespace: Namespace, *rules: str) -> None:
        for rule in rules:
            if not self._door.allows(rule, context, namespace):
                raise self._door.refusal(context, rule)
