"""What custom properties of images are for: ``schema-image.json`` beside the configuration files (C-004, A-027).

Clients read it as part of the schema of an image: it gives them options such as ``glance image-create --os-distro``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from glancetx.domain.errors import ConfigurationError

FILE_NAME: Final = "schema-image.json"
IMAGE_ID: Final = {
    "type": ["null", "string"],
    "pattern": "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$",
}


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


USUAL: Final[dict[str, dict[str, Any]]] = {
    "description": _text("What people should know of the image."),
    "kernel_id": IMAGE_ID | {"description": "ID of the image that is the kernel, for an AMI-style image."},
    "ramdisk_id": IMAGE_ID | {"description": "ID of the image that is the ramdisk, for an AMI-style image."},
    "instance_uuid": _text("The instance the image was made of, for information only."),
    "architecture": _text("Architecture of the operating system, such as x86_64."),
    "os_distro": _text("Distribution of the operating system, such as debian."),
    "os_version": _text("Version of the operating system, as its distributor writes it."),
    "cinder_encryption_key_id": _text("The key in the key manager that decrypts a volume made from the image."),
    "cinder_encryption_key_deletion_policy": _text(
        "When that key is deleted: with the image, or never.", enum=["on_image_deletion", "do_not_delete"]
    ),
}


@frozen(kw_only=True)
class CustomProperties:
    """The JSON schema of each custom property that is known beforehand, and the names of those an image must have."""

    schemas: dict[str, dict[str, Any]] = field(factory=lambda: dict(USUAL))
    required: tuple[str, ...] = ()


def custom_properties(folders: Sequence[Path]) -> CustomProperties:
    """What the first such file in *folders* says, in one of the two forms Glance reads; without one, the usual ones.

    :raises ConfigurationError: if it cannot be read, or says something else.
    """
    path = next((path for folder in folders if (path := folder / FILE_NAME).is_file()), None)
    if path is None:
        return CustomProperties()
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    extended = isinstance(document, dict) and "properties" in document
    schemas = document["properties"] if extended else document
    required = (document.get("required") if extended else None) or ()
    if not isinstance(schemas, dict) or not all(isinstance(schema, dict) for schema in schemas.values()):
        raise ConfigurationError(f"{path} is not an object of JSON schemas, one for each property")
    if not isinstance(required, list | tuple) or not all(isinstance(name, str) for name in required):
        raise ConfigurationError(f"{path}: what is required is not a list of names")
    return CustomProperties(schemas=schemas, required=tuple(required))
