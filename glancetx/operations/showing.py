"""What of an image is shown to whom."""

from __future__ import annotations

from attrs import evolve

from glancetx.access.protections import READ, Protections
from glancetx.domain.context import RequestContext
from glancetx.domain.image import Image
from glancetx.domain.status import DEACTIVATED


class Showing:
    """Leaves out of images what a caller may not see.

    That is where the data of a deactivated image lies, which only administrators see, and custom properties that are
    protected from being read.
    """

    def __init__(self, protections: Protections) -> None:
        self._protections = protections

    def to(self, context: RequestContext, image: Image) -> Image:
        """*image* as *context* sees it."""
        if image.status == DEACTIVATED and image.locations and not context.is_admin:
            image = evolve(image, locations=())
        if self._protections.active:
            shown = {name: value for name, value in image.properties.items() if self.reads(context, name)}
            image = image if len(shown) == len(image.properties) else evolve(image, properties=shown)
        return image

    def reads(self, context: RequestContext, name: str) -> bool:
        """Whether *context* may read the custom property *name*."""
        return self._protections.allows(READ, name, context)
