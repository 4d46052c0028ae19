"""``glancetx-manage strays`` and ``run surveyor``: what somebody sees who calls them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent

import pytest_twisted
from click.testing import CliRunner

from glancetx.cli.manage import main
from glancetx.cli.status import main as status_main
from tests.functional.test_strays import filled, one_store, strew, survey
from tests.nursery import run_command
from tests.running import Api, Started

WIDE = {"COLUMNS": "250"}


@pytest_twisted.async_yield_fixture
async def strewn(start: Started, tmp_path: Path) -> AsyncIterator[tuple[Api, list[str]]]:
    """A service that has found two files that are nobody's, beside that of its image."""
    config = f"""
        [database]
        connection = sqlite:///{tmp_path}/db.sqlite
        [glance_store]
        filesystem_store_datadir = {tmp_path}/images
        [glancetx]
        stray_grace = 0
        stray_period = 0
    """
    (tmp_path / "glance-api.conf").write_text(dedent(config))
    api = await start(one_store(tmp_path))
    await filled(api)
    lost = [strew(tmp_path / "images").name for _ in range(2)]
    assert len(await survey(api)) == 2
    yield api, lost


def manage(folder: Path, *words: str, answer: str = "", **environ: str) -> tuple[int, str]:
    """In a process of its own: the exit status, and the last line that was printed."""
    command = ["--config-file", str(folder / "glance-api.conf"), *words]
    done = run_command("glancetx-manage", *command, data=answer, folder=folder, environ=environ)
    return done.returncode, (done.stdout.splitlines() or [""])[-1]


def called(folder: Path, *words: str, answer: str | None = None) -> tuple[int, str]:
    """In this process, where no command can run a reactor: the exit status, and what was printed."""
    done = CliRunner().invoke(main, ["--config-file", str(folder / "glance-api.conf"), *words], answer)
    return done.exit_code, done.output


def listed(folder: Path) -> dict[str, str]:
    """Their ids, by the names of the files."""
    status, text = called(folder, "strays", "list", "--json")
    found = [json.loads(line) for line in text.splitlines()]
    assert status == bool(found)
    return {Path(each["name"]).name: each["id"] for each in found}


def test_listed(strewn: tuple[Api, list[str]]) -> None:
    """By the command of their own, as a table and for programs; and by `glancetx status`."""
    api, lost = strewn
    found = listed(api.folder)
    assert sorted(found) == sorted(lost)
    status, text = called(api.folder, "strays", "list")
    assert status == 1
    assert all(name in text and each in text for name, each in found.items())
    assert called(api.folder, "strays", "list", "--days", "1") == (0, "None.\n")
    assert called(api.folder, "strays", "list", "--store", "other") == (0, "None.\n")
    config = ["status", "--config-file", str(api.folder / "glance-api.conf")]
    assert "Without an image in file: 2 of 20 bytes" in CliRunner().invoke(status_main, config, env=WIDE).output
    document = json.loads(CliRunner().invoke(status_main, [*config, "--json"]).output)
    assert document["strays"]["file"]["count"] == 2


def test_deleting_needs_a_word(strewn: tuple[Api, list[str]]) -> None:
    """Who names nothing, something unknown, or says no, removes nothing."""
    api, lost = strewn
    assert called(api.folder, "strays", "delete")[0] == 2
    assert called(api.folder, "strays", "delete", "--all", "0123456789abcdef")[0] == 2
    assert called(api.folder, "strays", "delete", "--yes", "0123456789abcdef")[0] == 1
    status, text = called(api.folder, "strays", "delete", "--all", answer="n\n")
    assert status == 1
    assert "Remove 2 of 20 bytes for good?" in text
    assert called(api.folder, "strays", "delete", "--all")[0] == 1
    assert sorted(listed(api.folder)) == sorted(lost)


def test_deleted(strewn: tuple[Api, list[str]]) -> None:
    """One that was named; a search of its own, which finds the other; and that, after a question."""
    api, lost = strewn
    found = listed(api.folder)
    assert manage(api.folder, "strays", "delete", "--yes", found[lost[0]]) == (0, "1 removed")
    assert sorted(listed(api.folder)) == [lost[1]]
    told = "surveyor: 2 (seen 2, strays file 1, stray_bytes file 10, removed 0)"
    assert manage(api.folder, "run", "surveyor") == (0, told)
    status, text = manage(api.folder, "strays", "delete", "--all", answer="y\n")
    assert (status, text.endswith("1 removed")) == (0, True)
    assert len(api.stored()) == 1
    assert called(api.folder, "strays", "list") == (0, "None.\n")
