"""Long work that a client may follow: what Glance calls a task (api.md, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import field, frozen

from glancetx.domain.image import utc_now

PENDING: Final = "pending"
PROCESSING: Final = "processing"
SUCCESS: Final = "success"
FAILURE: Final = "failure"
STATUSES: Final = (PENDING, PROCESSING, SUCCESS, FAILURE)

IMPORT: Final = "import"
API_IMAGE_IMPORT: Final = "api_image_import"
LOCATION_IMPORT: Final = "location_import"
TYPES: Final = (IMPORT, API_IMAGE_IMPORT, LOCATION_IMPORT)


@frozen(kw_only=True)
class Task:
    """One task, as Glance's tables hold it; times are naive UTC. *owner* is the project; "" stands for none.

    *expires_at* is set when it has ended: some time after that it is forgotten. Of a listing, *input*, *result* and
    *message* are left out.
    """

    id: str
    type: str
    owner: str
    status: str = PENDING
    input: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    message: str = ""
    image_id: str | None = None
    request_id: str | None = None
    user_id: str | None = None
    expires_at: datetime | None = None
    created_at: datetime = field(factory=utc_now)
    updated_at: datetime = field(factory=utc_now)

    @property
    def ended(self) -> bool:
        return self.status in (SUCCESS, FAILURE)


@frozen(kw_only=True)
class TaskQuery:
    """A page of tasks: *equal* filters by status and type; *marker* is the last task of the page before."""

    limit: int
    marker: str | None = None
    sort_key: str = "created_at"
    ascending: bool = False
    equal: Mapping[str, str] = field(factory=dict)
