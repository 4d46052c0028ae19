"""A project with which an image is shared, and what it thinks of that."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from attrs import field, frozen

from glancetx.domain.image import utc_now

PENDING: Final = "pending"
ACCEPTED: Final = "accepted"
REJECTED: Final = "rejected"
MEMBER_STATUSES: Final = (PENDING, ACCEPTED, REJECTED)


@frozen(kw_only=True)
class Member:
    """*member_id* is the project. Times are naive UTC."""

    image_id: str
    member_id: str
    status: str = PENDING
    created_at: datetime = field(factory=utc_now)
    updated_at: datetime = field(factory=utc_now)
