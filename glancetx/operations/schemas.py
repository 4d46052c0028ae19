"""The JSON schemas of the API's resources, and checking a document against them.

Clients fetch and obey them (contract row A-280), so names, types and order are Glance's (A-205).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from glancetx.config.image_properties import FILE_NAME, USUAL
from glancetx.config.settings import ImagesSettings
from glancetx.domain.errors import ConfigurationError, Invalid
from glancetx.domain.member import MEMBER_STATUSES
from glancetx.domain.task import STATUSES as TASK_STATUSES
from glancetx.domain.task import TYPES
from glancetx.operations.offences import Offences, fault_of_schema
from glancetx.operations.plainly import PlainObject

UUID_PATTERN: Final = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
STATUSES: Final = [
    "queued",
    "saving",
    "active",
    "killed",
    "deleted",
    "uploading",
    "importing",
    "pending_delete",
    "deactivated",
]
VISIBILITIES: Final = ["community", "public", "private", "shared"]


def _text(description: str, longest: int | None = None, *, null: bool = False, read_only: bool = False) -> Any:
    schema: dict[str, Any] = {"type": ["null", "string"] if null else "string"}
    if read_only:
        schema["readOnly"] = True
    schema["description"] = description
    if longest is not None:
        schema["maxLength"] = longest
    return schema


def _choice(description: str, values: list[Any]) -> Any:
    return {"type": ["null", "string"], "description": description, "enum": [None, *values]}


def _bytes(description: str) -> Any:
    return {"type": ["null", "integer"], "readOnly": True, "description": description}


LOCATION: Final = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "maxLength": 255},
        "metadata": {"type": "object"},
        "validation_data": {
            "description": "Hashes of the data: what the image has, or is to have if it is still queued.",
            "type": "object",
            "writeOnly": True,
            "additionalProperties": False,
            "properties": {
                "checksum": {"type": "string", "minLength": 32, "maxLength": 32},
                "os_hash_algo": {"type": "string", "maxLength": 64},
                "os_hash_value": {"type": "string", "maxLength": 128},
            },
            "required": ["os_hash_algo", "os_hash_value"],
        },
    },
    "required": ["url", "metadata"],
}


def image_properties(settings: ImagesSettings) -> dict[str, Any]:
    """The base attributes of an image, in Glance's order."""
    return {
        "id": {"type": "string", "description": "An identifier for the image", "pattern": UUID_PATTERN},
        "name": _text("Descriptive name for the image", 255, null=True),
        "status": _text("Status of the image", read_only=True) | {"enum": STATUSES},
        "visibility": _text("Scope of image accessibility") | {"enum": VISIBILITIES},
        "protected": {"type": "boolean", "description": "If true, image will not be deletable."},
        "os_hidden": {"type": "boolean", "description": "If true, the default image list leaves the image out."},
        "checksum": _text("md5 hash of image contents.", 32, null=True, read_only=True),
        "os_hash_algo": _text("Algorithm of os_hash_value", 64, null=True, read_only=True),
        "os_hash_value": _text("Hash of the image contents, hexadecimal", 128, null=True, read_only=True),
        "owner": _text("Owner of the image", 255, null=True),
        "size": _bytes("Size of image file in bytes"),
        "virtual_size": _bytes("Virtual size of image in bytes"),
        "container_format": _choice("Format of the container", list(settings.container_formats)),
        "disk_format": _choice("Format of the disk", list(settings.disk_formats)),
        "created_at": _text("Date and time of image registration", read_only=True),
        "updated_at": _text("Date and time of the last image modification", read_only=True),
        "tags": {
            "type": "array",
            "description": "List of strings related to the image",
            "items": {"type": "string", "maxLength": 255},
        },
        "direct_url": _text("Where the store keeps the image file", read_only=True),
        "min_ram": {"type": "integer", "description": "Amount of ram (in MB) required to boot image."},
        "min_disk": {"type": "integer", "description": "Amount of disk space (in GB) required to boot image."},
        "self": _text("An image self url", read_only=True),
        "file": _text("An image file url", read_only=True),
        "stores": _text("Stores that hold the image data, separated by commas.", read_only=True),
        "schema": _text("An image schema url", read_only=True),
        "locations": {"type": "array", "items": LOCATION, "description": "Where the stores keep the image file"},
    }


def image_schema(settings: ImagesSettings) -> dict[str, Any]:
    """The document of ``/v2/schemas/image``.

    :raises ConfigurationError: if what is said of a custom property is no schema, or meant for a base attribute.
    """
    base = image_properties(settings)
    custom = {name: schema | {"is_base": False} for name, schema in settings.custom.schemas.items()}
    if taken := sorted(custom.keys() & base.keys()):
        raise ConfigurationError(f"{FILE_NAME}: {', '.join(taken)} cannot be custom properties")
    document = {"name": "image", "properties": base | custom, "additionalProperties": {"type": "string"}}
    if settings.custom.schemas != USUAL and (fault := fault_of_schema(document)):
        raise ConfigurationError(f"{FILE_NAME}: {fault}")
    required = {"required": list(settings.custom.required)} if settings.custom.required else {}
    return {
        **document,
        **required,
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def images_schema(image: dict[str, Any]) -> dict[str, Any]:
    """The document of ``/v2/schemas/images``, of that of an *image*."""
    text = {"type": "string"}
    return {
        "name": "images",
        "properties": {
            "images": {"type": "array", "items": image},
            "first": text,
            "next": text,
            "schema": text,
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def member_schema() -> dict[str, Any]:
    """The document of ``/v2/schemas/member``."""
    return {
        "name": "member",
        "properties": {
            "member_id": _text("An identifier for the image member (tenantId)"),
            "image_id": {"type": "string", "description": "An identifier for the image", "pattern": UUID_PATTERN},
            "created_at": _text("Date and time of image member creation"),
            "updated_at": _text("Date and time of last modification of image member"),
            "status": {**_text("The status of this image member"), "enum": list(MEMBER_STATUSES)},
            "schema": {"readOnly": True, "type": "string"},
        },
    }


def members_schema() -> dict[str, Any]:
    """The document of ``/v2/schemas/members``."""
    return {
        "name": "members",
        "properties": {"members": {"type": "array", "items": member_schema()}, "schema": {"type": "string"}},
        "links": [{"rel": "describedby", "href": "{schema}"}],
    }


def _task_properties() -> dict[str, Any]:
    """What a task has, in Glance's order."""
    document: dict[str, Any] = {"type": ["null", "object"]}
    return {
        "id": {"description": "An identifier for the task", "pattern": UUID_PATTERN, "type": "string"},
        "type": _text("What kind of task this is") | {"enum": list(TYPES)},
        "status": _text("How far the task is") | {"enum": list(TASK_STATUSES)},
        "input": document | {"description": "What the task was asked for"},
        "result": document | {"description": "What came of the task so far"},
        "owner": _text("The project the task belongs to"),
        "message": _text("What there is to say about the task, such as why it failed"),
        "image_id": _text("The image concerned"),
        "request_id": _text("The request that started the task"),
        "user_id": _text("The user who started the task"),
        "expires_at": {"description": "When the task is forgotten", "type": ["null", "string"]},
        "created_at": _text("When the task was created"),
        "updated_at": _text("When the task was last changed"),
        "self": {"readOnly": True, "type": "string"},
        "schema": {"readOnly": True, "type": "string"},
    }


def task_schema() -> dict[str, Any]:
    """The document of ``/v2/schemas/task``."""
    return {"name": "task", "properties": _task_properties()}


def tasks_schema() -> dict[str, Any]:
    """The document of ``/v2/schemas/tasks``; in a list a task is shown without input, result and message."""
    shown = {name: part for name, part in _task_properties().items() if name not in ("input", "result", "message")}
    items = {"type": "array", "items": {"name": "task", "properties": shown}}
    return {
        "name": "tasks",
        "properties": {"tasks": items, "schema": {"type": "string"}},
        "links": [{"rel": "describedby", "href": "{schema}"}],
    }


def _new_location() -> dict[str, Any]:
    """What is told of a location that is to be added (A-190)."""
    hashes = {
        "description": "The hash that the data has; without do_secure_hash it is believed.",
        "type": "object",
        "writeOnly": True,
        "additionalProperties": False,
        "properties": {
            "os_hash_algo": {"type": "string", "maxLength": 64, "enum": ["sha1", "sha256", "sha512", "md5"]},
            "os_hash_value": {"type": "string", "maxLength": 128},
        },
        "dependentRequired": {"os_hash_value": ["os_hash_algo"], "os_hash_algo": ["os_hash_value"]},
    }
    place = {"type": "string", "readOnly": True, "description": "Where the data lies"}
    return {
        "type": "object",
        "description": "A new location, and the hash of its data",
        "properties": {"url": place, "validation_data": hashes},
        "required": ["url"],
    }


class LocationSchema:
    """Checks what clients send of a location that is to be added."""

    def __init__(self) -> None:
        self._offences = Offences({"name": "location", "properties": {"add_location": _new_location()}})

    def check(self, document: Any) -> None:
        """:raises Invalid: with the first offence."""
        error = self._offences.worst({"add_location": document})
        if error is not None:
            raise Invalid(f"Provided object does not match schema 'location': {error}")


class TaskSchema:
    """Checks what clients send of a task."""

    def __init__(self) -> None:
        self._offences = Offences(task_schema() | {"additionalProperties": False})

    def check(self, values: Mapping[str, Any]) -> None:
        """:raises Invalid: with the first offence."""
        error = self._offences.worst(dict(values))
        if error is not None:
            raise Invalid(f"Provided object does not match schema 'task': {error}")


class ImageSchema:
    """Checks what clients send of an image: a whole document, or one attribute of a patch."""

    def __init__(self, settings: ImagesSettings) -> None:
        self.document = image_schema(settings)
        self.collection = images_schema(self.document)
        self.attributes = frozenset(self.document["properties"])
        self._whole = Offences(self.document)
        self._part = Offences({name: part for name, part in self.document.items() if name != "required"})
        self._plain, self._required = PlainObject(self.document), settings.custom.required
        self._custom = frozenset(settings.custom.schemas)

    def check(self, values: Mapping[str, Any]) -> None:
        """Check a new image. :raises Invalid: with the first offence."""
        self._check(self._whole, values, self._required)

    def check_change(self, values: Mapping[str, Any]) -> None:
        """Check some attributes, without asking for those that are required. :raises Invalid: as `check`."""
        self._check(self._part, values)

    def _check(self, offences: Offences, values: Mapping[str, Any], required: Sequence[str] = ()) -> None:
        if not self._plain.valid(values) or not values.keys() >= set(required):
            error = offences.worst(dict(values))
            if error is not None:
                raise Invalid(f"Provided object does not match schema 'image': {error}")
        if texts := [name for name in self._custom & values.keys() if not isinstance(values[name], str | None)]:
            raise Invalid(f"The values of {', '.join(sorted(texts))} must be strings")
