"""What is wrong with a document by its JSON schema.

jsonschema is loaded for the first document that has to be shown to it: most are plainly valid, or nobody sends any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError


def _draft() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator


class Offences:
    """Those against *schema*, as jsonschema's class that *kind* returns finds them."""

    def __init__(self, schema: Mapping[str, Any], kind: Callable[[], Any] = _draft) -> None:
        self._schema, self._kind = schema, kind

    @cached_property
    def _validator(self) -> Any:
        return self._kind()(self._schema)

    def worst(self, document: Any) -> ValidationError | None:
        """What is to be told of *document*; None if nothing is wrong with it."""
        from jsonschema.exceptions import best_match

        found: ValidationError | None = best_match(self._validator.iter_errors(document))
        return found


def fault_of_schema(schema: Mapping[str, Any]) -> str | None:
    """Why *schema* is none; None if it is one."""
    from jsonschema.exceptions import SchemaError

    try:
        _draft().check_schema(schema)
    except SchemaError as error:
        return error.message
    return None
