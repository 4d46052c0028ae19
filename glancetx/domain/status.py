"""The status machine of an image (contract rows A-080..A-089)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from glancetx.domain.errors import InvalidTransition

QUEUED: Final = "queued"
SAVING: Final = "saving"
UPLOADING: Final = "uploading"
IMPORTING: Final = "importing"
ACTIVE: Final = "active"
DEACTIVATED: Final = "deactivated"
KILLED: Final = "killed"
PENDING_DELETE: Final = "pending_delete"
DELETED: Final = "deleted"

TRANSITIONS: Final = MappingProxyType(
    {
        QUEUED: frozenset({SAVING, UPLOADING, IMPORTING, ACTIVE, DELETED}),
        SAVING: frozenset({ACTIVE, KILLED, DELETED, QUEUED}),
        UPLOADING: frozenset({IMPORTING, QUEUED, DELETED}),
        IMPORTING: frozenset({ACTIVE, DELETED, QUEUED}),
        ACTIVE: frozenset({PENDING_DELETE, DELETED, DEACTIVATED}),
        KILLED: frozenset({DELETED}),
        PENDING_DELETE: frozenset({DELETED, ACTIVE}),
        DEACTIVATED: frozenset({ACTIVE, DELETED}),
        DELETED: frozenset[str](),
    }
)


def check_transition(current: str, wanted: str) -> None:
    """Return if the step from *current* to *wanted* exists or changes nothing.

    :raises InvalidTransition: otherwise.
    """
    if wanted != current and wanted not in TRANSITIONS[current]:
        raise InvalidTransition(current, wanted)
