"""From domain objects to JSON documents, with Glance's names and order (api.md, section 2.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from weakref import ReferenceType, ref

from glancetx.config.settings import ImagesSettings
from glancetx.domain.image import Image, Location
from glancetx.web.routing import to_json

HIDDEN_PROPERTIES = frozenset({"os_glance_stage_host", "os_glance_hash_op_host"})
ByWeight = Callable[[Sequence[Location]], Sequence[Location]]


def moment(time: datetime) -> str:
    """``2026-01-31T23:59:59Z`` (contract row A-011)."""
    return f"{time.isoformat(timespec='seconds')}Z"


def location_view(location: Location) -> dict[str, Any]:
    """One copy of an image's data."""
    return {"url": location.url, "metadata": dict(location.metadata)}


class ImageViews:
    """Images as documents. *by_weight* orders locations as a download would try them; *multiple* shows stores."""

    def __init__(self, settings: ImagesSettings, by_weight: ByWeight, *, multiple: bool) -> None:
        self._settings = settings
        self._by_weight = by_weight
        self._multiple = multiple
        self._located = multiple or settings.show_multiple_locations or settings.show_image_direct_url
        self._shown = Shown()

    def image(self, image: Image) -> dict[str, Any]:
        """One image (A-020)."""
        document: dict[str, Any] = {
            name: "" if value is None and name not in self._settings.custom.schemas else value
            for name, value in image.properties.items()
            if name not in HIDDEN_PROPERTIES
        }
        document |= {
            "name": image.name,
            "disk_format": image.disk_format,
            "container_format": image.container_format,
            "visibility": image.visibility,
            "size": image.size,
            "virtual_size": image.virtual_size,
            "status": image.status,
            "checksum": image.checksum,
            "protected": image.protected,
            "min_ram": image.min_ram,
            "min_disk": image.min_disk,
            "owner": image.owner,
            "os_hidden": image.os_hidden,
            "os_hash_algo": image.os_hash_algo,
            "os_hash_value": image.os_hash_value,
            "id": image.id,
            "created_at": moment(image.created_at),
            "updated_at": moment(image.updated_at),
        }
        located = self._by_weight(image.locations) if self._located else []
        if self._settings.show_multiple_locations:
            document["locations"] = [location_view(each) for each in located]
        if self._settings.show_image_direct_url and located:
            document["direct_url"] = located[0].url
        path = f"/v2/images/{image.id}"
        document |= {"tags": list(image.tags), "self": path, "file": f"{path}/file", "schema": "/v2/schemas/image"}
        if self._multiple and (stores := [each.store for each in located if each.store is not None]):
            document["stores"] = ",".join(stores)
        return document

    def images(self, images: Sequence[Image], query: Sequence[tuple[str, str]], last: str | None) -> str:
        """A page, in JSON; *query* is the request's, *last* the marker of the next page if there may be one (A-057)."""
        rest = [(name, value) for name, value in query if name != "marker"]
        links = {"first": _link("/v2/images", rest), "schema": "/v2/schemas/images"}
        if last is not None:
            links["next"] = _link("/v2/images", [*rest, ("marker", last)])
        shown = ", ".join([self._shown.get(image) or self._show(image) for image in images])
        return f'{{"images": [{shown}], {to_json(links)[1:]}'

    def _show(self, image: Image) -> str:
        text = to_json(self.image(image))
        self._shown.keep(image, text)
        return text


class Shown:
    """Texts of images that are shown now: lists that are alike are answered with the same images, if they come at once.

    A text is forgotten with its image; it is the same object that counts, for equal ones cost as much to compare.
    """

    def __init__(self) -> None:
        self._texts: dict[int, tuple[ReferenceType[Image], str]] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def get(self, image: Image) -> str | None:
        known = self._texts.get(id(image))
        return known[1] if known is not None and known[0]() is image else None

    def keep(self, image: Image, text: str) -> None:
        key, texts = id(image), self._texts
        texts[key] = ref(image, lambda _: texts.pop(key, None)), text


def _link(path: str, query: Sequence[tuple[str, str]]) -> str:
    return f"{path}?{urlencode(query)}" if query else path
