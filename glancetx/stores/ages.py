"""How long ago something was, by the clock of the server that tells: it says in each answer what time it is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from glancetx.outgoing.client import Answer


def age_of(answer: Answer) -> float:
    """Seconds since the object that an answer is about was changed; of one without a date, none."""
    return age_since(answer, [answer.header("Last-Modified") or ""])


def age_since(answer: Answer, times: Iterable[str]) -> float:
    """Seconds since the latest of these *times*, of which each is a date as HTTP or as ISO 8601 writes it.

    One that cannot be read makes it none: whoever waits for a certain age goes on waiting.
    """
    now = _read(answer.header("Date") or "") or datetime.now(UTC)
    found = [_read(each) for each in times]
    if not found or None in found:
        return 0.0
    return (now - max(each for each in found if each is not None)).total_seconds()


def _read(text: str) -> datetime | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            found = parse(text)
        except (ValueError, TypeError, IndexError):
            continue
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return None
