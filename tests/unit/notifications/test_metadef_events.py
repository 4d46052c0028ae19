"""What events say of metadata definitions (C-145, C-146)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from zope.interface import implementer

from glancetx.domain.metadef import Association, Contents, MetadefObject, Namespace, Property, Tag
from glancetx.interfaces import INotifier
from glancetx.notifications.metadef_events import MetadefEvents, definition_payload, namespace_payload

TIME = datetime(2026, 1, 2, 3, 4, 5, 678)
DATES: Any = {"created_at": TIME, "updated_at": TIME}
SHOWN = {"created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z"}
ALIVE = {"deleted": False, "deleted_at": None}
NAMESPACE = Namespace(name="n", owner="p", display_name="N", visibility="public", protected=True, **DATES)
SCHEMA = {"type": "array", "title": "T", "items": {"type": "string"}, "minItems": 1, "operators": ["<or>"]}
FIELDS = {
    "type": "array",
    "title": "T",
    "description": None,
    "default": None,
    "minimum": None,
    "maximum": None,
    "enum": None,
    "pattern": None,
    "minLength": None,
    "maxLength": None,
    "confidential": None,
    "items": {"type": "string"},
    "uniqueItems": None,
    "minItems": 1,
    "maxItems": None,
    "additionalItems": None,
}
NAMES = {"namespace": "n", "name": "x", "name_old": "x"}


@implementer(INotifier)
class Collected:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def notify(self, event_type: str, priority: str, payload: Mapping[str, Any] | str) -> None:
        assert priority == "info"
        self.told.append((event_type, payload))


def test_a_namespace() -> None:
    """All of its attributes, and the name it had."""
    assert namespace_payload(NAMESPACE) == {
        "namespace": "n",
        "namespace_old": "n",
        "display_name": "N",
        "protected": True,
        "visibility": "public",
        "owner": "p",
        "description": None,
        **SHOWN,
        **ALIVE,
    }


SAID: list[tuple[Any, dict[str, Any]]] = [
    (Property(name="x", schema=SCHEMA), FIELDS),
    (
        MetadefObject(name="x", properties={"y": SCHEMA}, **DATES),
        {"properties": [{"name": "y", **FIELDS}], "required": None, "description": None, **SHOWN},
    ),
    (
        MetadefObject(name="x", description="d", required=("y",), created_at=TIME, updated_at=None),
        {"properties": [], "required": ["y"], "description": "d", **SHOWN, "updated_at": None},
    ),
    (Association(name="x", prefix="p", **DATES), {"prefix": "p", "properties_target": None, **SHOWN}),
    (Tag(name="x", **DATES), SHOWN),
]


@pytest.mark.parametrize(("item", "fields"), SAID)
def test_what_is_in_a_namespace(item: Any, fields: dict[str, Any]) -> None:
    """Each kind with its own fields; a property without dates."""
    assert definition_payload(NAMESPACE, item) == {**NAMES, **fields, **ALIVE}


def test_the_types_of_events() -> None:
    """What comes with a namespace is told after it; renaming tells the name before; a deletion tells its time."""
    notifier = Collected()
    events = MetadefEvents(notifier)
    items = {"associations": SAID[3], "properties": SAID[0], "objects": SAID[1], "tags": SAID[4]}
    events.namespace_created(Contents(**{kind: (item,) for kind, (item, _) in items.items()}), None, NAMESPACE)
    events.updated(NAMESPACE, "y", None, SAID[4][0])
    events.namespace_updated("m", None, NAMESPACE)
    events.namespace_cleared(NAMESPACE, "tags", None)
    events.deleted(NAMESPACE, None, SAID[3][0])
    events.namespace_deleted(None, NAMESPACE)
    assert [name for name, _ in notifier.told] == [
        "metadef_namespace.create",
        "metadef_resource_type.create",
        "metadef_object.create",
        "metadef_tag.create",
        "metadef_property.create",
        "metadef_tag.update",
        "metadef_namespace.update",
        "metadef_namespace.delete_tags",
        "metadef_resource_type.delete",
        "metadef_namespace.delete",
    ]
    told = [payload for _, payload in notifier.told]
    assert (told[5]["name_old"], told[6]["namespace_old"]) == ("y", "m")
    assert [(payload["deleted"], payload["deleted_at"] is None) for payload in told[7:]] == [
        (False, True),
        (True, False),
        (True, False),
    ]


def test_events_can_be_disabled() -> None:
    """One by one, or all of a kind."""
    notifier = Collected()
    events = MetadefEvents(notifier, ["metadef_tag", "metadef_namespace.delete"])
    events.created(NAMESPACE, None, [SAID[4][0]])
    events.namespace_deleted(None, NAMESPACE)
    events.namespace_updated("n", None, NAMESPACE)
    assert [name for name, _ in notifier.told] == ["metadef_namespace.update"]
