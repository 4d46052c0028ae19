"""The events of an image's life and what each one carries (config.md, section 9). How they travel: an INotifier.

An image's locations are never told: they may hold credentials.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from glancetx.domain.context import RequestContext
from glancetx.domain.errors import ImageGone, ImageServiceError, StoreFull, StoreWriteDenied
from glancetx.domain.image import Image, utc_now
from glancetx.domain.member import Member
from glancetx.domain.task import Task
from glancetx.notifications.telling import Teller


def moment(time: datetime) -> str:
    """A naive UTC time as Glance writes it."""
    return f"{time:%Y-%m-%dT%H:%M:%S}Z"


def image_payload(image: Image) -> dict[str, Any]:
    """What every event about an image says of it (C-140)."""
    return {
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "created_at": moment(image.created_at),
        "updated_at": moment(image.updated_at),
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "protected": image.protected,
        "checksum": image.checksum,
        "owner": image.owner,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "size": image.size,
        "virtual_size": image.virtual_size,
        "is_public": image.visibility == "public",
        "visibility": image.visibility,
        "properties": dict(image.properties),
        "tags": list(image.tags),
        "deleted": False,
        "deleted_at": None,
    }


def failure_text(image: Image, error: BaseException) -> str:
    """Why the upload to *image* failed, in Glance's words."""
    match error:
        case StoreFull():
            return f"Image storage media is full: {error}"
        case StoreWriteDenied():
            return f"Insufficient permissions on image storage media: {error}"
        case ImageGone():
            return (
                f"Image {image.id} could not be found after upload. The image may have been deleted during the upload: "
                f"{error}"
            )
        case ImageServiceError():
            return f"Failed to upload image data for image {image.id} due to internal error: {error}"
    return f"Failed to upload image data for image {image.id} due to internal error"


def upload_payload(image: Image, store: str | None = None) -> dict[str, Any]:
    """As `image_payload`, with the *store* the data goes to, if known, and how far an import to several got."""
    backend = {} if store is None else {"backend": store}
    lists = {
        name: value.split(",") if (value := image.properties.get(name)) else []
        for name in ("os_glance_importing_to_stores", "os_glance_failed_import")
    }
    return {**image_payload(image), **lists, **backend}


def member_payload(member: Member) -> dict[str, Any]:
    """What is told of a membership."""
    return {
        "image_id": member.image_id,
        "member_id": member.member_id,
        "status": member.status,
        "created_at": moment(member.created_at),
        "updated_at": moment(member.updated_at),
        "deleted": False,
        "deleted_at": None,
    }


def task_payload(task: Task) -> dict[str, Any]:
    """What every event about a task says of it (C-144); nothing of its input, which may hold a secret URL."""
    return {
        "id": task.id,
        "type": task.type,
        "status": task.status,
        "result": None,
        "owner": task.owner,
        "message": None,
        "expires_at": None if task.expires_at is None else moment(task.expires_at),
        "created_at": moment(task.created_at),
        "updated_at": moment(task.updated_at),
        "deleted": False,
        "deleted_at": None,
    }


class Events(Teller):
    """What becomes of images, members and tasks."""

    def image_created(self, image: Image) -> None:
        self._tell("image.create", image_payload(image))

    def image_updated(self, image: Image) -> None:
        self._tell("image.update", image_payload(image))

    def image_deleted(self, image: Image, at: datetime | None = None) -> None:
        """*image* was deleted *at* this time (naive UTC), or just now."""
        gone = {"deleted": True, "deleted_at": moment(at or utc_now())}
        self._tell("image.delete", {**image_payload(image), **gone})

    def image_prepared(self, image: Image, store: str | None = None) -> None:
        """Data begins to flow into *store*."""
        self._tell("image.prepare", upload_payload(image, store))

    def image_uploaded(self, image: Image) -> None:
        """The data is stored."""
        self._tell("image.upload", upload_payload(image))

    def image_activated(self, image: Image) -> None:
        self._tell("image.activate", image_payload(image))

    def upload_failed(self, image: Image, error: BaseException) -> None:
        """An upload did not succeed; a text is all that is told (C-141), and of our own defects no more than that."""
        self._tell("image.upload", failure_text(image, error), "error")

    def image_sent(
        self,
        context: RequestContext,
        image: Image,
        sent: int,
        expected: int,
        destination_ip: str | None = None,
    ) -> None:
        """*sent* of the *expected* bytes went to the caller; *destination_ip* is told by the cache alone (C-142)."""
        payload = {
            "bytes_sent": sent,
            "image_id": image.id,
            "owner_id": image.owner,
            "receiver_tenant_id": context.project_id,
            "receiver_user_id": context.user_id,
        }
        if destination_ip is not None:
            payload["destination_ip"] = destination_ip
        self._tell("image.send", payload, "info" if sent == expected else "error")

    def member_created(self, member: Member) -> None:
        self._tell("image.member.create", member_payload(member))

    def member_updated(self, member: Member) -> None:
        self._tell("image.member.update", member_payload(member))

    def member_deleted(self, member: Member) -> None:
        gone = {"deleted": True, "deleted_at": moment(utc_now())}
        self._tell("image.member.delete", {**member_payload(member), **gone})

    def task_created(self, task: Task) -> None:
        self._tell("task.create", task_payload(task))

    def task_started(self, task: Task) -> None:
        """It is given to somebody who works on it, and the work begins."""
        self._tell("task.run", task_payload(task))
        self._tell("task.processing", task_payload(task))

    def task_ended(self, task: Task) -> None:
        """It succeeded or failed, as its status says."""
        self._tell(f"task.{task.status}", task_payload(task))
