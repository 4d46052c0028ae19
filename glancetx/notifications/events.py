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
from glancetx.notifications.telling import Event, Teller, Where


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
    """What becomes of images, members and tasks.

    Most of it is said within the transaction that makes it so: methods that take one fit `glancetx.db.telling.Tell`.
    """

    def image_created(self, transaction: Where, image: Image) -> None:
        self._tell(transaction, Event("image.create", image_payload(image)))

    def image_updated(self, transaction: Where, image: Image) -> None:
        self._tell(transaction, Event("image.update", image_payload(image)))

    def image_deleted(self, transaction: Where, image: Image, at: datetime | None = None) -> None:
        """*image* was deleted *at* this time (naive UTC), or just now."""
        gone = {"deleted": True, "deleted_at": moment(at or utc_now())}
        self._tell(transaction, Event("image.delete", {**image_payload(image), **gone}))

    def upload_begun(self, store: str, transaction: Where, image: Image) -> None:
        """The image is saving: data begins to flow into *store*."""
        self._tell(transaction, Event("image.update", image_payload(image)), _prepared(image, store))

    def upload_ended(self, transaction: Where, image: Image) -> None:
        """The data is stored, and the image active."""
        payload = image_payload(image)
        self._tell(
            transaction,
            Event("image.upload", upload_payload(image)),
            Event("image.activate", payload),
            Event("image.update", payload),
        )

    def image_prepared(self, image: Image, store: str) -> None:
        """An import begins to fill *store*."""
        self._tell(None, _prepared(image, store))

    def image_uploaded(self, transaction: Where, image: Image) -> None:
        """The data is stored."""
        self._tell(transaction, Event("image.upload", upload_payload(image)))

    def image_activated(self, transaction: Where, image: Image) -> None:
        self._tell(transaction, Event("image.activate", image_payload(image)))

    def upload_failed(self, transaction: Where, image: Image, error: BaseException) -> None:
        """An upload did not succeed; a text is all that is told (C-141), and of our own defects no more than that."""
        self._tell(transaction, Event("image.upload", failure_text(image, error), "error"))

    def image_sent(
        self,
        context: RequestContext,
        image: Image,
        sent: int,
        expected: int,
        destination_ip: str | None = None,
    ) -> None:
        """*sent* of the *expected* bytes went to the caller; *destination_ip* is told by the cache alone (C-142)."""
        if not self.is_heard:
            return
        payload = {
            "bytes_sent": sent,
            "image_id": image.id,
            "owner_id": image.owner,
            "receiver_tenant_id": context.project_id,
            "receiver_user_id": context.user_id,
        }
        if destination_ip is not None:
            payload["destination_ip"] = destination_ip
        self._tell(None, Event("image.send", payload, "info" if sent == expected else "error"))

    def member_created(self, transaction: Where, member: Member) -> None:
        self._tell(transaction, Event("image.member.create", member_payload(member)))

    def member_updated(self, transaction: Where, member: Member) -> None:
        self._tell(transaction, Event("image.member.update", member_payload(member)))

    def member_deleted(self, transaction: Where, member: Member) -> None:
        gone = {"deleted": True, "deleted_at": moment(utc_now())}
        self._tell(transaction, Event("image.member.delete", {**member_payload(member), **gone}))

    def task_created(self, transaction: Where, task: Task) -> None:
        self._tell(transaction, Event("task.create", task_payload(task)))

    def task_started(self, transaction: Where, task: Task) -> None:
        """It is given to somebody who works on it, and the work begins."""
        payload = task_payload(task)
        self._tell(transaction, Event("task.run", payload), Event("task.processing", payload))

    def task_ended(self, transaction: Where, task: Task) -> None:
        """It succeeded or failed, as its status says."""
        self._tell(transaction, Event(f"task.{task.status}", task_payload(task)))


def _prepared(image: Image, store: str) -> Event:
    return Event("image.prepare", upload_payload(image, store))
