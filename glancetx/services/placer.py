"""The placer: has images copied to the stores where the operator's rules want them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from glancetx.db.images import Images
from glancetx.domain.context import service_context
from glancetx.domain.errors import ImageNotFound, ImageServiceError
from glancetx.domain.image import Image
from glancetx.domain.importing import IMPORTING_TO
from glancetx.domain.placement import Rule, missing
from glancetx.domain.query import ImageQuery
from glancetx.domain.status import ACTIVE
from glancetx.services.periodic import PeriodicService
from glancetx.stores.registry import Stores

INTERVAL: Final = 60.0
PAGE: Final = 100
SLICE: Final = 1000
"""Images looked at in one run; the next one goes on behind them."""
AT_ONCE: Final = 4
"""Copies begun in one run: they are imports, and others wait for these too."""

Copy = Callable[[Image, Sequence[str]], Awaitable[None]]


class Placer(PeriodicService):
    """Goes through all images, a slice a minute, from the beginning again and again.

    It only begins copies: they go on, and end, as imports by the method copy-image do. What fails is tried again when
    its turn comes. Copies in other stores than the rules name stay.
    """

    def __init__(
        self, reactor: IReactorTime, images: Images, copy: Copy, rules: Sequence[Rule], stores: Stores
    ) -> None:
        super().__init__(reactor, INTERVAL)
        self._images, self._copy, self._rules, self._stores = images, copy, rules, stores
        self._marker: str | None = None
        self._hidden = False  # hidden images are a list of their own, gone through behind the others
        self.begun = 0

    async def run_once(self) -> int:
        """Look at the next slice of images; returns how many copies were begun."""
        begun = 0
        for _ in range(SLICE // PAGE):
            page = await self._next_page()
            for image in page:
                if begun == AT_ONCE:
                    return begun
                begun += await self._place(image)
                self._marker = image.id
            if len(page) < PAGE:
                self._marker, self._hidden = None, not self._hidden
                if not self._hidden:
                    break
        return begun

    def status(self) -> dict[str, Any]:
        return super().status() | {"begun": self.begun, "at": self._marker}

    async def _next_page(self) -> list[Image]:
        query = ImageQuery(
            limit=PAGE,
            marker=self._marker,
            sort=(("id", "asc"),),
            equal={"status": ACTIVE},
            visibility="all",
            os_hidden=self._hidden,
        )
        try:
            return list(await self._images.list(service_context(), query))
        except ImageServiceError:
            if self._marker is None:
                raise
            self._marker = None  # the image we were at is gone: begin again
            return []

    async def _place(self, image: Image) -> bool:
        having = {self._stores.name_of(location) for location in image.locations}
        lacking = missing(image, {name for name in having if name}, self._rules, self._stores.to_fill())
        if not lacking or image.properties.get(IMPORTING_TO):
            return False
        try:
            await self._copy(image, lacking)
        except ImageNotFound:
            return False
        except ImageServiceError as error:
            self._log.warn("image {image}: it cannot be copied: {error!r}", image=image.id, error=error)
            return False
        self._log.info("image {image}: to be copied to {stores}", image=image.id, stores=", ".join(lacking))
        self.begun += 1
        return True
