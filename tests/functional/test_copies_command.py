"""``glancetx-manage copies``, on what a real auditor has found."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from click.testing import CliRunner

from glancetx.cli.manage import main
from glancetx.config.settings import AuditSettings
from tests.running import Api, Started, settings_in


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "glance-api.conf"
    path.write_text(f"[database]\nconnection = sqlite:///{tmp_path / 'db.sqlite'}\n")
    return path


@pytest_twisted.async_yield_fixture
async def audited(start: Started, tmp_path: Path) -> AsyncIterator[tuple[Api, list[str]]]:
    """Three images, of which the first has lost its last byte and the second its file."""
    api = await start(settings_in(tmp_path, audit=AuditSettings(audit_rate=10**10, audit_period=0)))
    ids = [await api.create(name=f"image {number}") for number in range(3)]
    for image_id in ids:
        await api.upload(image_id, b"0123456789")
    os.truncate(api.folder / "images" / ids[0], 9)
    (api.folder / "images" / ids[1]).unlink()
    await api.service.background.auditor.run_once()
    yield api, ids


def test_damaged_copies(audited: tuple[Api, list[str]], config: Path) -> None:
    """They are listed with the reason, nothing is cut, and the exit status says that there are some."""
    _, (short, lost, sound) = audited
    result = CliRunner().invoke(main, ["--config-file", str(config), "copies"])
    assert result.exit_code == 1
    lines = {line.split()[1]: line for line in result.output.splitlines() if "images/" not in line and "-" in line}
    assert "9 bytes instead of 10" in lines[short]
    assert "missing" in lines[lost]
    assert sound not in result.output
    assert "Copies: 1 corrupt, 1 missing, 1 sound." in result.output


def test_for_programs(audited: tuple[Api, list[str]], config: Path) -> None:
    """One JSON object a line; who asks for sound copies alone gets status 0."""
    result = CliRunner().invoke(main, ["--config-file", str(config), "copies", "--state", "sound", "--json"])
    assert result.exit_code == 0
    (facts,) = [json.loads(line) for line in result.output.splitlines()]
    assert (facts["image"], facts["state"], facts["detail"]) == (audited[1][2], "sound", None)


def test_no_database(tmp_path: Path) -> None:
    """The reason is one line, and no traceback."""
    config = tmp_path / "glance-api.conf"
    config.write_text(f"[database]\nconnection = sqlite:///{tmp_path / 'no' / 'where.sqlite'}\n")
    result = CliRunner().invoke(main, ["--config-file", str(config), "copies"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: The database cannot be used")
