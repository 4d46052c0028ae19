"""Two nodes on one database, each with a staging area of its own: an import goes to the node that has the data.

Contract rows P-040, P-042, A-142.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest_twisted
from attrs import evolve

from glancetx.config.settings import ImportSettings
from tests.functional.test_import import DIRECT, ended, stage, start_import
from tests.ports import free_port
from tests.running import Api, Started, settings_in

CONTENT = os.urandom(100_000)


async def second(start: Started, first: Api, node_url: str = "http://127.0.0.1:9/second") -> Api:
    """Another node on the same database and stores."""
    folder = first.folder / "second"
    imports = ImportSettings(staging=folder / "staging", node_url=node_url)
    return await start(evolve(first.service.settings, imports=imports))


@pytest_twisted.ensureDeferred
async def test_goes_to_the_node(start: Started, tmp_path: Path) -> None:
    """Whichever node is asked; the id of the request is that of the node which does it."""
    port = free_port()
    imports = ImportSettings(staging=tmp_path / "staging", node_url=f"http://127.0.0.1:{port}")
    first = await start(settings_in(tmp_path, imports=imports), port=port)
    other = await second(start, first)
    image_id = await first.create()
    assert (await stage(first, image_id, CONTENT)).status == 204
    shown = await other.show(image_id)
    assert "os_glance_stage_host" not in shown
    reply = await start_import(other, image_id, DIRECT)
    assert reply.status == 202
    task = await ended(other, image_id)
    assert task["status"] == "success"
    assert task["request_id"] == reply.header("x-openstack-request-id")
    assert (await other.request("GET", f"/v2/images/{image_id}/file")).body == CONTENT


@pytest_twisted.ensureDeferred
async def test_node_refuses(start: Started, tmp_path: Path) -> None:
    """What the node says is what the client hears."""
    imports = ImportSettings(staging=tmp_path / "staging", methods=())
    strict = await start(settings_in(tmp_path, imports=imports))
    url = f"http://127.0.0.1:{strict.port}"
    folder = tmp_path / "holder"
    holder = await start(
        evolve(strict.service.settings, imports=ImportSettings(staging=folder / "staging", node_url=url))
    )
    image_id = await holder.create()
    assert (await stage(holder, image_id, CONTENT)).status == 204
    reply = await start_import(await second(start, strict), image_id, DIRECT)
    assert reply.status == 400
    assert reply.json["message"].startswith("Unknown import method name 'glance-direct'")


@pytest_twisted.ensureDeferred
async def test_node_is_gone(start: Started, tmp_path: Path) -> None:
    """504, and nothing is changed; the image can be deleted, though."""
    imports = ImportSettings(staging=tmp_path / "staging", node_url=f"http://127.0.0.1:{free_port()}")
    first = await start(settings_in(tmp_path, imports=imports))
    other = await second(start, first)
    image_id = await first.create()
    assert (await stage(first, image_id, CONTENT)).status == 204
    reply = await start_import(other, image_id, DIRECT)
    assert (reply.status, "Stage host is unavailable" in reply.json["message"]) == (504, True)
    assert (await other.show(image_id))["status"] == "uploading"
    assert (await other.request("DELETE", f"/v2/images/{image_id}")).status == 204
    assert await first.service.background.unstager.run_once() == 1
