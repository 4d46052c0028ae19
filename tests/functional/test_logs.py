"""Logs that programs read: one JSON object a line, with the ids of requests. Logs where Glance's options say."""

from __future__ import annotations

import json
import os
import re
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
    access: list[dict[str, Any]] = []
    while not access:  # the last line of a request
        assert time.monotonic() < deadline, daemon.log.read_text()
        time.sleep(0.05)
        mine = [line for line in lines(daemon) if line.get("request_id") == "req-mine"]
        access = [line for line in mine if line["logger"] == "glancetx.access"]
    assert [(line["method"], line["path"], line["status"]) for line in access] == [
        ("GET", f"/v2/images/{image_id}/file?x=1", 503)
    ]
    assert any("cannot be read" in line["message"] for line in mine)
    assert "secret-token" not in daemon.log.read_text()
    daemon.stop()
    assert all({"time", "level", "message"} <= line.keys() for line in lines(daemon))


def test_where_glance_logs(daemon: Daemon) -> None:
    """A file has what workers log, each line once, of the levels that are wanted; moved away, it is made again."""
    (daemon.folder / "logs").mkdir()
    levels = "twisted=ERROR"
    form = "%(levelname)s %(name)s [%(request_id)s] %(message)s"
    options = f"log_dir = {daemon.folder}/logs\ndefault_log_levels = {levels}\nlogging_context_format_string = {form}"
    daemon.configure(f"[DEFAULT]\n{options}\n[glancetx]\naccess_log = true\n[keystone_authtoken]\n")
    daemon.start("--workers", "2")
    path = daemon.folder / "logs" / "glance-api.log"
    for number in range(2):
        daemon.call("GET", f"/v2/images/{number}", X_Openstack_Request_Id=f"req-{number}")
        deadline = time.monotonic() + PATIENCE
        while not path.exists() or not (mine := re.findall(f"INFO glancetx.access .*req-{number}", path.read_text())):
            assert time.monotonic() < deadline, daemon.log.read_text()
            time.sleep(0.05)
        assert len(mine) == 1
        path.rename(daemon.folder / f"old-{number}")
    daemon.stop()
    assert "INFO twisted" not in "".join(each.read_text() for each in (*daemon.folder.glob("old-*"), path))
