"""Events as oslo.messaging writes them, for the listeners that OpenStack has (config.md, C-147)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from glancetx.domain.image import utc_now


def compose(event_type: str, priority: str, payload: Mapping[str, Any] | str, publisher_id: str) -> str:
    """One notification, with an id of its own: a message of the format 1.0, in ASCII."""
    return json.dumps(
        {
            "message_id": str(uuid.uuid4()),
            "publisher_id": publisher_id,
            "event_type": event_type,
            "priority": priority.upper(),
            "payload": payload,
            "timestamp": f"{utc_now():%Y-%m-%d %H:%M:%S.%f}",
            "_unique_id": uuid.uuid4().hex,  # by this, listeners notice that one message came twice
        },
        default=str,  # as the log notifier does: what happened must not fail for what is told of it
    )


def priority_of(message: str) -> str:
    """The priority of what `compose` has made, in lower case."""
    return str(json.loads(message)["priority"]).lower()


def wrapped(message: str, *, envelope: bool) -> bytes:
    """What is sent: with the *envelope* of the format 2.0 (driver ``messagingv2``), or bare (``messaging``)."""
    return (json.dumps({"oslo.version": "2.0", "oslo.message": message}) if envelope else message).encode()
