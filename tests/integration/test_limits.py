"""Unified limits of a real Keystone: they hold, whoever uploads how much at the same time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.functional.test_quotas import put, stored_bytes
from tests.integration.scripts.limits import MIB, REGISTERED
from tests.running import Daemon
from tests.services.keystone import PASSWORD, REGION, RealKeystone

MANY = int(os.environ.get("GLANCETX_UPLOADS", "16"))  # uploads at once


def register(keystone: RealKeystone) -> str:
    """The limits of `REGISTERED` for a new service; returns the text of ``[oslo_limit]``."""
    found = keystone.admin("GET", "/services?type=image&name=limited")["services"]
    if not found:
        service = keystone.admin("POST", "/services", {"service": {"type": "image", "name": "limited"}})["service"]
        place = {"service_id": service["id"], "interface": "public", "url": "http://x", "region_id": REGION}
        keystone.admin("POST", "/endpoints", {"endpoint": place})
        keystone.admin(
            "POST",
            "/registered_limits",
            {
                "registered_limits": [
                    {"service_id": service["id"], "region_id": REGION, "resource_name": name, "default_limit": number}
                    for name, number in REGISTERED.items()
                ]
            },
        )
        keystone.assign_elsewhere("glance", "system", "reader")
        found = [service]
    endpoints = keystone.admin("GET", f"/endpoints?service_id={found[0]['id']}")["endpoints"]
    return f"""
[oslo_limit]
auth_type = password
auth_url = {keystone.url}
username = glance
user_domain_id = default
password = {PASSWORD}
system_scope = all
endpoint_id = {endpoints[0]["id"]}
region_name = {REGION}
"""


def override(keystone: RealKeystone, project: str, **limits: int) -> None:
    (service,) = keystone.admin("GET", "/services?type=image&name=limited")["services"]
    place = {"service_id": service["id"], "region_id": REGION, "project_id": keystone.project_id(project)}
    wanted = [{**place, "resource_name": name, "resource_limit": number} for name, number in limits.items()]
    keystone.admin("POST", "/limits", {"limits": wanted})


@pytest.fixture
def daemon(tmp_path: Path, keystone: RealKeystone) -> Iterator[Daemon]:
    """A service whose callers say who they are, with the limits of that Keystone."""
    (tmp_path / "daemon").mkdir()
    daemon = Daemon(tmp_path / "daemon")
    daemon.configure("[DEFAULT]\nuse_keystone_limits = true\n[glancetx]\nauthentication = trusted\n")
    daemon.configure(register(keystone))
    yield daemon
    daemon.stop()


def identity(project: str) -> dict[str, str]:
    return {
        "X-Identity-Status": "Confirmed",
        "X-User-Id": "somebody",
        "X-Project-Id": project,
        "X-Roles": "member,reader",
    }


class Caller:
    """Somebody of a project."""

    def __init__(self, daemon: Daemon, project: str) -> None:
        self.daemon, self.headers = daemon, identity(project)

    def call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        return self.daemon.call(method, path, body, **self.headers)

    def create(self) -> str:
        status, body = self.call("POST", "/v2/images", b'{"disk_format": "raw", "container_format": "bare"}')
        assert status == 201, body
        return str(json.loads(body)["id"])

    def usage(self) -> Any:
        return json.loads(self.call("GET", "/v2/info/usage")[1])["usage"]

    def put(self, image_id: str, body: bytes, announced: bool) -> int:
        return put(self.daemon, image_id, body, announced, self.headers)


def test_overridden(daemon: Daemon, keystone: RealKeystone) -> None:
    """What Keystone says of a project counts more than what is registered; bytes are counted, whoever sends how."""
    project = keystone.project_id("limited")
    override(
        keystone,
        "limited",
        image_size_total=3,
        image_count_total=MANY + 10,
        image_count_uploading=-1,
        image_stage_total=0,
    )
    daemon.start("--workers", "2")
    caller, other = Caller(daemon, project), Caller(daemon, "another")
    assert {name: each["limit"] for name, each in other.usage().items()} == REGISTERED
    usage = caller.usage()
    assert usage["image_size_total"] == {"limit": 3, "usage": 0}
    assert usage["image_count_uploading"] == {"limit": -1, "usage": 0}
    # One byte more than a third, three times, without saying how much it will be: one after the other ...
    body = bytes(MIB + 1)
    images = [caller.create() for _ in range(MANY)]
    assert [caller.put(image_id, body, announced=False) for image_id in images[:3]] == [204, 204, 413]
    assert stored_bytes(daemon) == 2 * (MIB + 1)
    for image_id in images[:2]:
        assert caller.call("DELETE", f"/v2/images/{image_id}")[0] == 204
    # ... at the same time ...
    images = images[2:]
    with ThreadPoolExecutor(3) as threads:
        statuses = list(threads.map(lambda image_id: caller.put(image_id, body, announced=False), images[:3]))
    assert 1 <= statuses.count(204) <= 2
    assert stored_bytes(daemon) == statuses.count(204) * (MIB + 1)
    # ... and all of them, in every way.
    images = [image_id for image_id, status in zip(images, [*statuses, *[0] * MANY], strict=False) if status != 204]
    small = bytes(200_000)
    with ThreadPoolExecutor(25) as threads:
        turns = enumerate(images)
        statuses = list(threads.map(lambda turn: caller.put(turn[1], small, announced=turn[0] % 2 == 0), turns))
    assert set(statuses) == {204, 413}
    assert stored_bytes(daemon) <= 3 * MIB
    assert caller.usage()["image_size_total"]["usage"] <= 3
    # Nobody can be told what cannot be found out.
    keystone.stop()
    assert Caller(daemon, "unknown").call("GET", "/v2/info/usage")[0] == 503
