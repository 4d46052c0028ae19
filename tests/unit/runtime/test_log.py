"""One JSON object for each event."""

from __future__ import annotations

import json
from typing import Any

import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure

from glancetx.runtime.log import format_json, request_id


def logged(write: Any) -> list[dict[str, Any]]:
    """What *write* logs, as it is written."""
    texts: list[str | None] = []
    observer: Any = lambda event: texts.append(format_json(event))  # noqa: E731
    write(Logger(namespace="here", observer=LogPublisher(observer)))
    return [json.loads(text) for text in texts if text is not None]


def test_an_event() -> None:
    """Time, level, origin, text, and what the text was made of; a newline does not begin another line."""
    (line,) = logged(lambda log: log.warn("{what} of\n{n}", what="ä", n=3, odd=object()))
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "warn", "logger": "here", "message": "ä of\n3", "what": "ä", "n": 3}


def test_a_failure() -> None:
    """It has its traceback in the same object."""
    (line,) = logged(lambda log: log.failure("broken", Failure(ValueError("why"))))
    assert "ValueError: why" in line["traceback"]


def test_lines_of_workers() -> None:
    """What is JSON already is passed on; what is not, is wrapped."""
    made = '{"time": "2026-01-01T00:00:00+00:00", "message": "x"}'
    assert logged(lambda log: log.info("{line}", line=made)) == [json.loads(made)]
    assert logged(lambda log: log.info("{line}", line="plain"))[0]["message"] == "plain"


@pytest_twisted.ensureDeferred
async def test_the_request_is_known() -> None:
    """To all that is awaited on its behalf, also after a pause; not to anybody else."""
    found: list[str] = []
    pause: Deferred[None] = Deferred()

    async def answer(name: str) -> None:
        request_id.set(name)
        await pause
        found.extend(line["request_id"] for line in logged(lambda log: log.info("x")))

    work = [Deferred.fromCoroutine(answer(name)) for name in ("req-a", "req-b")]
    assert "request_id" not in logged(lambda log: log.info("x"))[0]
    pause.callback(None)
    for each in work:
        await each
    assert found == ["req-a", "req-b"]
