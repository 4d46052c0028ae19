"""Logs for programs: one JSON object a line (``twistd --logger=glancetx.runtime.log.json_lines glancetx``).

The request that is being answered is known to everything that logs on its behalf: it stands in a context variable,
which Twisted hands on from coroutine to coroutine.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, formatEvent

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""That of the request on whose behalf we run; empty for the service's own work."""

CHOICE: Final = "GLANCETX_LOG"
"""Tells worker processes what their parent writes."""


def json_lines(output: TextIO | None = None) -> ILogObserver:
    """For ``twistd --logger``: writes to standard output. Lines of worker processes are passed on as they are."""
    os.environ[CHOICE] = "json"
    return FileLogObserver(output or sys.stdout, format_json)


def format_json(event: LogEvent) -> str | None:
    """One event as a line; None if it says nothing."""
    passed_on = _from_worker(event)
    if passed_on is not None:
        return passed_on
    text = formatEvent(event)
    failure = event.get("log_failure")
    if not text and failure is None:
        return None
    level = event.get("log_level")
    record: dict[str, Any] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
        "level": "info" if level is None else level.name,
        "logger": event.get("log_namespace", ""),
        "message": text,
    }
    if asked := request_id.get():
        record["request_id"] = asked
    record.update(_facts(event))
    if failure is not None:
        record["traceback"] = failure.getTraceback()
    return json.dumps(record, ensure_ascii=False) + "\n"


def _from_worker(event: LogEvent) -> str | None:
    line = event.get("line")
    return f"{line}\n" if isinstance(line, str) and line.startswith('{"time": ') else None


def _facts(event: LogEvent) -> Iterator[tuple[str, str | int | float | bool]]:
    """What the message was made of, where it is plain."""
    for name, value in event.items():
        taken = name.startswith("log_") or name in ("time", "level", "logger", "message", "format", "system", "isError")
        if not taken and isinstance(value, str | int | float | bool):
            yield name, value
