"""Who may do what: a real Glance 33 and we say the same in every cell of the matrix.

What is meant to differ is said by a function of type `Differs`, and in docs/differences.md.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest_twisted
import treq
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent, HTTPConnectionPool

from glancetx.app import ImageService
from glancetx.config.loading import load_settings
from glancetx.web.site import ImageSite
from tests.integration.matrix import Cell, cells_of, outcome, write_images
from tests.services.glance import RealGlance, find_venv

# A policy file such as operators wrote when rules did not ask for roles and owners, which the code did instead.
OLD_FILE = """
modify_image: ""
delete_image: "rule:everybody"
get_image: ""
get_images: ""
download_image: "not role:service"
upload_image: "role:member or role:reader"
publicize_image: "role:manager"
add_member: "rule:nonexistent"
add_image: "role:reader"
everybody: "@"
"""


class Side:
    """One of the two services, from outside."""

    def __init__(self, reactor: Any, url: str) -> None:
        self._url = url
        # uWSGI may close a connection that was kept just when the next request is sent on it.
        self._agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))

    async def outcomes(self, cells: list[Cell]) -> list[str]:
        """What came of every cell. Only reading is done several at a time: Glance does not wait for SQLite's lock."""
        readers, writers = DeferredSemaphore(4), DeferredSemaphore(1)
        running = []
        for cell in cells:
            gate = readers if cell.action.method == "GET" else writers
            running.append(gate.run(partial(self._begin, cell)))
        return list(await gatherResults(running))

    def _begin(self, cell: Cell) -> Deferred[str]:
        return Deferred.fromCoroutine(self._ask(cell))

    async def _ask(self, cell: Cell) -> str:
        method, path, body = cell.request
        reply = await treq.request(method, self._url + path, data=body, headers=cell.headers, agent=self._agent)
        return outcome(reply.code, await treq.content(reply))


Differs = Callable[[Cell, str], str | None]
"""Given a cell and Glance's answer, what ours is meant to be instead; None if the same."""


def nothing_shown(cell: Cell, theirs: str) -> str | None:
    """Who may not show an image does not get it by changing nothing."""
    return "404" if cell.action.name == "patch nothing" and cell.role in ("none", "service") else None


def asked_first(cell: Cell, theirs: str) -> str | None:
    """Whose it is to be is asked whatever rules say, and before it is looked whether there is anything to change."""
    if cell.action.name == "create for another":
        return "403"
    return "403" if cell.action.name in ("remove property", "untag nothing") and cell.relation != "owner" else None


Compare = Callable[..., Coroutine[Any, Any, list[str]]]


@pytest_twisted.async_yield_fixture
async def compare(tmp_path: Path) -> AsyncIterator[Compare]:
    """Asks both about the cells, with these options and policy file; returns what differs."""
    from twisted.internet import reactor

    venv = find_venv()
    stops: list[Callable[[], Any]] = []

    async def glance_outcomes(cells: list[Cell], options: str, policy: str) -> list[str]:
        folder = make_folder(tmp_path / "theirs", policy)
        glance = RealGlance(venv, folder, options.format(folder=folder))
        stops.append(lambda: deferToThread(glance.stop))
        await deferToThread(glance.start, write_images(folder, folder / "images", cells))
        return await Side(reactor, glance.url).outcomes(cells)

    async def our_outcomes(cells: list[Cell], options: str, policy: str) -> list[str]:
        folder = make_folder(tmp_path / "ours", policy)
        database = shutil.move(write_images(folder, folder / "images", cells), folder / "db.sqlite")
        (folder / "glance-api.conf").write_text(
            f"[database]\nconnection = sqlite:///{database}\n[glancetx]\nauthentication = trusted\n"
            + options.format(folder=folder)
        )
        settings = load_settings([folder / "glance-api.conf"], data_dir=folder)
        service = ImageService(settings, reactor)
        service.startService()
        stops.append(service.stopService)
        await service.started
        site = ImageSite(service.resource(), settings.http, reactor)
        port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(site)
        stops.append(port.stopListening)
        return await Side(reactor, f"http://127.0.0.1:{port.getHost().port}").outcomes(cells)

    async def compare(
        cells: list[Cell], exception: Differs = lambda cell, theirs: None, options: str = "", policy: str = ""
    ) -> list[str]:
        options = f"[glance_store]\nfilesystem_store_datadir = {{folder}}/images\n{options}"
        theirs = await glance_outcomes(cells, options, policy)
        ours = await our_outcomes(cells, options, policy)
        return [
            f"{cell.name}: {should} there, {found} here"
            for cell, should, found in zip(cells, theirs, ours, strict=True)
            if found not in (should, exception(cell, should))
        ]

    yield compare
    for stop in reversed(stops):
        await stop()


def told(found: list[str]) -> str:
    return f"{len(found)} cells differ:\n" + "\n".join(found)


def make_folder(folder: Path, policy: str) -> Path:
    (folder / "images").mkdir(parents=True)
    if policy:
        (folder / "policy.yaml").write_text(policy)
    return folder


@pytest_twisted.ensureDeferred
async def test_default_policies(compare: Compare) -> None:
    """All roles, all relations, all visibilities."""
    found = await compare(cells_of(), nothing_shown)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_old_policy_file(compare: Compare) -> None:
    """Rules that ask for nothing give nothing away: who owns what is asked besides."""
    cells = cells_of("none", "manager")
    found = await compare(cells, asked_first, policy=OLD_FILE)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_old_defaults(compare: Compare) -> None:
    """The same with the defaults from before roles counted (C-111)."""
    cells = cells_of("none", "admin")
    found = await compare(cells, options="[oslo_policy]\nenforce_new_defaults = false\n")
    assert not found, told(found)
