"""Options that mean nothing to us: accepted, and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from glancetx.config.loading import load_settings

# A Glance's file from the days of its own server, and one with a typo.
OLD = """
[DEFAULT]
bind_host = 0.0.0.0
bind_port = 9292
workers = 4
image_size_cap = 7
image-tag-quota = 5
[keystone_authtoken]
auth_plugin = password
tenant_name = service
admin_user = x
[profiler]
enabled = true
trace_sqlalchemy = true
"""
STORES = """
[DEFAULT]
enabled_backends = fast:file, vm:vmware
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = /fast
rbd_store_pool = images
[vm]
vmware_api_insecure = true
vmware_server_host = h
vmware_server_username = u
vmware_server_password = p
vmware_datastores = a:b
[os_glance_staging_store]
filesystem_store_datadir = /staging
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ignored(tmp_path: Path) -> None:
    """Each unknown option and group is named once; former names of options are known."""
    old, folder = tmp_path / "glance-api.conf", tmp_path / "more"
    old.write_text(OLD)
    folder.mkdir()
    (folder / "one.conf").write_text("[DEFAULT]\nbacklog = 5\nbind_host = ::\n")
    (folder / "two.txt").write_text("[DEFAULT]\nnot_read = 5\n")
    settings = load_settings([old], [folder], environ={})
    assert settings.images.image_size_cap == 7
    assert settings.ignored == (
        "[DEFAULT] bind_host",
        "[DEFAULT] bind_port",
        "[DEFAULT] workers",
        "[DEFAULT] image-tag-quota",
        "[keystone_authtoken] admin_user",
        "[profiler]",
        "[DEFAULT] backlog",
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_groups_of_stores(tmp_path: Path) -> None:
    """A store's group is known, with the options of its type."""
    (tmp_path / "glance-api.conf").write_text(STORES)
    assert load_settings([tmp_path / "glance-api.conf"], environ={}).ignored == ("[fast] rbd_store_pool",)


def test_nothing(tmp_path: Path) -> None:
    """Without files there is nothing to tell."""
    assert load_settings(environ={"OS_GLANCE_CONFIG_DIR": str(tmp_path)}).ignored == ()
