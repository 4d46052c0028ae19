"""The image: a frozen record, and how it changes. What an image is on the wire is told by `glancetx.web.views`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from attrs import evolve, field, frozen

from glancetx.domain.errors import Invalid
from glancetx.domain.status import ACTIVE, IMPORTING, QUEUED, SAVING, check_transition


def utc_now() -> datetime:
    """The present time as the database holds it: naive, UTC (contract row D-011)."""
    return datetime.now(UTC).replace(tzinfo=None)


def _read_only(properties: Mapping[str, str | None]) -> Mapping[str, str | None]:
    return MappingProxyType(dict(properties))


@frozen(kw_only=True)
class Location:
    """One copy of an image's data. *url* is the store's own location URI, byte for byte (stores.md).

    *id* is the row's number in the database, None while unsaved. *metadata* has the key ``store`` where several
    stores are configured.
    """

    url: str = field(repr=False)  # may hold a credential
    metadata: Mapping[str, Any] = field(factory=dict)
    status: str = "active"
    id: int | None = None

    @property
    def store(self) -> str | None:
        """The identifier of the store it says it is in; None if it does not say."""
        return self.metadata.get("store")


@frozen(kw_only=True)
class Image:
    """One image, as Glance's tables hold it. Times are naive UTC; sizes are bytes; min_disk GiB; min_ram MiB.

    *tags* and *properties* are those not deleted. A property may be None in the database; it is shown as "".
    """

    id: str
    status: str = QUEUED
    name: str | None = None
    owner: str | None = None
    visibility: str = "shared"
    disk_format: str | None = None
    container_format: str | None = None
    size: int | None = None
    virtual_size: int | None = None
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    protected: bool = False
    os_hidden: bool = False
    created_at: datetime = field(factory=utc_now)
    updated_at: datetime = field(factory=utc_now)
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str | None] = field(factory=dict, converter=_read_only)
    locations: tuple[Location, ...] = ()

    def to(self, status: str) -> Image:
        """This image in another status. Back in the queue it has no sizes (contract row A-089).

        :raises InvalidTransition: if the status machine has no such step.
        :raises Invalid: if the step needs formats which are not set.
        """
        check_transition(self.status, status)
        if status in (SAVING, ACTIVE, IMPORTING) and status != self.status:
            self.check_formats()
        if status == QUEUED:
            return evolve(self, status=status, size=None, virtual_size=None)
        return evolve(self, status=status)

    def check_formats(self) -> None:
        """:raises Invalid: if container or disk format is missing."""
        missing = [n for n in ("disk_format", "container_format") if getattr(self, n) is None]
        if missing:
            what = "Property" if len(missing) == 1 else "Properties"
            raise Invalid(f"{what} {', '.join(missing)} must be set prior to saving data.")
