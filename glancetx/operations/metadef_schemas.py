"""The JSON schemas of metadata definitions, and checking what clients send of them (api.md, A-206, A-249).

Names, types and order are Glance's; clients fetch the documents and obey them. What Glance's schemas let pass and
Glance then stumbles over is kept in stricter schemas of our own, which are not published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from glancetx.domain.errors import Forbidden, Invalid
from glancetx.domain.metadef import PROPERTY_FIELDS, VISIBILITIES
from glancetx.operations.offences import Offences

if TYPE_CHECKING:  # loaded when there is something to say
    from jsonschema.exceptions import ValidationError

Schema = dict[str, Any]

TYPES: Final = ["array", "boolean", "integer", "number", "object", "string", None]
LONGEST_STORY: Final = 10_000  # characters of an offending value that are still laid out for people to read


def _text(description: str | None = None, longest: int | None = None) -> Schema:
    schema: Schema = {"type": "string"}
    if description is not None:
        schema["description"] = description
    if longest is not None:
        schema["maxLength"] = longest
    return schema


def _date(description: str) -> Schema:
    return {"type": "string", "readOnly": True, "description": description, "format": "date-time"}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _type() -> Schema:
    return {"type": "string", "enum": list(TYPES)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _fields() -> Schema:
    """What may be said of a property."""
    return {
        "name": _text(longest=80),
        "title": _text(),
        "description": _text(),
        "operators": _list(_text()),
        "type": _type(),
        "required": _reference("stringArray"),
        "minimum": {"type": "number"},
        "maximum": {"type": "number"},
        "maxLength": _reference("positiveInteger"),
        "minLength": _reference("positiveIntegerDefault0"),
        "pattern": {"type": "string", "format": "regex"},
        "enum": {"type": "array"},
        "readonly": {"type": "boolean"},
        "default": {},
        "items": {"type": "object", "properties": {"type": _type(), "enum": {"type": "array"}}},
        "maxItems": _reference("positiveInteger"),
        "minItems": _reference("positiveIntegerDefault0"),
        "uniqueItems": {"type": "boolean", "default": False},
        "additionalItems": {"type": "boolean"},
    }


def _basics() -> Schema:
    return {
        "positiveInteger": {"type": "integer", "minimum": 0},
        "positiveIntegerDefault0": {"allOf": [_reference("positiveInteger"), {"default": 0}]},
    }


def _definitions() -> Schema:
    """What the schemas of namespaces and objects refer to."""
    names = _list(_text()) | {"uniqueItems": True}
    one: Schema = {"type": "object", "required": ["title", "type"], "properties": _fields()}
    return {**_basics(), "stringArray": names, "property": {"type": "object", "additionalProperties": one}}


def _property_definitions() -> Schema:
    return {**_basics(), "stringArray": _list(_text()) | {"minItems": 1, "uniqueItems": True}}


def _named(name: str, properties: Schema, required: list[str], definitions: Schema | None = None) -> Schema:
    known = {"definitions": definitions} if definitions is not None else {}
    return {"name": name, "properties": properties, "additionalProperties": False, **known, "required": required}


def _collection(name: str, members: Schema, definitions: Schema | None = None) -> Schema:
    links = [("first", "{first}"), ("next", "{next}"), ("describedby", "{schema}")]
    document: Schema = {
        "name": name,
        "properties": {name: members, "first": _text(), "next": _text(), "schema": _text()},
        "links": [{"rel": rel, "href": href} for rel, href in links],
    }
    return document if definitions is None else document | {"definitions": definitions}


def _own_links() -> Schema:
    return {"schema": {"readOnly": True, "type": "string"}, "self": {"readOnly": True, "type": "string"}}


def namespace_properties() -> Schema:
    """The attributes of a namespace."""
    nested = {"name": _text(), "prefix": _text(), "properties_target": _text()}
    group: Schema = {
        "name": _text(),
        "description": _text(),
        "required": _reference("stringArray"),
        "properties": _reference("property"),
    }
    return {
        "namespace": _text("Name of the namespace, unique in the whole service", 80),
        "display_name": _text("Name of the namespace as people are shown it", 80),
        "description": _text("What the namespace is about", 500),
        "visibility": _text("Who may see the namespace") | {"enum": list(VISIBILITIES)},
        "protected": {"type": "boolean", "description": "If true, neither the namespace nor its content is deleted."},
        "owner": _text("The project to which the namespace belongs", 255),
        "created_at": _date("When the namespace was created"),
        "updated_at": _date("When the namespace was last changed"),
        **_own_links(),
        "resource_type_associations": _list({"type": "object", "properties": nested}),
        "properties": _reference("property"),
        "objects": _list({"type": "object", "properties": group}),
        "tags": _list({"type": "object", "properties": {"name": _text()}}),
    }


def object_properties() -> Schema:
    """The attributes of an object."""
    return {
        "name": _text(longest=80),
        "description": _text(),
        "required": _reference("stringArray"),
        "properties": _reference("property"),
        **_own_links(),
        "created_at": _date("When the object was created"),
        "updated_at": _date("When the object was last changed"),
    }


def tag_properties() -> Schema:
    """The attributes of a tag."""
    return {
        "name": _text(longest=80),
        "created_at": _date("When the tag was created"),
        "updated_at": _date("When the tag was last changed"),
    }


def association_properties() -> Schema:
    """The attributes of an association with a resource type."""
    return {
        "name": _text("The resource type; for most there is a name by which Heat knows them", 80),
        "prefix": _text(
            "What the names of the namespace's properties begin with on such resources, separator and all", 80
        ),
        "properties_target": _text("Which of several sets of properties is meant, where a resource has several", 80),
        "created_at": _date("When the association was made"),
        "updated_at": _date("When the association was last changed"),
    }


def documents() -> dict[str, Schema]:
    """The documents below ``/v2/schemas/metadefs/`` by their last part."""
    namespace = _named("namespace", namespace_properties(), ["namespace"])
    item = _named("object", object_properties(), ["name"])
    one = _named("property", _fields(), ["type", "title"])
    tag = _named("tag", tag_properties(), ["name"])
    association = _named("resource_type_association", association_properties(), ["name"])
    members: Schema = {"type": "object", "additionalProperties": one}
    return {
        "namespace": _named("namespace", namespace_properties(), ["namespace"], _definitions()),
        "namespaces": _collection("namespaces", _list(namespace), _definitions()),
        "object": _named("object", object_properties(), ["name"], _definitions()),
        "objects": _collection("objects", _list(item), _definitions()),
        "property": _named("property", _fields(), ["type", "title", "name"], _property_definitions()),
        "properties": _collection("properties", members, _property_definitions()),
        "tag": tag,
        "tags": _collection("tags", _list(tag)),
        "resource_type": association,
        "resource_types": _collection("resource_type_associations", _list(association)),
    }


NAME: Final[Schema] = {"minLength": 1, "maxLength": 80}
TEXTS: Final[Schema] = {"items": {"type": "string"}}
DATES: Final[Schema] = {"created_at": {}, "updated_at": {}}
ITEMS: Final[Schema] = {"required": ["type"], "additionalProperties": False, "properties": {"type": {}, "enum": TEXTS}}

# What a Glance on the same database could not read again.
PROPERTY: Final[Schema] = {
    "additionalProperties": False,
    "properties": {name: {} for name in PROPERTY_FIELDS} | {"enum": TEXTS, "items": ITEMS},
}
OBJECT: Final[Schema] = {
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": NAME,
        "description": {},
        "required": {"items": {"minLength": 1, "pattern": "^[^,]*$"}},  # they are kept in one text, with commas between
        "properties": {"additionalProperties": PROPERTY},
        "self": {},
        "schema": {},
        **DATES,
    },
}
TAG: Final[Schema] = {"required": ["name"], "additionalProperties": False, "properties": {"name": NAME, **DATES}}
ASSOCIATION: Final[Schema] = {
    "required": ["name"],
    "additionalProperties": False,
    "properties": {"name": NAME, "prefix": {"maxLength": 80}, "properties_target": {"maxLength": 80}, **DATES},
}
NAMESPACE: Final[Schema] = {
    "properties": {
        "namespace": NAME,
        "resource_type_associations": {"items": ASSOCIATION},
        "properties": {"propertyNames": NAME, "additionalProperties": PROPERTY},
        "objects": {"items": OBJECT},
        "tags": {"items": TAG},
    }
}
STRICTER: Final[Mapping[str, Schema]] = {
    "namespace": NAMESPACE,
    "object": OBJECT,
    "property": {**PROPERTY, "properties": {**PROPERTY["properties"], "name": NAME}},
    "tag": TAG,
    "resource_type": ASSOCIATION,
    "tags": {"required": ["tags"], "properties": {"tags": {"items": TAG}}},
}
READ_ONLY: Final[Mapping[str, tuple[str, ...]]] = {
    "namespace": ("created_at", "updated_at", "self", "schema"),
    "object": ("created_at", "updated_at", "self", "schema"),
    "property": ("created_at", "updated_at"),
    "tag": ("created_at", "updated_at"),
    "resource_type": ("created_at", "updated_at"),
}


def _unique_texts(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """``uniqueItems`` for texts. The library compares each element with each if they cannot be sorted."""
    texts = isinstance(instance, list) and all(isinstance(each, str) for each in instance)
    if wanted and texts and len(set(instance)) < len(instance):
        from jsonschema.exceptions import ValidationError

        yield ValidationError(f"{instance!r} has non-unique elements")


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    return extend(Draft202012Validator, {"uniqueItems": _unique_texts})


class MetadefSchemas:
    """The published documents, and the checks of what clients send."""

    def __init__(self) -> None:
        self.documents = documents()
        self._offences = {
            name: (Offences(self._sent(name), _validator), Offences(stricter, _validator))
            for name, stricter in STRICTER.items()
        }

    def check(self, name: str, document: Any) -> None:
        """That *document* may be sent as a *name* (namespace, object ...).

        :raises Invalid: with the first offence. :raises Forbidden: if it sets what only the service sets.
        """
        if not isinstance(document, dict):
            raise Invalid("Unexpected body type. Expected list/dict.")
        for attribute in READ_ONLY.get(name, ()):
            if attribute in document:
                raise Forbidden(f"Attribute '{attribute}' is read-only.")
        self.check_shape(name, document)

    def check_shape(self, name: str, document: Mapping[str, Any]) -> None:
        """As `check`, for what may hold what only the service sets. :raises Invalid: with the first offence."""
        for offences in self._offences[name]:
            error = offences.worst(document)
            if error is not None:
                shown = self.documents[name]["name"]
                raise Invalid(f"Provided object does not match schema '{shown}': {_story(error)}")

    def _sent(self, name: str) -> Schema:
        """A list of tags is sent without what a list that is shown has around it, and tags without dates."""
        if name != "tags":
            return self.documents[name]
        tag: Schema = {"type": "object", "properties": {"name": _text()}, "required": ["name"]}
        tags = _list(tag | {"additionalProperties": False})
        return {"properties": {"tags": tags}, "additionalProperties": False}


def _story(error: ValidationError) -> str:
    """What is wrong, and where; laid out only if that is soon done."""
    if len(repr(error.instance)) <= LONGEST_STORY:
        return str(error)
    return error.message[:LONGEST_STORY]
