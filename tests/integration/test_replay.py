"""The same requests to a real Glance and to us, over the same options: the same answers (api.md).

What is meant to differ stands at the request in the script, and in docs/differences.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread

from glancetx.app import ImageService
from glancetx.config.image_properties import FILE_NAME, USUAL
from glancetx.config.loading import load_settings
from glancetx.web.site import ImageSite
from tests.integration.replaying import Ask, Side, image_id, report
from tests.integration.rows import unlike_rows
from tests.integration.scripts import adding, caching, discovery, edge, limits, locations, protections, rows
from tests.integration.scripts.imports import FETCHING, IMPORTS
from tests.integration.scripts.lists import LISTS
from tests.integration.scripts.records import RECORDS
from tests.integration.test_limits import register
from tests.services.glance import TRUSTING, RealGlance, find_venv, write_paste
from tests.services.keystone import RealKeystone
from tests.services.pages import serving

OPTIONS = """
[DEFAULT]
enabled_backends = fast:file, cheap:file
enabled_import_methods = []
{more}
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {folder}/fast
weight = 100
store_description = fast and dear
[cheap]
filesystem_store_datadir = {folder}/cheap
weight = 50
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
"""


# What is refused for its format leaves nothing; hashes are no properties; what lives again was never deleted (D-072).
KNOWN_ROWS = (42, 14, 60)
THEIRS, OURS = "theirs", "ours"
Play = Callable[..., Coroutine[Any, Any, list[str]]]


def prepare(folder: Path, options: str, files: Mapping[str, str]) -> str:
    """Put *files* into the folder of one side; returns *options* with its path, and which side it is, in them."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text.replace("{folder}", str(folder)))
    return options.replace("{folder}", str(folder)).replace("{side}", folder.name)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an empty database of Glance is kept."""
    return tmp_path_factory.mktemp("glance") / "empty.sqlite"


@pytest_twisted.async_yield_fixture
async def play(tmp_path: Path, prepared: Path) -> AsyncIterator[Play]:
    """Plays a script to both, with these options; tells what differs. *again*: with what the last play has left."""
    from twisted.internet import reactor

    venv = find_venv()
    stops: list[Callable[[], Any]] = []

    async def stop() -> None:
        while stops:
            await stops.pop(0)()

    async def play(
        script: list[Ask],
        options: str = OPTIONS,
        more: str = "",
        files: Mapping[str, str] | None = None,
        pipeline: str = TRUSTING,
        *,
        again: bool = False,
    ) -> list[str]:
        await stop()
        theirs, ours = (
            prepare(tmp_path / side, options.replace("{more}", more), {FILE_NAME: json.dumps(USUAL), **(files or {})})
            for side in (THEIRS, OURS)
        )
        glance = RealGlance(venv, tmp_path / THEIRS, theirs, pipeline)
        stops.append(lambda: deferToThread(glance.stop))
        await deferToThread(glance.start, None if again else prepared)
        folder = tmp_path / OURS
        mine = f"[database]\nconnection = sqlite:///{folder}/db.sqlite\n[glancetx]\nauthentication = trusted\n"
        (folder / "glance-api.conf").write_text(mine + write_paste(folder, pipeline) + ours)
        settings = load_settings([folder / "glance-api.conf"], data_dir=folder)
        service = ImageService(settings, reactor)
        service.startService()
        await service.started
        site = ImageSite(service.resource(), settings.http, reactor)
        port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(site)
        stops.extend((port.stopListening, service.stopService))
        sides = (Side(glance.port, glance.folder), Side(port.getHost().port, folder))
        replies = await gatherResults([deferToThread(side.play, script) for side in sides])
        return report(script, *replies)

    yield play
    await stop()


def told(found: list[str]) -> str:
    if path := os.environ.get("GLANCETX_REPLAY_REPORT"):
        Path(path).write_text("\n".join(found))
    return f"{len(found)} differences:\n" + "\n".join(found)


@pytest_twisted.ensureDeferred
async def test_records(play: Play, tmp_path: Path) -> None:
    """Images, their members, tags and data; and the rows of the database are the same (D-010..D-049, S-003)."""
    found = await play(RECORDS)
    assert not found, told(found)
    unlike = unlike_rows(tmp_path / THEIRS / "glance.sqlite", tmp_path / OURS / "db.sqlite")
    assert [row for row in unlike if not any(image_id(number) in row for number in KNOWN_ROWS)] == []
    revived = [row for row in unlike if image_id(60) in row]
    ours = [
        row.replace("theirs", "ours").replace('"deleted_at": "moment"', '"deleted_at": null') for row in revived[2:]
    ]
    assert ours == revived[:2]


@pytest_twisted.ensureDeferred
async def test_imports(play: Play) -> None:
    """Staging, imports and their tasks."""
    found = await play(IMPORTS, more="enabled_import_methods = [glance-direct]")
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_fetching(play: Play) -> None:
    """Imports by the other methods, as far as nothing has to be fetched for them."""
    methods = "[glance-direct,web-download,copy-image,glance-download]"
    found = await play(FETCHING, more=f"enabled_import_methods = {methods}")
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_lists(play: Play) -> None:
    """Which images are listed, and in which order."""
    found = await play(LISTS)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_locations(play: Play) -> None:
    """Where data lies, if it is shown."""
    found = await play(locations.LOCATIONS, more=locations.OPTIONS)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_locations_by_policy(play: Play) -> None:
    """Where data lies, if not everybody is shown it; and little room for tags, properties, members and locations."""
    files = {"policy.yaml": locations.RULES}
    options = f"{locations.OPTIONS}\n{locations.QUOTAS}\n[oslo_policy]\npolicy_file = {{folder}}/policy.yaml"
    found = await play(locations.POLICED, more=options, files=files)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("script", "options"), [(adding.ADDING, ""), (adding.BELIEVED, adding.BELIEVING)])
async def test_adding_locations(play: Play, script: list[Ask], options: str) -> None:
    """Data that others have put somewhere becomes an image's."""
    with serving() as port:
        stores = OPTIONS.replace("cheap:file", "cheap:file, web:http")
        filters = f"[import_filtering_opts]\nallowed_hosts = [127.0.0.1, x]\nallowed_ports = [{port}, 80]\n"
        found = await play(
            adding.at(port, script),
            options=f"{stores}[web]\nstore_description = web\n{filters}",
            more=f"{locations.OPTIONS}\n{options}",
        )
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_limits(play: Play, keystone: RealKeystone) -> None:
    """Both ask the same Keystone how much a project may have."""
    more = "enabled_import_methods = [glance-direct]\nuse_keystone_limits = true"
    found = await play(limits.LIMITED, options=OPTIONS + register(keystone), more=more)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_discovery(play: Play) -> None:
    """What the service tells about itself."""
    found = await play(discovery.DISCOVERY)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_custom_schema(play: Play) -> None:
    """The properties an operator describes in schema-image.json."""
    found = await play(discovery.CUSTOM, files={"schema-image.json": discovery.PROPERTIES})
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_protections_by_roles(play: Play) -> None:
    """Properties that only some roles may touch."""
    files = {"protections.conf": protections.BY_ROLES}
    found = await play(protections.PROTECTED, more=f"{protections.OPTIONS}roles", files=files)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_protections_by_policies(play: Play) -> None:
    """Properties that are for whom a policy rule says."""
    files = {"protections.conf": protections.BY_POLICIES, "policy.yaml": protections.RULES}
    options = f"{protections.OPTIONS}policies\n[oslo_policy]\npolicy_file = {{folder}}/policy.yaml"
    found = await play(protections.PROTECTED, more=options, files=files)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("options", ["", edge.CORS, edge.ANY_ORIGIN])
async def test_cross_origin(play: Play, options: str) -> None:
    """Browsers with pages of other origins."""
    found = await play(edge.CROSSING, options=OPTIONS + options)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_behind_proxies(play: Play) -> None:
    """What proxies in front say of what the client has asked."""
    found = await play(edge.FORWARDED, options=OPTIONS + edge.PROXIES)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("more", [caching.OPTIONS, caching.SQLITE])
async def test_caching(play: Play, more: str) -> None:
    """The image cache, with a driver that knows of other nodes and one that does not."""
    found = await play(caching.CACHING, more=more, pipeline=caching.PIPELINE)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_without_cache(play: Play) -> None:
    """The API of a cache that is not there."""
    found = await play(caching.WITHOUT)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_compressed(play: Play) -> None:
    """A pipeline with Glance's gzip filter."""
    found = await play(edge.COMPRESSED, pipeline=edge.COMPRESSING)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("files", [{}, {"healthcheck_disable": ""}])
async def test_health(play: Play, files: Mapping[str, str]) -> None:
    """What load balancers ask, of a service that is well and of one that is disabled."""
    found = await play(edge.HEALTH, files=files)
    assert not found, told(found)


@pytest_twisted.ensureDeferred
async def test_rows(play: Play) -> None:
    """What rows of the contract say between the lines."""
    found = await play(rows.ROWS, more="enabled_import_methods = [glance-direct]")
    assert not found, told(found)
