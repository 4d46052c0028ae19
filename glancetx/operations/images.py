"""Create, show, list, update and delete images: who may, what is allowed, what is kept (api.md, sections 2.2, 2.4).

The data of an image is the business of `glancetx.transfer`; only its removal on delete begins here.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve

from glancetx.access.policy import Policy, image_target
from glancetx.config.settings import ImagesSettings
from glancetx.db.claims import Claims
from glancetx.db.images import Images
from glancetx.domain.change import Change
from glancetx.domain.claim import LOCATION, Claim
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import (
    AttributeConflict,
    AttributeForbidden,
    Forbidden,
    ImageNotFound,
    Invalid,
    StatusConflict,
)
from glancetx.domain.image import Image
from glancetx.domain.limits import check_quota
from glancetx.domain.query import ImageQuery
from glancetx.domain.status import IMPORTING, QUEUED
from glancetx.domain.text import is_wide
from glancetx.interfaces import ILimits
from glancetx.notifications.events import Events
from glancetx.operations.concurrency import until_unchanged
from glancetx.operations.locations import Locations
from glancetx.operations.properties import Properties, without
from glancetx.operations.schemas import ImageSchema
from glancetx.operations.showing import Showing
from glancetx.runtime.undo import undone_by

READ_ONLY_ON_CREATE: Final = frozenset(
    [
        "created_at",
        "updated_at",
        "status",
        "checksum",
        "size",
        "virtual_size",
        "direct_url",
        "self",
        "file",
        "schema",
        "stores",
    ]
)
LINKS: Final = frozenset({"direct_url", "self", "file", "schema", "stores"})
"""Those of them that are refused whatever their value is; the others must have a valid one to be refused by name."""
READ_ONLY: Final = (READ_ONLY_ON_CREATE - {"stores"}) | {"id", "os_hash_algo", "os_hash_value"}
RESERVED_ON_CREATE: Final = frozenset({"location", "locations", "deleted", "deleted_at"})
RESERVED: Final = frozenset({"location", "deleted", "deleted_at"})
OWN: Final = "os_glance_"  # what properties of the service itself begin with
ATTRIBUTES: Final = frozenset(
    [
        "name",
        "visibility",
        "protected",
        "os_hidden",
        "owner",
        "container_format",
        "disk_format",
        "tags",
        "min_ram",
        "min_disk",
    ]
)
LARGEST_NUMBER: Final = 2**31 - 1


class Catalog:
    """The images as records. *tell* is called with an image, and the caller's token, when others may read it."""

    def __init__(
        self,
        images: Images,
        policy: Policy,
        limits: ILimits,
        schema: ImageSchema,
        settings: ImagesSettings,
        events: Events,
        locations: Locations,
        properties: Properties,
        showing: Showing,
        tell: Callable[[Image, str | None], Awaitable[None]],
        claims: Claims,
        process: str,
    ) -> None:
        self._images = images
        self._claims, self._process = claims, process
        self._properties = properties
        self._showing = showing
        self._locations = locations
        self._policy = policy
        self._limits = limits
        self._schema = schema
        self._settings = settings
        self._events = events
        self._tell = tell

    async def create(self, context: RequestContext, /, **values: Any) -> Image:
        """A new image with these attributes; names that are no attribute become custom properties.

        :raises Invalid, Forbidden, LimitExceeded, ImageExists: as A-030 lists them.
        """
        check_names(LINKS & values.keys(), LINKS, frozenset())
        self._schema.check(values)
        check_names(values, READ_ONLY_ON_CREATE, RESERVED_ON_CREATE, AttributeForbidden)
        check_id(values.get("id"))
        image = apply_values(Image(id=values.get("id") or str(uuid.uuid4()), owner=context.project_id), values)
        self._properties.check_new(context, image.properties)
        self._policy.check_create(context, image.owner, values.get("visibility", "private"))
        self._check_tags(image)
        self._check_properties(image)
        limits = await self._limits.limits_of(image.owner)
        created = await self._images.create(image, limits, self._events.image_created)
        return self._showing.to(context, created)

    async def get(self, context: RequestContext, image_id: str) -> Image:
        """:raises ImageNotFound: if it does not exist for this caller."""
        image = await self._images.get(context, image_id)
        self._policy.check_image("get_image", context, image)
        return self._showing.to(context, image)

    async def list(self, context: RequestContext, query: ImageQuery) -> tuple[list[Image], str | None]:
        """A page of images, and the marker of the next page if there may be one (A-032, A-057)."""
        self._policy.check("get_images", context, {"project_id": context.project_id, "owner": context.project_id})
        if not all(self._showing.reads(context, name) for name in query.properties):
            return [], None
        if query.limit == 0 and query.marker is None:  # a marker has to exist even so
            return [], None
        page = await self._images.list(context, query)
        last = page[-1].id if page and len(page) == query.limit else None
        return [
            self._showing.to(context, image)
            for image in page
            if self._policy.allows("get_image", context, image_target(context, image))
        ], last

    async def update(self, context: RequestContext, image_id: str, changes: Sequence[Change]) -> Image:
        """Apply all changes or none.

        :raises Forbidden, Conflict, Invalid, LimitExceeded: as section 2.4 says.
        :raises StoreError: if they are applied, but the image's store cannot be told who may read it.
        """
        for change in changes:
            self._check_change(change)
        if not changes:  # everybody may change nothing: compute services do, when they have no properties to set
            return await self.get(context, image_id)

        async def apply(image: Image) -> Image:
            changed = image
            for change in changes:
                changed = await self._apply(context, image, changed, change)
            return changed

        saved = await until_unchanged(self._change, context, image_id, apply)
        if any(change.name in ("visibility", "locations") for change in changes):
            await self._tell(saved, context.token)
        return self._showing.to(context, saved)

    async def retag(
        self, context: RequestContext, image_id: str, change: Callable[[tuple[str, ...]], tuple[str, ...]]
    ) -> Image:
        """Replace the tags by what *change* makes of them. :raises Invalid, Forbidden, LimitExceeded: as `update`."""

        async def apply(image: Image) -> Image:
            self._policy.check_image("modify_image", context, image)
            changed = apply_values(image, {"tags": list(change(image.tags))})
            self._check_tags(changed)
            return changed

        return await until_unchanged(self._change, context, image_id, apply)

    async def _change(
        self, context: RequestContext, image_id: str, apply: Callable[[Image], Awaitable[Image]]
    ) -> Image:
        """:raises ImageChanged: if somebody else changes it meanwhile. :raises ImageNotFound: if he deletes it."""
        image = await self._images.get(context, image_id)
        changed = await apply(image)
        self._check_properties(changed)
        try:
            return await self._save(image, changed)
        except StatusConflict as conflict:
            if conflict.found is None:
                raise ImageNotFound(image_id) from conflict
            raise

    async def _save(self, image: Image, changed: Image) -> Image:
        """Write what has become of *image*; data of locations that it lost is deleted before.

        :raises ImageChanged: as `Images.save`; never when data was deleted, since nobody could do that again.
        """
        kept = {location.id for location in changed.locations}
        gone = [location for location in image.locations if location.id not in kept]
        await self._locations.remove(image, gone)
        base = None if gone else image
        if any(location.id is None for location in changed.locations):
            return await self._extend(image, changed, base)
        return await self._images.save(changed, was=image.status, base=base, tell=self._events.image_updated)

    async def _extend(self, image: Image, changed: Image, base: Image | None) -> Image:
        """As `_save`, with new locations: their data are looked up once more where nobody removes them as strays."""
        limits = await self._limits.limits_of(image.owner)
        claim = Claim(id=uuid.uuid4().hex, kind=LOCATION, image_id=image.id, store="", process=self._process)
        new = [location for location in changed.locations if location.id is None]
        more = len(new) * (changed.size or 0)
        with self._claims.working_on(claim):
            async with undone_by(self._claims.release, claim):
                await self._claims.take(claim)
                for location in new:
                    await self._locations.look_up(location.url)
                tell = self._events.image_updated
                return await self._images.extend(changed, image.status, limits, more, claim, base, tell)

    def _check_change(self, change: Change) -> None:
        check_names([change.name], READ_ONLY, RESERVED)
        if change.operation != "remove":
            element = len(change.path) > 1  # of a list, such as /locations/-
            self._schema.check_change({change.name: [change.value] if element else change.value})

    async def _apply(self, context: RequestContext, image: Image, changed: Image, change: Change) -> Image:
        name = change.name
        if name == "locations":
            return await self._locations.change(context, changed, change)
        self._permit(context, image, change)
        if name in ATTRIBUTES:
            check_attribute_change(image, change)
        else:
            self._properties.check_change(context, changed, change)
        if change.operation == "remove":
            return without(changed, name)
        changed = apply_values(changed, {name: change.value})
        if name == "tags":
            self._check_tags(changed)
        return changed

    def _permit(self, context: RequestContext, image: Image, change: Change) -> None:
        """May the caller make this change to *image*? :raises ImageNotFound, Forbidden: if not."""
        foreign_owner = change.name == "owner" and change.operation != "remove" and not context.is_admin
        if foreign_owner and change.operation == "replace":
            raise AttributeForbidden("Owner can't be updated by non admin.")
        if change.name == "visibility" and change.operation != "remove":
            self._policy.check_visibility(context, str(change.value), image_target(context, image))
        self._policy.check_image("modify_image", context, image)
        if foreign_owner:
            raise AttributeForbidden("Owner can't be updated by non admin.")

    def _check_tags(self, image: Image) -> None:
        """:raises LimitExceeded: if there are too many (A-070)."""
        check_quota("tags", len(image.tags), self._settings.image_tag_quota)

    def _check_properties(self, image: Image) -> None:
        """:raises LimitExceeded: if there are too many of clients (A-069)."""
        properties = [name for name in image.properties if not name.startswith(OWN)]
        check_quota("properties", len(properties), self._settings.image_property_quota)


def check_names(
    names: Iterable[str],
    read_only: frozenset[str],
    reserved: frozenset[str],
    forbidden: type[Forbidden] = Forbidden,
) -> None:
    """:raises Forbidden: if one of *names* is not the client's to set. :raises Invalid: if one is too long."""
    for name in names:
        if name in read_only:
            raise Forbidden(f"Attribute '{name}' is read-only.")
        if name in reserved or name.startswith("os_glance"):
            raise (Forbidden if name == "locations" else forbidden)(f"Attribute '{name}' is reserved.")
        if len(name) > 255:
            raise Invalid("Custom property should not be greater than 255 characters.")


def check_attribute_change(image: Image, change: Change) -> None:
    """May an attribute that every image has be changed so (A-065)?

    :raises Forbidden: if it is to be removed, or is a format that the image's data has settled (A-068).
    :raises AttributeConflict: if it is to be added in the old way, since it is there.
    """
    name = change.name
    if change.operation == "remove":
        raise AttributeForbidden(f"Property {name} may not be removed.")
    if change.only_new:
        raise AttributeConflict(f"Property {name} already present.")
    if name in ("container_format", "disk_format") and image.status not in (QUEUED, IMPORTING):
        raise Forbidden(f"Attribute {name} can be only replaced for a queued image.")


def check_id(image_id: str | None) -> None:
    """:raises Invalid: for a line's end, which the schema lets pass behind an id."""
    if image_id is not None and image_id.endswith("\n"):
        raise Invalid("An image id has no line's end.")


def check_text(name: str, value: Any) -> None:
    """:raises Invalid: if a text cannot be kept by every database (A-016), or by JSON."""
    if is_wide(name):
        raise Invalid("Property names can't contain 4 byte unicode.")
    texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
    if any(is_wide(text) for text in texts):
        what = "Param values" if isinstance(value, list) else name.title()
        raise Invalid(f"{what} can't contain 4 byte unicode{'.' if isinstance(value, list) else ' characters.'}")
    if any("\0" in text for text in (name, *texts)):
        raise Invalid(f"{name.capitalize()} can't contain a NUL character.")


def check_number(name: str, value: float) -> None:
    """:raises Invalid: if min_disk or min_ram is out of range."""
    if value < 0:
        raise Invalid(f"Invalid value '{value}' for parameter '{name}': Cannot be a negative value")
    if value > LARGEST_NUMBER:
        raise Invalid(f"'{name}' value out of range, must not exceed {LARGEST_NUMBER}.")


def apply_values(image: Image, values: Mapping[str, Any]) -> Image:
    """*image* with these values, already valid by the schema; unknown names are custom properties."""
    attributes: dict[str, Any] = {}
    properties = dict(image.properties)
    for name, value in values.items():
        check_text(name, value)
        if name in ("min_disk", "min_ram"):
            check_number(name, value)
            attributes[name] = int(value)  # 5.0 is an integer too, for JSON schemas
        elif name == "tags":
            attributes["tags"] = tuple(dict.fromkeys(value))
        elif name in ATTRIBUTES:
            attributes[name] = value
        elif name not in ("id", "os_hash_algo", "os_hash_value"):
            properties[name] = value
    return evolve(image, properties=properties, **attributes)
