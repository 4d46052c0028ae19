"""``glancetx-manage db``: the same commands and exit statuses as glance-manage has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, text

from glancetx.cli.manage import main
from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import transact
from glancetx.db.own_schema import OWN_HEAD

Run = Callable[..., Result]


@pytest.fixture
def database(tmp_path: Path) -> DatabaseSettings:
    """A database that does not exist yet."""
    return DatabaseSettings(connection=f"sqlite:///{tmp_path}/new.sqlite")


@pytest.fixture
def run(tmp_path: Path, database: DatabaseSettings) -> Run:
    """Run a command on that database."""
    config = tmp_path / "glance-api.conf"
    config.write_text(f"[database]\nconnection = {database.connection}\n")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--config-file", str(config), *arguments])

    return invoke


def execute(connection: Connection, statement: str) -> Any:
    connection.execute(text(statement))


@pytest.mark.parametrize("name", [["db", "sync"], ["db_sync"]])
def test_sync(run: Run, name: list[str]) -> None:
    """A sync makes the database; a second one finds it made (P-100, P-102)."""
    assert run("db", "check").exit_code == 3
    assert "synced" in run(*name).output
    again = run(*name)
    assert (again.exit_code, "already" in again.output) == (0, True)
    assert run("db", "check").exit_code == 0


@pytest.mark.parametrize("name", [["db", "version"], ["db_version"]])
def test_version(run: Run, name: list[str]) -> None:
    """The first line is Glance's revision alone, as glance-manage prints it (D-001, P-103)."""
    assert run(*name).output.splitlines()[0] == "none"
    run("db", "sync")
    assert run(*name).output.splitlines() == ["2024_1_contract01", f"glancetx: {OWN_HEAD}"]


@pytest.mark.parametrize("name", [["db", "version_control"], ["db_version_control"]])
@pytest.mark.parametrize("lost", ["DROP TABLE alembic_version", "UPDATE alembic_version SET version_num = 'liberty'"])
def test_version_control(run: Run, database: DatabaseSettings, name: list[str], lost: str) -> None:
    """A database that has lost its revision is given it; one whose tables are others' is not."""
    run("db", "sync")
    transact(database, execute, lost)
    assert run("db", "check").exit_code != 0
    assert run(*name).exit_code == 0
    assert run("db", "check").exit_code == 0
    transact(database, execute, "ALTER TABLE tasks DROP COLUMN request_id")
    refused = run(*name)
    assert (refused.exit_code, refused.output.count("\n")) == (1, 1)
    assert "tasks" in refused.output


@pytest.mark.parametrize(("revision", "status"), [("2023_1_contract01", 3), ("2024_1_expand01", 5)])
def test_check_old(run: Run, database: DatabaseSettings, revision: str, status: int) -> None:
    """The exit status of a check tells what is missing (D-008)."""
    run("db", "sync")
    transact(database, execute, f"UPDATE alembic_version SET version_num = '{revision}'")
    for name in (["db", "check"], ["db_check"]):
        result = run(*name)
        assert result.exit_code == status
        assert "glance-manage" in result.output


def test_sync_old(run: Run, database: DatabaseSettings) -> None:
    """A database that is refused is told in one line, with status 1."""
    run("db", "sync")
    transact(database, execute, "UPDATE alembic_version SET version_num = '2023_1_contract01'")
    result = run("db", "sync")
    assert result.exit_code == 1
    assert result.output.count("\n") == 1


def test_bad_configuration(tmp_path: Path) -> None:
    """A configuration file that is not there is told in one line, with status 1."""
    result = CliRunner().invoke(main, ["--config-file", str(tmp_path / "none"), "db", "check"])
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_unusable(tmp_path: Path) -> None:
    """A database that cannot be opened is told in one line, with status 1."""
    config = tmp_path / "glance-api.conf"
    config.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/no/where\n")
    result = CliRunner().invoke(main, ["--config-file", str(config), "db", "sync"])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)


def test_config_dir(tmp_path: Path, database: DatabaseSettings) -> None:
    """The configuration may be a folder."""
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "one.conf").write_text(f"[database]\nconnection = {database.connection}\n")
    assert CliRunner().invoke(main, ["--config-dir", str(folder), "db", "sync"]).exit_code == 0


def test_aliases_are_hidden() -> None:
    """The help shows each command once."""
    assert "db_sync" not in CliRunner().invoke(main, ["--help"]).output


def delete_image(connection: Connection) -> None:
    old = "'2020-01-01 00:00:00.000000'"
    life = f"{old}, {old}, 1"
    for statement in (
        "INSERT INTO images (created_at, deleted_at, deleted, id, status, min_disk, min_ram)"
        f" VALUES ({life}, 'i', 'deleted', 0, 0)",
        f"INSERT INTO image_tags (created_at, deleted_at, deleted, image_id, value) VALUES ({life}, 'i', 'x')",
    ):
        connection.execute(text(statement))


def test_purge(run: Run, database: DatabaseSettings) -> None:
    """What was deleted long ago goes, and images last; no bar where there is no terminal."""
    run("db", "sync")
    transact(database, delete_image)
    assert "1 images stay" in run("db", "purge_images_table").output
    result = run("db", "purge", "--age_in_days", "5", "--max_rows", "10")
    assert (result.exit_code, "image_tags: 1 of 1 rows removed" in result.output) == (0, True)
    assert run("db", "purge_images_table").output == "images: 1 of 1 rows removed\n"
    assert run("db", "purge").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--age_in_days", "-1"), "Must supply a non-negative value for age."),
        (("--age_in_days", "99999"), "Maximal age is count of days since epoch."),
        (("--max_rows", "-2"), "Minimal rows limit is -1."),
    ],
)
@pytest.mark.parametrize("command", ["purge", "purge_images_table"])
def test_purge_refused(run: Run, command: str, arguments: tuple[str, ...], why: str) -> None:
    """Ages and numbers of rows are what they can be; the status and the words are Glance's (P-106)."""
    result = run("db", command, *arguments)
    assert (result.exit_code, result.output) == (1, f"Error: {why}\n")


@pytest.mark.parametrize("name", [["db", "{}"], ["db_{}"]])
def test_steps(run: Run, name: list[str]) -> None:
    """An upgrade may be made in Glance's steps (P-100, P-101, P-103, P-107); the first of them makes all there is."""

    def step(command: str, *arguments: str) -> Result:
        return run(*(part.format(command) for part in name), *arguments)

    assert step("contract").exit_code == 1
    for command in ("expand", "migrate", "contract", "upgrade"):
        assert step(command).exit_code == 0
    for version in (["--version", "heads"], ["heads"], ["2024_1_contract01"]):
        assert step("upgrade", *version).exit_code == 0
        assert step("version_control", *version).exit_code == 0
    assert step("sync", "pike_expand01").exit_code == 2
    assert step("sync", "--version", "pike_expand01").exit_code == 2
