"""The ways to write ``user_storage_quota`` (config.md, C-018)."""

from __future__ import annotations

from pathlib import Path

import pytest

from glancetx.config.loading import load_settings, storage_size
from glancetx.domain.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1000", 1000),
        ("7B", 7),
        ("2KB", 2048),
        ("3MB", 3 * 1024**2),
        ("500GB", 500 * 1024**3),
        ("1TB", 1024**4),
    ],
)
def test_forms(text: str, size: int) -> None:
    """Digits, and perhaps a unit; units are powers of 1024."""
    assert storage_size("quota", text) == size


@pytest.mark.parametrize("text", ["", "-1", "5 MB", "5M", "5mb", "5KiB", "MB", "1.5GB", "5PB", "٣", "1\n"])
def test_anything_else(text: str) -> None:
    """Everything else is refused at the start, not at the first upload as in Glance."""
    with pytest.raises(ConfigurationError, match="quota"):
        storage_size("quota", text)


def test_option(tmp_path: Path) -> None:
    """The option reaches the settings in bytes; without it there is no limit."""
    file = tmp_path / "glance-api.conf"
    file.write_text("[DEFAULT]\nuser_storage_quota = 2KB\n")
    assert load_settings([file]).images.user_storage_quota == 2048
    file.write_text("")
    assert load_settings([file]).images.user_storage_quota == 0
