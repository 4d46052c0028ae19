"""Metadata definitions: their operations and rooms, wired together."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from glancetx.access.policy import Policy
from glancetx.config.settings import ImagesSettings
from glancetx.db.engine import Engine
from glancetx.db.metadef_items import Definitions, ResourceTypes, TagRows
from glancetx.db.metadef_rows import OBJECTS, PROPERTIES
from glancetx.db.metadefs import Namespaces
from glancetx.notifications.metadef_events import MetadefEvents
from glancetx.operations.metadef_items import MetadefObjects, MetadefProperties, MetadefTags, MetadefTypes
from glancetx.operations.metadef_schemas import MetadefSchemas
from glancetx.operations.metadefs import Metadefs, NamespaceDoor
from glancetx.web.metadef_items import MetadefTagsRoom, ObjectsRoom, PropertiesRoom
from glancetx.web.metadefs import MetadefSchemasRoom, NamespacesRoom, ResourceTypesRoom


@frozen
class MetadefParts:
    """The operations on namespaces, and the rooms of everything below `/v2/metadefs`."""

    namespaces: Metadefs
    rooms: Sequence[object]


def build_metadefs(engine: Engine, policy: Policy, events: MetadefEvents, settings: ImagesSettings) -> MetadefParts:
    """The parts, sharing *engine* and one set of schemas."""
    rows, types = Namespaces(engine), ResourceTypes(engine)
    door, schemas = NamespaceDoor(rows, policy), MetadefSchemas()
    namespaces = Metadefs(rows, door, schemas, events)
    properties = MetadefProperties(Definitions(engine, PROPERTIES), types, door, schemas, events)
    rooms = (
        NamespacesRoom(namespaces, settings),
        ResourceTypesRoom(MetadefTypes(types, door, schemas, events)),
        ObjectsRoom(MetadefObjects(Definitions(engine, OBJECTS), door, schemas, events)),
        PropertiesRoom(properties),
        MetadefTagsRoom(MetadefTags(TagRows(engine), door, schemas, events)),
        MetadefSchemasRoom(schemas),
    )
    return MetadefParts(namespaces, rooms)
