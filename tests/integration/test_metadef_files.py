"""Metadata definitions in one database with a real Glance, and Glance's own files of them (config.md, section 7)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from click.testing import CliRunner
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread

from glancetx.app import ImageService
from glancetx.cli.manage import main
from glancetx.config.loading import load_settings
from glancetx.web.site import ImageSite
from tests.integration.replaying import OWNER, Ask, Side
from tests.integration.scripts.metadefs import FULL, NAMESPACES, TEXT, TYPES, at
from tests.services.glance import RealGlance, find_venv

OPTIONS = """
[DEFAULT]
enabled_import_methods = []
[glance_store]
filesystem_store_datadir = {folder}/images
"""
KINDS = ("", "?resource_type=OS::Glance::Image", "/objects", "/properties", "/tags", "/resource_types")


@frozen
class Both:
    """A real Glance and one of ours, on one database."""

    glance: Side
    ours: Side
    files: Path  # Glance's own definitions

    async def answers(self, *steps: Ask) -> list[tuple[Any, Any]]:
        """What both answer to the same questions: status and document."""
        return [((await self._ask(self.glance, step)), (await self._ask(self.ours, step))) for step in steps]

    async def write(self, side: Side, *steps: Ask) -> None:
        for step in steps:
            status, document = await self._ask(side, step)
            assert status < 300, (step.name, document)

    async def _ask(self, side: Side, step: Ask) -> tuple[int, Any]:
        reply = await deferToThread(side.ask, step)
        return reply.status, reply.document


Start = Callable[[Path], Coroutine[Any, Any, Side]]


@pytest_twisted.async_yield_fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts services of ours on a database; all are stopped at the end of the test."""
    from twisted.internet import reactor

    stops: list[Callable[[], Any]] = []

    async def start(database: Path) -> Side:
        folder = tmp_path / f"ours-{len(stops)}"
        folder.mkdir()
        config = configure(folder, database)
        settings = load_settings([config], data_dir=folder)
        service = ImageService(settings, reactor)
        service.startService()
        await service.started
        site = ImageSite(service.resource(), settings.http, reactor)
        port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(site)
        stops.extend((port.stopListening, service.stopService))
        return Side(port.getHost().port, folder)

    yield start
    for stop in stops:
        await stop()


@pytest_twisted.async_yield_fixture
async def both(tmp_path: Path, start: Start) -> AsyncIterator[Both]:
    """Both on a database that Glance has made, with its own definitions."""
    venv = find_venv()
    files = venv / "etc/glance/metadefs"
    glance = RealGlance(venv, tmp_path / "theirs", OPTIONS.format(folder=tmp_path / "theirs"))
    for arguments in (("db", "sync"), ("db", "load_metadefs", "--path", str(files))):
        await deferToThread(glance.manage, "--config-file", str(glance.config), *arguments)
    prepared = tmp_path / "prepared.sqlite"
    (glance.folder / "glance.sqlite").rename(prepared)
    await deferToThread(glance.start, prepared)
    yield Both(Side(glance.port, glance.folder), await start(glance.folder / "glance.sqlite"), files)
    await deferToThread(glance.stop)


def configure(folder: Path, database: Path) -> Path:
    """A configuration file of ours, for that database."""
    config = folder / "glance-api.conf"
    own = f"[database]\nconnection = sqlite:///{database}\n[glancetx]\nauthentication = trusted\n"
    config.write_text(own + OPTIONS.format(folder=folder))
    return config


def manage(folder: Path, database: Path, *arguments: str) -> None:
    done = CliRunner().invoke(main, ["--config-file", str(configure(folder, database)), *arguments])
    assert done.exit_code == 0, done.output


def reading(*names: str) -> list[Ask]:
    """Everything about these namespaces."""
    return [Ask("GET", at(name) + kind) for name in names for kind in KINDS]


LIST = Ask("GET", f"{NAMESPACES}?limit=99&sort_key=namespace&sort_dir=asc")


def names_in(files: Path) -> list[str]:
    return sorted(json.loads(path.read_text())["namespace"] for path in files.glob("*.json"))


@pytest_twisted.ensureDeferred
async def test_glances_own_definitions(both: Both, start: Start, tmp_path: Path) -> None:
    """We show what Glance loaded as Glance does; loaded by us, its files give the same."""
    names = names_in(both.files)
    assert len(names) > 30
    questions = [LIST, Ask("GET", LIST.path, caller=OWNER), Ask("GET", TYPES), *reading(*names)]
    theirs = []
    for question, (glance, ours) in zip(questions, await both.answers(*questions), strict=True):
        assert glance[0] == 200
        assert ours == glance, question.name
        theirs.append(glance)
    folder = tmp_path / "loaded"
    folder.mkdir()
    manage(folder, folder / "own.sqlite", "db", "sync")
    manage(folder, folder / "own.sqlite", "db", "load_metadefs", "--path", str(both.files))
    own = await start(folder / "own.sqlite")
    for question, (_, expected) in zip(questions, theirs, strict=True):
        found = (await deferToThread(own.ask, question)).document
        assert by_name(found) == by_name(expected), question.name


def by_name(document: Any) -> Any:
    """Without the order in which files were loaded."""
    kinds = ("resource_types", "resource_type_associations")
    if isinstance(document, dict):
        return {
            name: sorted(map(by_name, part), key=lambda each: str(each["name"])) if name in kinds else by_name(part)
            for name, part in document.items()
        }
    return [by_name(each) for each in document] if isinstance(document, list) else document


WRITES = [
    Ask("POST", NAMESPACES, {"namespace": "written", **FULL, "protected": False}),
    Ask("POST", at("written", "objects"), {"name": "o3", "required": ["a", "b"], "properties": {"a": TEXT}}),
    Ask("PUT", at("written", "objects", "o2"), {"name": "O", "description": "d", "properties": {"b": TEXT}}),
    Ask("POST", at("written", "properties"), {"name": "p3", **TEXT, "default": 5}),
    Ask("PUT", at("written", "properties", "p2"), {"name": "P", "title": "grün", "type": "array"}),
    Ask("POST", at("written", "tags"), {"tags": [{"name": "a"}, {"name": "b"}]}, headers={"X-Openstack-Append": "1"}),
    Ask("PUT", at("written", "tags", "t1"), {"name": "T"}),
    Ask("POST", at("written", "resource_types"), {"name": "R", "prefix": "r_"}),
    Ask("DELETE", at("written", "resource_types", "plain")),
    Ask("PUT", at("written"), {"namespace": "renamed", "display_name": "x", "visibility": "public"}),
]
REST = [
    Ask("PUT", at("renamed", "objects", "O"), {"name": "again", "required": ["c"], "properties": {"c": TEXT}}),
    Ask("PUT", at("renamed", "properties", "P"), {"name": "again", **TEXT}),
    Ask("POST", at("renamed", "tags"), {"tags": [{"name": "only"}]}),
    Ask("DELETE", at("renamed", "objects", "o3")),
    Ask("DELETE", at("renamed", "properties", "p3")),
]
END = [Ask("DELETE", at("renamed", "tags")), Ask("DELETE", at("renamed"))]


@pytest.mark.parametrize("we_begin", [True, False])
@pytest_twisted.ensureDeferred
async def test_taking_turns(both: Both, we_begin: bool) -> None:
    """What one of us writes both read alike, and the other can change it and delete it."""
    first, second = (both.ours, both.glance) if we_begin else (both.glance, both.ours)
    for side, steps in ((first, WRITES), (second, REST), (first, END)):
        await both.write(side, *steps)
        for glance, ours in await both.answers(*reading("renamed"), LIST, Ask("GET", TYPES)):
            assert ours == glance
    assert (await both.answers(Ask("GET", at("renamed"))))[0][0][0] == 404
