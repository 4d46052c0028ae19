"""Where the data of an image lies, as clients may change it (api.md, A-072..A-076)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import evolve
from twisted.logger import Logger

from glancetx.access.policy import Policy
from glancetx.config.settings import ImagesSettings
from glancetx.db.claims import Claims
from glancetx.db.images import Images
from glancetx.db.locations import LocationRows
from glancetx.domain.change import Change
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import (
    AttributeForbidden,
    Conflict,
    DataNotFound,
    Forbidden,
    Invalid,
    NotFound,
    RemovalUnknown,
    StoreError,
    UnknownStore,
)
from glancetx.domain.image import Image, Location
from glancetx.domain.limits import check_quota
from glancetx.domain.status import ACTIVE, QUEUED
from glancetx.domain.text import has_wide
from glancetx.operations.showing import Showing
from glancetx.runtime.permission import guarded
from glancetx.stores.registry import Stores
from glancetx.stores.uri import check_readable

UNSAFE: Final = frozenset({"file", "filesystem", "swift+config"})
"""Schemes that only the service itself writes: a client's would reach what it must not read (S-010)."""

ONLY_STORE: Final = "Cannot delete image data from the only store containing it. Consider deleting the image instead."
LocationList = list[Location]
_HASH_SIZES: Final = {"checksum": 32, "md5": 32, "sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}
_log = Logger()


class Locations:
    """Changes of locations: those of a patch in memory, until the image is saved; the removal of data at last.

    *multiple*: locations tell the store they are in. *delayed*: data is left to the scrubber.
    """

    def __init__(
        self,
        images: Images,
        rows: LocationRows,
        claims: Claims,
        policy: Policy,
        stores: Stores,
        settings: ImagesSettings,
        showing: Showing,
        *,
        multiple: bool,
        delayed: bool = False,
    ) -> None:
        self._images = images
        self._showing = showing
        self._rows = rows
        self._claims = claims
        self._policy = policy
        self._stores = stores
        self._settings = settings
        self._multiple = multiple
        self._delayed = delayed

    async def list(self, context: RequestContext, image_id: str) -> LocationList:
        """Where the data lies, for services of the cloud (A-191). :raises ImageNotFound, Forbidden: for others."""
        image = await self._images.get(context, image_id)
        self._policy.check_image("fetch_image_location", context, image)
        return [*self._stores.by_weight(self._showing.to(context, image).locations)]

    async def remove_from_store(self, context: RequestContext, store: str, image_id: str) -> None:
        """Delete the copy that is in *store* (A-180), the first one if there are several.

        :raises NotFound: if stores cannot be chosen, there is no such image, or it is not in that store.
        :raises Conflict, Forbidden: as A-180 lists them.
        """
        if not self._multiple:
            raise NotFound("The resource could not be found.")
        if store not in self._stores.identifiers:
            raise Conflict(f"The selected store {store} is not available on this node.")
        image = await self._images.get(context, image_id)
        self._policy.check_image("delete_image_location", context, image)
        self._policy.check_image("get_image_location", context, image)
        if image.status != ACTIVE:
            raise Conflict("It's not allowed to remove image data from store if image status is not 'active'")
        if len(image.locations) == 1:
            raise Forbidden(ONLY_STORE)
        here = [each for each in image.locations if self._stores.named(each).store == store]
        if not here:
            raise NotFound(f"Image {image_id} is not stored in store {store}.")
        await self.remove(image, here[:1], context.token)

    async def change(self, context: RequestContext, image: Image, change: Change) -> Image:
        """*image* with one operation of a patch applied to its locations; nothing is saved and no data touched.

        :raises Forbidden, Conflict, Invalid, LimitExceeded: as A-072 to A-076 list them.
        """
        if change.operation == "replace" and not change.value:
            raise AttributeForbidden("Cannot set locations to empty list.")
        rule = "delete_image_location" if change.operation == "remove" else "set_image_location"
        self._policy.check_image(rule, context, image)
        self._check_changeable(image, change.operation)
        if change.operation == "remove":
            return self._without(image, change.path[1])
        if change.operation == "replace":
            return await self._replaced(image, change.value)
        return await self._added(image, change.path[1], change.value)

    async def remove(self, image: Image, gone: Sequence[Location], token: str | None = None) -> None:
        """Delete the data of *gone*, which are locations of *image*, and their rows. At least one other stays.

        If the process dies in between, the location is gone and its data waits for the scrubber. So it does if the
        process slept, which cancels this: somebody else may have removed the data, and stored it anew.

        :raises DataInUse, Forbidden, StoreUnavailable: if a store refuses; that location stays then.
        """
        stores = self._stores.acting_for(image.owner, token)
        certain = self._claims.certainty()
        for location in gone:
            check_readable(location.url)
            await self._rows.retire(image, location)
            if self._delayed:
                await self._rows.postpone(location)
                continue
            try:
                await guarded(stores.for_location(location).delete(location.url), certain)
            except RemovalUnknown as error:
                _log.warn("image {image}: a copy is left to the scrubber: {why!r}", image=image.id, why=error)
                await self._rows.postpone(location)
                continue
            except (DataNotFound, UnknownStore) as error:
                _log.warn("image {image}: no data to delete ({why})", image=image.id, why=type(error).__name__)
            except (StoreError, Forbidden):
                if not stores.for_location(location).read_only:
                    await self._rows.restore(location)
                    raise
            await self._rows.forget(location)

    def _check_changeable(self, image: Image, verb: str) -> None:
        if not self._settings.show_multiple_locations:
            raise Forbidden(f"It's not allowed to {verb} locations if locations are invisible.")
        if image.status not in ((ACTIVE,) if verb == "remove" else (ACTIVE, QUEUED)):
            raise Conflict(f"It's not allowed to {verb} locations if image status is {image.status}.")

    async def _replaced(self, image: Image, values: Sequence[Mapping[str, Any]]) -> Image:
        """Another order, or other metadata; only an image without locations can be given new ones."""
        self.check_number(len(values))
        if not image.locations:
            image = self._with_hashes(image, values)
            for value in values:
                image = await self._with(image, value, len(image.locations))
            return image
        known = {location.url: location for location in image.locations}
        if sorted(known) != sorted(value["url"] for value in values):
            raise Invalid("Original locations is not empty")
        return evolve(image, locations=tuple(_noted(known[value["url"]], value["metadata"]) for value in values))

    async def _added(self, image: Image, place: str, value: Mapping[str, Any]) -> Image:
        if place != "-" and not re.fullmatch(r"[0-9]{1,9}", place):
            raise Invalid("Invalid position for adding a location.")
        self.check_number(len(image.locations) + 1)
        image = self._with_hashes(image, [value])
        return await self._with(image, value, len(image.locations) if place == "-" else int(place))

    async def _with(self, image: Image, value: Mapping[str, Any], place: int) -> Image:
        """*image* with one location more; the first one makes it active."""
        url = value["url"]
        store, size = await self.look_up(url)
        location = Location(url=url, metadata={**_storable(value["metadata"]), **store})
        if any((other.url, other.metadata) == (url, location.metadata) for other in image.locations):
            raise Invalid(f"The location {url} already exists")
        places = [*image.locations[:place], location, *image.locations[place:]]
        if image.status == QUEUED:
            image = evolve(image.to(ACTIVE), size=size if image.size is None else image.size)
        return evolve(image, locations=tuple(places))

    async def look_up(self, url: str) -> tuple[Mapping[str, str], int]:
        """What metadata tell of the store that reads *url*, and how many bytes are there.

        :raises Invalid: if no store reads it, if it is not the client's to tell, or if nothing is there that stays.
        """
        try:
            if url.partition(":")[0].lower() in UNSAFE:
                raise UnknownStore("Only the service itself writes such locations")
            if await self._rows.is_going(url):
                raise DataNotFound("The data at the location is being removed")
            store = self._stores.for_url(url)
            size = await store.size(url)
        except StoreError as error:
            raise Invalid("Invalid location") from error
        if size <= 0:
            raise Invalid("Invalid location")
        return ({"store": store.identifier} if self._multiple else {}), size

    def check_number(self, number: int) -> None:
        """:raises LimitExceeded: if an image may not have so many locations."""
        check_quota("locations", number, self._settings.image_location_quota)

    def _without(self, image: Image, place: str) -> Image:
        """*image* without the location at *place* in the list that clients are shown, where the best one is first.

        :raises Invalid, AttributeForbidden: if there is none, or no other.
        """
        places = self._stores.by_weight(image.locations)
        if len(places) == 1:
            raise AttributeForbidden("Cannot remove last location in the image.")
        if not re.fullmatch(r"[0-9]{1,9}", place) or int(place) >= len(places):
            raise Invalid("Invalid position for removing a location.")
        gone = places[int(place)]
        return evolve(image, locations=tuple(each for each in image.locations if each is not gone))

    def _with_hashes(self, image: Image, values: Sequence[Mapping[str, Any]]) -> Image:
        """*image* with the hashes that its new locations are said to have (A-075).

        :raises Conflict: if they are not those which it has, or are no hashes.
        """
        wanted: dict[str, str] = {}
        for value in values:
            for name, text in value.get("validation_data", {}).items():
                if wanted.setdefault(name, text) != text:
                    raise Conflict(f"Conflicting values for {name}")
        for name, text in wanted.items():
            present = getattr(image, name)
            if present is not None and present != text:
                raise Conflict(f"{name} is already set with a different value")
        new = {name: text for name, text in wanted.items() if getattr(image, name) is None}
        if new and image.status != QUEUED:
            names = ", ".join(sorted(new))
            raise Conflict(f"New value(s) for {names} may only be provided when image status is 'queued'")
        self._check_hashes(new)
        fresh: dict[str, Any] = dict(new)
        return evolve(image, **fresh)

    def _check_hashes(self, new: Mapping[str, str]) -> None:
        algorithm = self._settings.hashing_algorithm
        if new.get("os_hash_algo", algorithm) != algorithm:
            raise Conflict(f"os_hash_algo must be {algorithm}, not {new['os_hash_algo']}")
        for name, kind in (("checksum", "checksum"), ("os_hash_value", algorithm)):
            if name in new and not is_hash(new[name], kind):
                raise Conflict(f"{name} ({new[name]}) is not a valid hexadecimal value")


def is_hash(text: str, algorithm: str) -> bool:
    """Whether *text* has the form of a hash of this kind."""
    size = _HASH_SIZES.get(algorithm, len(text))
    return re.fullmatch(r"[0-9a-fA-F]+", text) is not None and len(text) == size


def _noted(location: Location, metadata: Mapping[str, Any]) -> Location:
    """*location* with other metadata; which store it is in stays."""
    store = {name: value for name, value in location.metadata.items() if name == "store"}
    return evolve(location, metadata={**_storable(metadata), **store})


def _storable(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """:raises Invalid: if not every database can keep *metadata* (A-016)."""
    if has_wide(metadata):
        raise Invalid("Metadata of locations can't contain 4 byte unicode characters.")
    return metadata
