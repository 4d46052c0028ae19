"""``use_keystone_limits`` and ``[oslo_limit]``."""

from __future__ import annotations

from pathlib import Path

import pytest

from glancetx.config.loading import load_settings
from glancetx.config.settings import LimitSettings
from glancetx.domain.errors import ConfigurationError

ACCOUNT = """
auth_url = http://keystone/identity
auth_type = password
username = glance
user_domain_id = default
password = secret
system_scope = all
"""


def limits(folder: Path, text: str) -> LimitSettings | None:
    path = folder / "glance-api.conf"
    path.write_text(text)
    return load_settings([path], data_dir=folder).limits


def test_off(tmp_path: Path) -> None:
    """They are not asked for unless that is said."""
    assert limits(tmp_path, f"[oslo_limit]{ACCOUNT}endpoint_id = x") is None


def test_on(tmp_path: Path) -> None:
    """Where they are, and who we are there."""
    text = f"[DEFAULT]\nuse_keystone_limits = true\n[oslo_limit]{ACCOUNT}endpoint_id = x\ntimeout = 7\n"
    found = limits(tmp_path, text)
    assert found is not None
    assert found.endpoint_id == "x"
    keystone = found.keystone
    assert (keystone.interface, keystone.timeout, keystone.credentials.system_scope) == ("public", 7.0, "all")


@pytest.mark.parametrize("text", [ACCOUNT, "\nendpoint_id = x\n"])
def test_incomplete(tmp_path: Path, text: str) -> None:
    """Without an endpoint or an account it does not start."""
    with pytest.raises(ConfigurationError, match="oslo_limit"):
        limits(tmp_path, f"[DEFAULT]\nuse_keystone_limits = true\n[oslo_limit]{text}")
