"""When there is an image cache, and whether downloads go through it."""

from __future__ import annotations

from pathlib import Path

import pytest

from glancetx.config.loading import load_settings
from glancetx.config.settings import CacheSettings
from glancetx.domain.errors import ConfigurationError

HERE = "image_cache_dir = /var/cache/images\n"
NODE = "worker_self_reference_url = http://node-1\n"
PASTE = """
[pipeline:glance-api-own]
pipeline = cors here context {filters} rootapp
[filter:here]
paste.filter_factory = glance.api.middleware.cache:CacheFilter.factory
[filter:there]
paste.filter_factory = glance.api.middleware.cache_manage:CacheManageFilter.factory
"""


def load(folder: Path, text: str) -> CacheSettings | None:
    file = folder / "glance-api.conf"
    file.write_text(f"[DEFAULT]\n{text}")
    return load_settings([file], data_dir=folder, environ={}).cache


@pytest.mark.parametrize(
    ("flavor", "downloads", "old_paths"),
    [("", False, False), ("caching", True, False), ("cachemanagement", True, True), ("trusted-auth", False, False)],
)
def test_flavors(tmp_path: Path, flavor: str, downloads: bool, old_paths: bool) -> None:
    """The flavor says what goes through the cache; what is queued is cached with any of them (C-090..C-095)."""
    found = load(tmp_path, f"{HERE}{NODE}[paste_deploy]\nflavor = {flavor}\n")
    assert found is not None
    assert (found.directory, found.node) == (Path("/var/cache/images"), "http://node-1")
    assert (found.downloads, found.old_paths) == (downloads, old_paths)


@pytest.mark.parametrize(("filters", "old_paths"), [("", False), ("there", True)])
def test_own_pipeline(tmp_path: Path, filters: str, old_paths: bool) -> None:
    """A pipeline of the operator's own is asked for its filters, whatever they are called there."""
    (tmp_path / "glance-api-paste.ini").write_text(PASTE.format(filters=filters))
    own = "[paste_deploy]\nflavor = own\n[glancetx]\nauthentication = none\n"
    found = load(tmp_path, f"{HERE}{NODE}{own}")
    assert found is not None
    assert (found.downloads, found.old_paths) == (True, old_paths)


def test_option_goes_first(tmp_path: Path) -> None:
    """Ours says so without a pipeline, and against one."""
    on = load(tmp_path, f"{HERE}{NODE}[glancetx]\ncache_downloads = true\n")
    off = load(tmp_path, f"{HERE}{NODE}[paste_deploy]\nflavor = caching\n[glancetx]\ncache_downloads = false\n")
    assert on is not None
    assert on.downloads
    assert off is not None
    assert not off.downloads


def test_built_in_accounts(tmp_path: Path) -> None:
    """Without a cloud around it a service needs no more than the folder."""
    found = load(tmp_path, f"{HERE}[glancetx]\nauthentication = builtin\n")
    assert found is not None
    assert found.downloads
    assert found.node is not None


def test_none(tmp_path: Path) -> None:
    """Without a folder there is none, whatever the flavor."""
    assert load(tmp_path, "[paste_deploy]\nflavor = caching\n") is None


@pytest.mark.parametrize("wrong", [HERE, f"{HERE}{NODE}image_cache_sqlite_db = ../other.db\n"])
def test_refused(tmp_path: Path, wrong: str) -> None:
    """A node without a name among others (C-006), and a database outside of the folder."""
    with pytest.raises(ConfigurationError):
        load(tmp_path, wrong)
