"""Custom properties, some of which not everybody may touch (api.md, A-065, A-070, A-260..A-262)."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from glancetx.access.protections import CREATE, DELETE, READ, UPDATE, Protections
from glancetx.domain.change import Change
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import AttributeConflict, Forbidden
from glancetx.domain.image import Image


class Properties:
    """Changes custom properties as *protections* allow. What a caller cannot read is not there for him."""

    def __init__(self, protections: Protections) -> None:
        self._protections = protections

    def check_new(self, context: RequestContext, names: Iterable[str]) -> None:
        """May *context* give an image these properties? :raises Forbidden: if not."""
        for name in names:
            self._check(CREATE, name, context)

    def check_change(self, context: RequestContext, image: Image, change: Change) -> None:
        """May *context* change the property of *image*, and is it there?

        :raises AttributeConflict: if it is there and must not be, or the other way round.
        :raises Forbidden: if it is protected.
        """
        name = change.name
        present = name in image.properties
        seen = present and self._protections.allows(READ, name, context)
        if change.operation != "add":
            if not seen:
                raise AttributeConflict(f"Property {name} does not exist.")
            self._check(UPDATE if change.operation == "replace" else DELETE, name, context)
            return
        if change.only_new and seen:
            raise AttributeConflict(f"Property {name} already present.")
        self._check(UPDATE if present else CREATE, name, context)

    def _check(self, operation: str, name: str, context: RequestContext) -> None:
        if not self._protections.allows(operation, name, context):
            raise Forbidden(f"Attribute '{name}' is reserved.")


def without(image: Image, name: str) -> Image:
    """*image* without the custom property *name*."""
    return evolve(image, properties={key: value for key, value in image.properties.items() if key != name})
