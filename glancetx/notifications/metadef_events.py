"""The events of metadata definitions and what each one carries (config.md, C-145 and C-146)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from glancetx.domain.image import utc_now
from glancetx.domain.metadef import PROPERTY_FIELDS, Association, Contents, MetadefObject, Namespace, Property, Tag
from glancetx.notifications.events import moment
from glancetx.notifications.telling import Event, Teller, Where

UNTOLD: Final = ("name", "operators", "readonly")  # the name is told beside the schema
TOLD_OF_PROPERTIES: Final = tuple(name for name in PROPERTY_FIELDS if name not in UNTOLD)

Payload = dict[str, Any]
Definition = Association | MetadefObject | Property | Tag


class MetadefEvents(Teller):
    """What becomes of namespaces and of what is in them. Deleting a namespace is one event, whatever was in it."""

    def namespace_created(self, contents: Contents, transaction: Where, namespace: Namespace) -> None:
        """The namespace, then all that came with it."""
        kinds = (contents.associations, contents.objects, contents.tags, contents.properties)
        created = [_created(namespace, item) for items in kinds for item in items or ()]
        self._tell(transaction, Event("metadef_namespace.create", namespace_payload(namespace)), *created)

    def namespace_updated(self, was: str, transaction: Where, namespace: Namespace) -> None:
        """*was* is the name it had."""
        told = namespace_payload(namespace) | {"namespace_old": was}
        self._tell(transaction, Event("metadef_namespace.update", told))

    def namespace_deleted(self, transaction: Where, namespace: Namespace) -> None:
        self._tell(transaction, Event("metadef_namespace.delete", namespace_payload(namespace) | _gone()))

    def namespace_cleared(self, namespace: Namespace, kind: str, transaction: Where, _: None = None) -> None:
        """All of a *kind* (objects, properties, tags) were deleted."""
        self._tell(transaction, Event(f"metadef_namespace.delete_{kind}", namespace_payload(namespace)))

    def created(self, namespace: Namespace, transaction: Where, items: Sequence[Definition]) -> None:
        """Each of *items* was."""
        self._tell(transaction, *(_created(namespace, item) for item in items))

    def updated(self, namespace: Namespace, was: str, transaction: Where, item: Definition) -> None:
        """*was* is the name it had."""
        told = definition_payload(namespace, item) | {"name_old": was}
        self._tell(transaction, Event(f"{_word(item)}.update", told))

    def deleted(self, namespace: Namespace, transaction: Where, item: Definition) -> None:
        self._tell(transaction, Event(f"{_word(item)}.delete", definition_payload(namespace, item) | _gone()))


def _created(namespace: Namespace, item: Definition) -> Event:
    return Event(f"{_word(item)}.create", definition_payload(namespace, item))


def namespace_payload(namespace: Namespace) -> Payload:
    """What every event about a namespace says of it."""
    return {
        "namespace": namespace.name,
        "namespace_old": namespace.name,
        "display_name": namespace.display_name,
        "protected": namespace.protected,
        "visibility": namespace.visibility,
        "owner": namespace.owner,
        "description": namespace.description,
        **_dates(namespace.created_at, namespace.updated_at),
        **_alive(),
    }


def definition_payload(namespace: Namespace, item: Definition) -> Payload:
    """What every event about something in a namespace says of it."""
    names = {"namespace": namespace.name, "name": item.name, "name_old": item.name}
    if isinstance(item, Property):
        return {**names, **_fields(item.schema), **_alive()}
    return {**names, **_particulars(item), **_dates(item.created_at, item.updated_at), **_alive()}


def _word(item: Definition) -> str:
    words = {Association: "resource_type", MetadefObject: "object", Property: "property", Tag: "tag"}
    return f"metadef_{words[type(item)]}"


def _particulars(item: Association | MetadefObject | Tag) -> Payload:
    if isinstance(item, Association):
        return {"prefix": item.prefix, "properties_target": item.properties_target}
    if isinstance(item, MetadefObject):
        properties = [{"name": name, **_fields(schema)} for name, schema in (item.properties or {}).items()]
        required = list(item.required) if item.required else None
        return {"properties": properties, "required": required, "description": item.description}
    return {}


def _fields(schema: Mapping[str, Any]) -> Payload:
    return {name: schema.get(name) for name in TOLD_OF_PROPERTIES}


def _dates(created_at: datetime, updated_at: datetime | None) -> Payload:
    return {"created_at": moment(created_at), "updated_at": None if updated_at is None else moment(updated_at)}


def _alive() -> Payload:
    return {"deleted": False, "deleted_at": None}


def _gone() -> Payload:
    return {"deleted": True, "deleted_at": moment(utc_now())}
