"""What clients ask before anything else: versions, stores, import methods (api.md, section 9)."""

from __future__ import annotations

from pathlib import Path

import pytest_twisted

from glancetx.config.settings import FilesystemSettings, ImagesSettings, StoresSettings
from glancetx.testing.fakes import MemoryStore
from tests.running import Api, Started, settings_in


def two_stores(folder: Path) -> StoresSettings:
    fast = FilesystemSettings(identifier="fast", datadir=folder / "fast", weight=9, description="fast and dear")
    return StoresSettings(
        multiple=True,
        default="cheap",
        filesystems=(fast, FilesystemSettings(identifier="cheap", datadir=folder / "cheap")),
        order=("cheap", "fast"),
    )


async def ids(api: Api) -> list[str]:
    return [each["id"] for each in (await api.request("GET", "/versions")).json["versions"]]


@pytest_twisted.ensureDeferred
async def test_versions(api: Api, start: Started, tmp_path: Path) -> None:
    """Versions that need several stores are there if several are."""
    assert (await ids(api))[:3] == ["v2.15", "v2.9", "v2.17"]
    assert (await api.request("GET", "/v2.12/images")).status == 300
    several = await start(settings_in(tmp_path, stores=two_stores(tmp_path)))
    assert (await ids(several))[:4] == ["v2.15", "v2.13", "v2.12", "v2.11"]
    assert (await several.request("GET", "/v2.12/images")).status == 200
    assert (await several.request("GET", "/v2.14/images")).status == 300
    current = [
        each["id"] for each in (await several.request("GET", "/")).json["versions"] if each["status"] == "CURRENT"
    ]
    assert current == ["v2.17"]


@pytest_twisted.ensureDeferred
async def test_public_endpoint(start: Started, tmp_path: Path) -> None:
    """Where clients are to go is what the operator says, else where they came to."""
    api = await start(settings_in(tmp_path, images=ImagesSettings(public_endpoint="https://images.example/x/")))
    links = [each["links"][0]["href"] for each in (await api.request("GET", "/")).json["versions"]]
    assert set(links) == {"https://images.example/x/v2/"}


@pytest_twisted.ensureDeferred
async def test_stores(start: Started, tmp_path: Path) -> None:
    """The stores in the order of the configuration; administrators see how they are set up."""
    api = await start(settings_in(tmp_path, stores=two_stores(tmp_path)))
    plain = [{"id": "cheap", "default": "true"}, {"id": "fast", "description": "fast and dear"}]
    assert (await api.request("GET", "/v2/info/stores")).json == {"stores": plain}
    details = (await api.request("GET", "/v2/info/stores/detail")).json["stores"]
    assert details[1] == plain[1] | {
        "type": "file",
        "properties": {"data_dir": str(tmp_path / "fast"), "chunk_size": 65536, "thin_provisioning": False},
        "weight": 9,
    }
    assert (await api.request("POST", "/v2/images", b"{}")).header("openstack-image-store-ids") == "cheap,fast"


@pytest_twisted.ensureDeferred
async def test_slashes(api: Api) -> None:
    """One slash too many, where an endpoint and a path are put together, means nothing; one at the end does."""
    for path in ("//v2/images", "/v2//images", "//v2.9//images"):
        assert (await api.request("GET", path)).json["images"] == []
    assert (await api.request("GET", "/v2//images/")).status == 404
    assert (await api.request("GET", "//")).status == 300


@pytest_twisted.ensureDeferred
async def test_given_stores(start: Started, tmp_path: Path) -> None:
    """Stores that an application brings are known by their ids."""
    api = await start(settings_in(tmp_path), stores={"one": MemoryStore("one"), "two": MemoryStore("two")})
    plain = [{"id": "one", "default": "true"}, {"id": "two"}]
    assert (await api.request("GET", "/v2/info/stores")).json == {"stores": plain}


@pytest_twisted.ensureDeferred
async def test_nothing_to_choose(api: Api) -> None:
    """Where there is one store only, clients are told that the question makes no sense."""
    for path in ("/v2/info/stores", "/v2/info/stores/detail"):
        assert (await api.request("GET", path)).status == 404
    assert (await api.request("DELETE", f"/v2/stores/file/{await api.create()}")).status == 404
    methods = (await api.request("GET", "/v2/info/import")).json["import-methods"]
    assert methods["type"] == "array"
