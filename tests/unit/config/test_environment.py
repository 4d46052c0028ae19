"""Options from variables of the environment (C-005)."""

from __future__ import annotations

from pathlib import Path

import pytest

from glancetx.config.loading import load_settings


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go before the files; one that may be repeated has one value."""
    path = tmp_path / "glance-api.conf"
    path.write_text("[DEFAULT]\nimage_size_cap = 7\n[glancetx]\nlisten = tcp:1\nlisten = tcp:2\n")
    settings = load_settings([path], environ={})
    assert (settings.images.image_size_cap, settings.listen) == (7, ("tcp:1", "tcp:2"))
    variables = {
        "OS_DEFAULT__IMAGE_SIZE_CAP": "9",
        "OS_GLANCETX__LISTEN": "tcp:3",
        "OS_OSLO_POLICY__POLICY_DIRS": "x.d",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings([path], environ={})
    assert (settings.images.image_size_cap, settings.listen) == (9, ("tcp:3",))
    assert settings.access.policy_dirs == ("x.d",)


def test_references(tmp_path: Path) -> None:
    """A value may name other options, of its group or of another."""
    path = tmp_path / "glance-api.conf"
    path.write_text("[DEFAULT]\npublic_endpoint = http://$hashing_algorithm/${database.max_pool_size}/$$\n")
    assert load_settings([path], environ={}).images.public_endpoint == "http://sha512/5/$"
