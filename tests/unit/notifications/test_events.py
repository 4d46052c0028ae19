"""What events say, and the notifiers that need nobody else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

import pytest
from twisted.logger import Logger, LogLevel, capturedLogs
from zope.interface import implementer
from zope.interface.verify import verifyObject

from glancetx.domain.context import RequestContext
from glancetx.domain.errors import ImageTooLarge, StoreFull
from glancetx.domain.image import Image, Location
from glancetx.interfaces import INotifier
from glancetx.notifications.events import Events, image_payload
from glancetx.notifications.log import LogNotifier
from glancetx.notifications.nothing import NoNotifier

TIME = datetime(2026, 1, 2, 3, 4, 5, 678)
IMAGE = Image(
    id="i",
    name="n",
    status="active",
    owner="p1",
    visibility="public",
    disk_format="raw",
    container_format="bare",
    size=10,
    checksum="c",
    created_at=TIME,
    updated_at=TIME,
    tags=("a", "b"),
    properties={"os_glance_importing_to_stores": "fast,cheap", "level": "gold"},
    locations=(Location(url="file:///secret"),),
)
PAYLOAD = {
    "id": "i",
    "name": "n",
    "status": "active",
    "created_at": "2026-01-02T03:04:05Z",
    "updated_at": "2026-01-02T03:04:05Z",
    "min_disk": 0,
    "min_ram": 0,
    "protected": False,
    "checksum": "c",
    "owner": "p1",
    "disk_format": "raw",
    "container_format": "bare",
    "size": 10,
    "virtual_size": None,
    "is_public": True,
    "visibility": "public",
    "properties": {"os_glance_importing_to_stores": "fast,cheap", "level": "gold"},
    "tags": ["a", "b"],
    "deleted": False,
    "deleted_at": None,
}


@implementer(INotifier)
class Collected:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Any]] = []

    def notify(self, event_type: str, priority: str, payload: Mapping[str, Any] | str) -> None:
        self.told.append((event_type, priority, payload))


@implementer(INotifier)
class Broken:
    """Always fails."""

    def notify(self, event_type: str, priority: str, payload: Mapping[str, Any] | str) -> None:
        raise RuntimeError("no")


@pytest.fixture
def notifier() -> Collected:
    return Collected()


@pytest.fixture
def events(notifier: Collected) -> Events:
    return Events(notifier)


def test_an_image_is_told_without_its_locations() -> None:
    """All of Glance's names, and nothing of where the data lies (C-140)."""
    assert image_payload(IMAGE) == PAYLOAD


def test_plain_events(notifier: Collected, events: Events) -> None:
    """Creation, update and activation tell the image."""
    events.image_created(None, IMAGE)
    events.image_updated(None, IMAGE)
    events.image_activated(None, IMAGE)
    assert notifier.told == [(f"image.{name}", "info", PAYLOAD) for name in ("create", "update", "activate")]


def test_a_deletion_tells_its_time(notifier: Collected, events: Events) -> None:
    """The image is told as deleted, whatever its record said."""
    events.image_deleted(None, IMAGE, TIME)
    assert notifier.told == [
        ("image.delete", "info", PAYLOAD | {"deleted": True, "deleted_at": "2026-01-02T03:04:05Z"})
    ]


def test_an_upload_tells_store_and_import(notifier: Collected, events: Events) -> None:
    """The store if it is known; the stores of an import as lists."""
    events.image_prepared(IMAGE, "fast")
    events.image_uploaded(None, IMAGE)
    lists = {"os_glance_importing_to_stores": ["fast", "cheap"], "os_glance_failed_import": []}
    assert notifier.told == [
        ("image.prepare", "info", PAYLOAD | lists | {"backend": "fast"}),
        ("image.upload", "info", PAYLOAD | lists),
    ]


def test_a_failed_upload_is_a_text(notifier: Collected, events: Events) -> None:
    """With the priority of an error (C-141), in Glance's words; a defect of ours tells nothing of itself."""
    events.upload_failed(None, IMAGE, StoreFull("No room"))
    events.upload_failed(None, IMAGE, ImageTooLarge())
    events.upload_failed(None, IMAGE, KeyError("secret"))
    failed = "Failed to upload image data for image i due to internal error"
    texts = ["Image storage media is full: No room", f"{failed}: The provided image is too large.", failed]
    assert notifier.told == [("image.upload", "error", text) for text in texts]


@pytest.mark.parametrize(("sent", "priority"), [(10, "info"), (9, "error")])
def test_a_download_tells_who_got_how_much(notifier: Collected, events: Events, sent: int, priority: str) -> None:
    """An incomplete one is an error (C-142)."""
    context = RequestContext(user_id="u2", project_id="p2")
    events.image_sent(context, IMAGE, sent, 10)
    events.image_sent(context, IMAGE, sent, 10, destination_ip="192.0.2.1")
    payload = {
        "bytes_sent": sent,
        "image_id": "i",
        "owner_id": "p1",
        "receiver_tenant_id": "p2",
        "receiver_user_id": "u2",
    }
    assert notifier.told == [
        ("image.send", priority, payload),
        ("image.send", priority, payload | {"destination_ip": "192.0.2.1"}),
    ]


@pytest.mark.parametrize(("disabled", "expected"), [(["image"], 0), (["image.create"], 1), (["image.", "im"], 2)])
def test_events_can_be_disabled(notifier: Collected, disabled: list[str], expected: int) -> None:
    """By their type, or all that begin with a word."""
    events = Events(notifier, disabled)
    events.image_created(None, IMAGE)
    events.image_updated(None, IMAGE)
    assert len(notifier.told) == expected


def test_a_failing_notifier_is_reported() -> None:
    """What happened has happened: the caller goes on."""
    with capturedLogs() as logs:
        Events(Broken()).image_created(None, IMAGE)
    assert [event["log_level"] for event in logs] == [LogLevel.critical]


def test_the_log_gets_one_line_of_json() -> None:
    """At a level that fits the priority."""
    written: list[Any] = []
    notifier = LogNotifier(Logger(observer=cast(Any, written.append)))
    assert verifyObject(INotifier, notifier)
    notifier.notify("image.create", "info", {"id": "i", "name": "{x}\n"})
    notifier.notify("image.upload", "error", "full")
    assert [event["log_level"] for event in written] == [LogLevel.info, LogLevel.error]
    assert json.loads(written[0]["text"]) == {"id": "i", "name": "{x}\n"}
    assert "\n" not in written[0]["text"]


def test_nobody_is_told_anything() -> None:
    """For those who want no events."""
    assert verifyObject(INotifier, NoNotifier())
    with capturedLogs() as logs:
        Events(NoNotifier()).image_created(None, IMAGE)
    assert logs == []
