"""Metadata definitions: which properties things may have, what they mean, and of which things (api.md, section 11).

A namespace holds properties, objects (groups of properties) and tags, and names the types of resources they are for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import evolve, field, frozen

from glancetx.domain.image import utc_now

PUBLIC: Final = "public"
PRIVATE: Final = "private"
VISIBILITIES: Final = (PUBLIC, PRIVATE)

# In the order in which Glance shows them.
PROPERTY_FIELDS: Final = (
    "name",
    "type",
    "title",
    "description",
    "operators",
    "default",
    "readonly",
    "minimum",
    "maximum",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "confidential",
    "items",
    "uniqueItems",
    "minItems",
    "maxItems",
    "additionalItems",
)

NAMESPACE_KEYS: Final = (
    "namespace",
    "created_at",
    "updated_at",
    "id",
    "display_name",
    "description",
    "visibility",
    "protected",
    "owner",
)
TAG_KEYS: Final = ("name", "created_at", "updated_at", "id")


@frozen(kw_only=True)
class Namespace:
    """*name* is unique in the whole service. Times are naive UTC; one that was loaded from a file was never updated.

    *id* is the row's number in the database, None while unsaved.
    """

    name: str
    owner: str
    display_name: str | None = None
    description: str | None = None
    visibility: str = PRIVATE
    protected: bool = False
    created_at: datetime = field(factory=utc_now)
    updated_at: datetime | None = field(factory=utc_now)
    id: int | None = None


@frozen(kw_only=True)
class ResourceType:
    """Something that can have properties, such as ``OS::Glance::Image``."""

    name: str
    created_at: datetime = field(factory=utc_now)
    updated_at: datetime | None = field(factory=utc_now)


@frozen(kw_only=True)
class Association:
    """That a namespace is meant for the resource type *name*.

    There its properties have names that begin with *prefix*; *properties_target* tells which of several sets of
    properties is meant (a volume has two).
    """

    name: str
    prefix: str | None = None
    properties_target: str | None = None
    created_at: datetime = field(factory=utc_now)
    updated_at: datetime | None = field(factory=utc_now)


@frozen(kw_only=True)
class Property:
    """One property. *schema* is the JSON schema of its values, with its own name if the client wrote that there."""

    name: str
    schema: Mapping[str, Any]


@frozen(kw_only=True)
class MetadefObject:
    """Properties that belong together; those in *required* always come with it.

    None of *required* or *properties*: nothing was said of them, which means that there are none.
    """

    name: str
    description: str | None = None
    required: tuple[str, ...] | None = None
    properties: Mapping[str, Mapping[str, Any]] | None = None
    created_at: datetime = field(factory=utc_now)
    updated_at: datetime | None = field(factory=utc_now)


@frozen(kw_only=True)
class Tag:
    """A word to mark things with."""

    name: str
    created_at: datetime = field(factory=utc_now)
    updated_at: datetime | None = field(factory=utc_now)


@frozen(kw_only=True)
class Contents:
    """What is in a namespace. None: nothing was said of that kind."""

    associations: tuple[Association, ...] | None = None
    properties: tuple[Property, ...] | None = None
    objects: tuple[MetadefObject, ...] | None = None
    tags: tuple[Tag, ...] | None = None

    def seen_from(self, resource_type: str) -> Contents:
        """With the names that properties have on things of this type; unchanged if the namespace is not for them."""
        associated = (each for each in self.associations or () if each.name == resource_type)
        prefix = next((each.prefix for each in associated), None)
        return self if not prefix else self._prefixed(prefix)

    def _prefixed(self, prefix: str) -> Contents:
        objects = (
            evolve(
                each,
                required=tuple(prefix + name for name in each.required or ()),
                properties={prefix + name: schema for name, schema in (each.properties or {}).items()},
            )
            for each in self.objects or ()
        )
        properties = (evolve(each, name=prefix + each.name) for each in self.properties or ())
        return evolve(self, objects=tuple(objects), properties=tuple(properties))


@frozen(kw_only=True)
class MetadefQuery:
    """A page of namespaces or tags.

    *limit* None is all; *marker* is the name of the last one of the page before. *visibility* and *resource_types*
    (of which one must be associated) choose among namespaces.
    """

    limit: int | None = None
    marker: str | None = None
    sort_key: str = "created_at"
    ascending: bool = False
    visibility: str | None = None
    resource_types: Sequence[str] | None = None

    @property
    def sort(self) -> tuple[tuple[str, str], ...]:
        """With the keys that decide among equals."""
        direction = "asc" if self.ascending else "desc"
        keys = dict.fromkeys((self.sort_key, "created_at", "id"))
        return tuple((key, direction) for key in keys)


def normal_schema(document: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a property as it is kept and shown: in Glance's order, a single default as text (A-241).

    What Glance would lose stays: a default that is a list or an object, numbers with a fraction, unknown names.
    """
    known = {name: document[name] for name in PROPERTY_FIELDS if name in document}
    return {name: _normal(name, value) for name, value in (known | dict(document)).items()}


def _normal(name: str, value: Any) -> Any:
    if name == "default":
        return str(value) if isinstance(value, bool | int | float) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value
