"""Logs that programs read: one JSON object a line, with the ids of requests."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from tests.functional.test_crash import create, upload
from tests.running import Daemon

PATIENCE = 60.0


def lines(daemon: Daemon) -> list[dict[str, Any]]:
    """All lines so far; each must be an object of its own."""
    return [json.loads(line) for line in daemon.log.read_text().splitlines()]


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_every_line_is_json(daemon: Daemon, options: tuple[str, ...]) -> None:
    """Of workers too; a request's line tells who asked for what, and what is logged on its behalf bears its id."""
    daemon.command.append("--logger=glancetx.runtime.log.json_lines")
    daemon.configure("[glancetx]\naccess_log = true\n[keystone_authtoken]\n")
    daemon.start(*options)
    image_id = create(daemon)
    assert upload(daemon, image_id) == 204
    os.truncate(daemon.images / image_id, 3)
    status, _ = daemon.call(
        "GET", f"/v2/images/{image_id}/file?x=1", X_Openstack_Request_Id="req-mine", X_Auth_Token="secret-token"
    )
    assert status == 503
    deadline = time.monotonic() + PATIENCE
    while not (mine := [line for line in lines(daemon) if line.get("request_id") == "req-mine"]):
        assert time.monotonic() < deadline, daemon.log.read_text()
        time.sleep(0.05)
    access = [line for line in mine if line["logger"] == "glancetx.access"]
    assert [(line["method"], line["path"], line["status"]) for line in access] == [
        ("GET", f"/v2/images/{image_id}/file?x=1", 503)
    ]
    assert any("cannot be read" in line["message"] for line in mine)
    assert "secret-token" not in daemon.log.read_text()
    daemon.stop()
    assert all({"time", "level", "message"} <= line.keys() for line in lines(daemon))
