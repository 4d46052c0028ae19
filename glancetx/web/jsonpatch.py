"""The two patch media types (api.md, A-060..A-062): from a parsed body to a list of changes."""

from __future__ import annotations

from typing import Any, Final

from glancetx.domain.change import Change
from glancetx.domain.errors import Invalid, UnsupportedMediaType

NEW: Final = "application/openstack-images-v2.1-json-patch"
OLD: Final = "application/openstack-images-v2.0-json-patch"
OPERATIONS: Final = ("add", "remove", "replace")
_CHOICES: Final = "It must be one of the following: add, remove, replace."
_MEMBERS: Final = 'member named "add", "remove", or "replace".'


def check_media_type(content_type: str | None) -> str:
    """The media type without parameters. :raises UnsupportedMediaType: if it is neither."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type not in (NEW, OLD):
        message = f"Image PATCH expects Content-Type one of: {OLD}, {NEW}"
        raise UnsupportedMediaType(message, content_type or "", (NEW, OLD))
    return media_type


def parse_changes(document: Any, media_type: str) -> list[Change]:
    """The changes a patch of *media_type* asks for. :raises Invalid: with what is wrong about it."""
    if not isinstance(document, list):
        raise Invalid("Request body must be a JSON array of operation objects.")
    read = _read_new if media_type == NEW else _read_old
    changes = []
    for operation in document:
        if not isinstance(operation, dict):
            raise Invalid("Operations must be JSON objects.")
        changes.append(read(operation))
    return changes


def _read_new(operation: dict[str, Any]) -> Change:
    """``{"op": "replace", "path": "/name", "value": "x"}``."""
    if operation.get("op") is None:
        raise Invalid(f"Unable to find `op` in JSON Schema change. {_CHOICES}")
    verb = operation["op"]
    if verb not in OPERATIONS:
        raise Invalid(f"Invalid operation: `{verb}`. {_CHOICES}")
    if "path" not in operation:
        raise Invalid("Unable to find 'path' in JSON Schema change")
    return _change(verb, operation["path"], operation, only_new=False)


def _read_old(operation: dict[str, Any]) -> Change:
    """``{"replace": "/name", "value": "x"}``."""
    verbs = [name for name in operation if name in OPERATIONS]
    if len(verbs) > 1:
        raise Invalid(f"Operation objects must contain only one {_MEMBERS}")
    if not verbs:
        raise Invalid(f"Operation objects must contain exactly one {_MEMBERS}")
    return _change(verbs[0], operation[verbs[0]], operation, only_new=verbs[0] == "add")


def _change(verb: str, pointer: Any, operation: dict[str, Any], *, only_new: bool) -> Change:
    path = parse_pointer(pointer)
    allowed_depth = 2 if path[0] == "locations" and verb != "replace" else 1
    if len(path) != allowed_depth:
        raise Invalid(f"Invalid JSON pointer for this resource: '{pointer}'")
    if verb != "remove" and "value" not in operation:
        raise Invalid(f'Operation "{verb}" requires a member named "value".')
    return Change(verb, path, operation.get("value"), only_new)


def parse_pointer(pointer: Any) -> tuple[str, ...]:
    """The parts of a JSON pointer (RFC 6901), with Glance's extra rules. :raises Invalid: otherwise."""
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise Invalid(f'Pointer `{pointer}` does not start with "/".')
    if "//" in pointer[1:]:
        raise Invalid(f'Pointer `{pointer}` contains adjacent "/".')
    if len(pointer) > 1 and pointer.endswith("/"):
        raise Invalid(f'Pointer `{pointer}` end with "/".')
    rest = pointer.replace("~0", "").replace("~1", "")
    if "~" in rest:
        raise Invalid(f'Pointer `{pointer}` contains "~" not part of a recognized escape sequence.')
    parts = pointer.lstrip("/").split("/")
    return tuple(part.strip().replace("~1", "/").replace("~0", "~") for part in parts)
