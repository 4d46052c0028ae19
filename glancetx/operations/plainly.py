"""What is plainly valid by a JSON schema. jsonschema needs some 40 µs for a name, and nearly all names are valid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Final

_KINDS: Final = {"string": str, "null": NoneType, "boolean": bool, "integer": int, "array": list}
_TEXTS: Final = {str, NoneType}
_KNOWN: Final = frozenset({"type", "enum", "maxLength", "items", "description", "readOnly", "is_base"})

Plain = Callable[[Any], bool]


def plainly(schema: Any) -> Plain:
    """Tells of values whether they are valid at first sight; of one that is not, nothing is known."""
    if not isinstance(schema, Mapping) or not schema.keys() <= _KNOWN:
        return _never
    names = schema.get("type", ())
    names = [names] if isinstance(names, str) else names
    if not names or not _KINDS.keys() >= set(names):
        return _never
    kinds = {_KINDS[name] for name in names}
    choices, longest = schema.get("enum"), schema.get("maxLength")
    if choices is not None and not kinds <= _TEXTS:  # for Python 1 and True are equal
        return _never
    items = plainly(schema.get("items"))

    def valid(value: Any) -> bool:
        if type(value) not in kinds or (choices is not None and value not in choices):
            return False
        if isinstance(value, list):
            return all(items(each) for each in value)
        return longest is None or not isinstance(value, str) or len(value) <= longest

    return valid


def _never(value: Any) -> bool:
    return False


class PlainObject:
    """The same of the members of an object that *document* is the schema of."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._parts = {name: plainly(part) for name, part in document["properties"].items()}
        self._other = plainly(document["additionalProperties"])

    def valid(self, values: Mapping[str, Any]) -> bool:
        """Whether all of *values* are."""
        return all(self._parts.get(name, self._other)(value) for name, value in values.items())
