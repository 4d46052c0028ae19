"""From documents that clients send, or that lie in files, to metadata definitions. The schema was checked before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from glancetx.domain.errors import Invalid
from glancetx.domain.metadef import (
    PRIVATE,
    Association,
    Contents,
    MetadefObject,
    Namespace,
    Property,
    Tag,
    normal_schema,
)

Document = Mapping[str, Any]

LONGEST: Final = 65535  # bytes of a TEXT in MariaDB; elsewhere there is more room, but clouds move


def parse_namespace(document: Document, owner: str) -> Namespace:
    """The namespace itself; it belongs to *owner* if the document does not say otherwise."""
    return Namespace(
        name=document["namespace"],
        owner=document.get("owner") or owner,
        display_name=document.get("display_name"),
        description=document.get("description"),
        visibility=document.get("visibility", PRIVATE),
        protected=document.get("protected", False),
    )


def parse_contents(document: Document) -> Contents:
    """What is in a namespace."""
    properties = document.get("properties")
    return Contents(
        associations=_each(parse_association, document.get("resource_type_associations")),
        properties=None if properties is None else tuple(nested_property(*pair) for pair in properties.items()),
        objects=_each(parse_object, document.get("objects")),
        tags=_each(parse_tag, document.get("tags")),
    )


def _each(parse: Any, documents: Any) -> Any:
    return None if documents is None else tuple(parse(each) for each in documents)


def parse_association(document: Document) -> Association:
    return Association(
        name=document["name"], prefix=document.get("prefix"), properties_target=document.get("properties_target")
    )


def parse_property(document: Document) -> Property:
    """A property that stands by itself."""
    return Property(name=document["name"], schema=normal_schema(document))


def nested_property(name: str, document: Document) -> Property:
    """A property among others, under its name."""
    return Property(name=name, schema=normal_schema(document))


def parse_object(document: Document) -> MetadefObject:
    required, properties = document.get("required"), document.get("properties")
    return MetadefObject(
        name=document["name"],
        description=document.get("description"),
        required=None if required is None else tuple(required),
        properties=None if properties is None else {name: normal_schema(each) for name, each in properties.items()},
    )


def parse_tag(document: Document) -> Tag:
    return Tag(name=document["name"])


def check_texts(doing: str, texts: Mapping[str, str | None]) -> None:
    """That every database can keep them (A-016). *texts* have the names that an error calls them by.

    :raises Invalid: if one has a character beyond the basic plane, or a NUL.
    """
    for name, text in texts.items():
        if any(character > "\uffff" for character in text or ""):
            raise Invalid(f"Couldn't {doing}: {name} can't contain 4 byte unicode characters.")
        if "\0" in (text or ""):
            raise Invalid(f"Couldn't {doing}: {name} can't contain a NUL character.")


def check_namespace(doing: str, namespace: Namespace) -> None:
    """:raises Invalid: as `check_texts`."""
    texts = {
        "Namespace": namespace.name,
        "Display_Name": namespace.display_name,
        "Description": namespace.description,
        "Owner": namespace.owner,
    }
    check_texts(doing, texts)


def check_contents(doing: str, contents: Contents) -> None:
    """:raises Invalid: as `check_texts`."""
    for association in contents.associations or ():
        check_association(doing, association)
    for item in contents.objects or ():
        check_object(doing, item)
    for tag in contents.tags or ():
        check_texts(doing, {"Name": tag.name})
    for each in contents.properties or ():
        check_property(doing, each)


def check_association(doing: str, association: Association) -> None:
    """:raises Invalid: as `check_texts`."""
    target = association.properties_target
    check_texts(doing, {"Name": association.name, "Prefix": association.prefix, "Properties_Target": target})


def check_object(doing: str, item: MetadefObject) -> None:
    """:raises Invalid: as `check_texts`, or if it is too large. Its properties are JSON, where all is allowed."""
    required = ",".join(item.required or ())
    check_texts(doing, {"Name": item.name, "Description": item.description, "Required": required})
    _check_room(doing, item.description or "", required, json.dumps(item.properties or {}))


def check_property(doing: str, each: Property) -> None:
    """:raises Invalid: as `check_texts`, for its name and, as Glance, title and description; or if it is too large."""
    words = {field.capitalize(): each.schema.get(field) for field in ("title", "description")}
    check_texts(doing, {"Name": each.name, **words})
    _check_room(doing, json.dumps(each.schema))


def _check_room(doing: str, *texts: str) -> None:
    if any(len(text.encode()) > LONGEST for text in texts):
        raise Invalid(f"Couldn't {doing}: it is too large for the database, which holds {LONGEST} bytes of it.")
