"""A copy of an image's data, as the auditor sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from attrs import frozen

from glancetx.domain.image import Location

UNKNOWN: Final = "unknown"  # nobody has looked yet
SOUND: Final = "sound"
CORRUPT: Final = "corrupt"  # other bytes than were stored, or not as many
MISSING: Final = "missing"  # the store says that nothing is there
UNREADABLE: Final = "unreadable"  # the store does not say


def expected_digest(
    algorithm: str | None, digest: str | None, checksum: str | None
) -> tuple[str, str] | tuple[None, None]:
    """What the bytes of an image are compared with: its secure hash, else its md5, else nothing."""
    if algorithm and digest:
        return algorithm, digest
    return ("md5", checksum) if checksum else (None, None)


@frozen(kw_only=True)
class Copy:
    """One location of an image, and what its bytes should be.

    *algorithm* and *digest* are the image's secure hash, or md5 and its checksum if it has none, or None where Glance
    left both out. *state* is what was found at *audited_at* (naive UTC), *detail* why.
    """

    image_id: str
    owner: str | None = None
    location: Location
    size: int | None
    algorithm: str | None
    digest: str | None
    state: str = UNKNOWN
    audited_at: datetime | None = None
    detail: str | None = None
