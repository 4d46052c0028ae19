"""Events as oslo.messaging writes them, for the listeners that OpenStack has (config.md, C-147)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from glancetx.domain.image import utc_now


def serialize(
    event_type: str, priority: str, payload: Mapping[str, Any] | str, publisher_id: str, *, envelope: bool = True
) -> bytes:
    """One notification, with an id of its own.

    *envelope*: in that of the message format 2.0 (driver ``messagingv2``), or bare, format 1.0 (``messaging``).
    """
    message: dict[str, Any] = {
        "message_id": str(uuid.uuid4()),
        "publisher_id": publisher_id,
        "event_type": event_type,
        "priority": priority.upper(),
        "payload": payload,
        "timestamp": f"{utc_now():%Y-%m-%d %H:%M:%S.%f}",
        "_unique_id": uuid.uuid4().hex,  # by this, listeners notice that one message came twice
    }
    if envelope:
        message = {"oslo.version": "2.0", "oslo.message": json.dumps(message)}
    return json.dumps(message).encode()
