"""Metadata definitions as JSON documents, with Glance's names and order (api.md, section 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

from glancetx.domain.metadef import (
    Association,
    Contents,
    MetadefObject,
    Namespace,
    Property,
    ResourceType,
    Tag,
    normal_schema,
)
from glancetx.web.views import moment

T = TypeVar("T")
View = dict[str, Any]
Pairs = Sequence[tuple[str, str]]

NAMESPACES: Final = "/v2/metadefs/namespaces"
SCHEMAS: Final = "/v2/schemas/metadefs"


def namespace_path(name: str) -> str:
    """Where a namespace is."""
    return f"{NAMESPACES}/{_part(name)}"


def _part(name: str) -> str:
    """A name as part of a link, as Glance has it: as it is. But what would end the part is quoted."""
    return "".join(quote(each, safe="") if each in "%/?#" else each for each in name)


def namespace_view(namespace: Namespace, contents: Contents | None = None, *, new: bool = False) -> View:
    """A namespace with *contents*: those of a *new* one are shown as they were sent, even if there are none."""
    document = _told(
        namespace=namespace.name,
        display_name=namespace.display_name,
        description=namespace.description,
        visibility=namespace.visibility,
        protected=namespace.protected,
        owner=namespace.owner,
        **_dates(namespace.created_at, namespace.updated_at),
    )
    if contents is not None:
        document |= _contents_view(namespace, contents, new)
    return document | {"self": namespace_path(namespace.name), "schema": f"{SCHEMAS}/namespace"}


def _contents_view(namespace: Namespace, contents: Contents, new: bool) -> View:
    def shown(items: Iterable[T] | None, view: Callable[[T], View]) -> list[View] | None:
        return None if items is None else [view(each) for each in items]

    properties = contents.properties
    views = {
        "resource_type_associations": shown(contents.associations, lambda each: association_view(each, new=new)),
        "properties": None if properties is None else properties_view(properties),
        "objects": shown(contents.objects, lambda each: object_view(each, None if new else namespace.name)),
        "tags": shown(contents.tags, tag_name_view),
    }
    return {name: view for name, view in views.items() if view or (new and view is not None)}


def association_view(association: Association, *, new: bool = False) -> View:
    """An association; one that came with a *new* namespace is shown without its dates."""
    document = _told(name=association.name, prefix=association.prefix, properties_target=association.properties_target)
    return document if new else document | _dates(association.created_at, association.updated_at)


def resource_type_view(resource_type: ResourceType) -> View:
    return {"name": resource_type.name} | _dates(resource_type.created_at, resource_type.updated_at)


def properties_view(properties: Iterable[Property]) -> View:
    """Several, by name. None has its name in it, unless it was sent so."""
    return {each.name: normal_schema(each.schema) for each in properties}


def property_view(each: Property) -> View:
    """One by itself."""
    return {"name": each.name} | {key: value for key, value in normal_schema(each.schema).items() if key != "name"}


def object_view(item: MetadefObject, namespace: str | None = None) -> View:
    """An object with links into the *namespace* of that name; without, it has neither links nor dates."""
    properties = item.properties
    document = _told(
        name=item.name,
        required=None if item.required is None else list(item.required),
        description=item.description,
        properties=None if properties is None else {name: normal_schema(each) for name, each in properties.items()},
    )
    if namespace is None:
        return document
    path = f"{namespace_path(namespace)}/objects/{_part(item.name)}"
    return document | _dates(item.created_at, item.updated_at) | {"self": path, "schema": f"{SCHEMAS}/object"}


def tag_view(tag: Tag) -> View:
    """One by itself."""
    return tag_name_view(tag) | _dates(tag.created_at, tag.updated_at)


def tag_name_view(tag: Tag) -> View:
    """One among others."""
    return {"name": tag.name}


def page_links(query: Pairs, last: str | None) -> View:
    """Links of a page of namespaces; *last* is the marker of the next one if there may be one."""
    rest = [(name, value) for name, value in query if name != "marker"]
    following = {} if last is None else {"next": _link([*rest, ("marker", last)])}
    return following | {"schema": f"{SCHEMAS}/namespaces", "first": _link(rest)}


def _link(query: Pairs) -> str:
    return f"{NAMESPACES}?{urlencode(query)}" if query else NAMESPACES


def _told(**values: Any) -> View:
    """Without what was never said."""
    return {name: value for name, value in values.items() if value is not None}


def _dates(created_at: datetime, updated_at: datetime | None) -> dict[str, str]:
    dates = {"created_at": moment(created_at)}
    return dates if updated_at is None else dates | {"updated_at": moment(updated_at)}
