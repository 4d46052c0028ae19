"""Loading, unloading and exporting metadata definitions (C-120..C-122)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, select

from glancetx.cli.manage import main
from glancetx.cli.metadefs import SHIPPED, file_name
from glancetx.config.settings import DatabaseSettings
from glancetx.db import schema
from glancetx.db.engine import transact
from glancetx.db.metadef_files import dump
from glancetx.domain.metadef import Contents, Namespace
from glancetx.testing.database import write_database

TEXT = {"title": "T", "type": "string"}
OLD: dict[str, Any] = {
    "namespace": "A",
    "display_name": "old",
    "visibility": "public",
    "protected": True,
    "owner": "me",
    "resource_type_associations": [{"name": "R", "prefix": "hw_"}, {"name": "S"}],
    "properties": {"p": {**TEXT, "default": 3}, "kept": TEXT},
    "objects": [{"name": "o", "description": "old", "required": ["q"], "properties": {"q": TEXT}}, {"name": "kept"}],
    "tags": [{"name": "t"}, {"name": "kept"}],
}
NEW: dict[str, Any] = {
    "namespace": "A",
    "display_name": "new",
    "resource_type_associations": [{"name": "R", "prefix": "new_"}, {"name": "U"}],
    "properties": {"p": {**TEXT, "title": "new"}, "new": TEXT},
    "objects": [{"name": "o", "description": "new"}, {"name": "new"}],
    "tags": [{"name": "t"}, {"name": "new"}],
}

Run = Callable[..., Result]


@pytest.fixture
def database(tmp_path: Path) -> DatabaseSettings:
    return write_database(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where definitions lie."""
    made = tmp_path / "files"
    made.mkdir()
    return made


@pytest.fixture
def run(tmp_path: Path, database: DatabaseSettings, folder: Path) -> Run:
    """Runs glancetx-manage; definitions that are not named are looked for in a folder that is not there."""
    config = tmp_path / "glance-api.conf"
    config.write_text(
        f"[DEFAULT]\nmetadata_source_path = {tmp_path}/nowhere\n[database]\nconnection = {database.connection}\n"
    )

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--config-file", str(config), *arguments])

    return run


def put(folder: Path, *documents: Any) -> None:
    for number, document in enumerate(documents):
        text = document if isinstance(document, str) else json.dumps(document)
        (folder / f"{number}.json").write_text(text)


def found(database: DatabaseSettings) -> dict[str, tuple[Namespace, Contents]]:
    return {namespace.name: (namespace, contents) for namespace, contents in transact(database, dump)}


def words(database: DatabaseSettings) -> dict[str, Any]:
    """What of the two sets is in the database."""
    namespace, contents = found(database)["A"]
    return {
        "namespace": (namespace.display_name, namespace.visibility, namespace.protected, namespace.owner),
        "types": {each.name: each.prefix for each in contents.associations or ()},
        "properties": {each.name: each.schema["title"] for each in contents.properties or ()},
        "objects": {each.name: (each.description, each.required) for each in contents.objects or ()},
        "tags": {each.name for each in contents.tags or ()},
    }


BEFORE: dict[str, Any] = {
    "namespace": ("old", "public", True, "me"),
    "types": {"R": "hw_", "S": None},
    "properties": {"p": "T", "kept": "T"},
    "objects": {"o": ("old", ("q",)), "kept": (None, ())},
    "tags": {"t", "kept"},
}
ADDED = {
    **BEFORE,
    "types": {"R": "hw_", "S": None, "U": None},
    "properties": {"p": "T", "kept": "T", "new": "T"},
    "objects": {"o": ("old", ("q",)), "kept": (None, ()), "new": (None, ())},
    "tags": {"t", "kept", "new"},
}
REPLACED = {
    "namespace": ("new", "private", False, "admin"),
    "types": {"R": "new_", "S": None, "U": None},
    "properties": {"p": "new", "kept": "T", "new": "T"},
    "objects": {"o": ("new", ()), "kept": (None, ()), "new": (None, ())},
    "tags": {"t", "kept", "new"},
}
OVERWRITTEN = {
    "namespace": ("new", "private", False, "admin"),
    "types": {"R": "new_", "U": None},
    "properties": {"p": "new", "new": "T"},
    "objects": {"o": ("new", ()), "new": (None, ())},
    "tags": {"t", "new"},
}
MANNERS = [
    ([], [], BEFORE),
    (["--merge"], ["True"], ADDED),
    (["--merge", "--prefer_new"], ["True", "True"], REPLACED),
    (["--merge", "--overwrite"], ["true", "false", "true"], OVERWRITTEN),
]


@pytest.mark.parametrize(("options", "positions", "expected"), MANNERS)
@pytest.mark.parametrize("old_name", [False, True])
def test_manners(
    run: Run, database: DatabaseSettings, folder: Path, options: Any, positions: Any, expected: Any, old_name: bool
) -> None:
    """What is there already is kept, added to, replaced, or overwritten; by the old command's name as well."""
    put(folder, OLD)
    assert run("db", "load_metadefs", "--path", str(folder)).exit_code == 0
    assert words(database) == BEFORE
    put(folder, NEW)
    command = ["db_load_metadefs", str(folder), *positions]
    done = run(*command) if old_name else run("db", "load_metadefs", "--path", str(folder), *options)
    assert done.exit_code == 0, done.output
    assert words(database) == expected


def test_as_glance_keeps_what_comes_from_files(run: Run, database: DatabaseSettings, folder: Path) -> None:
    """It was never updated; its resource types are protected; a single default is text (C-121)."""
    put(folder, OLD)
    run("db", "load_metadefs", "--path", str(folder / "0.json"))
    namespace, contents = found(database)["A"]
    assert namespace.updated_at is None
    for items in (contents.associations, contents.objects, contents.tags):
        assert {each.updated_at for each in items or ()} == {None}
    assert [each.schema.get("default") for each in contents.properties or ()] == [None, "3"]

    def types(connection: Connection) -> list[Any]:
        return [(row.name, row.protected) for row in connection.execute(select(schema.metadef_resource_types))]

    assert transact(database, types) == [("R", True), ("S", True)]


@pytest.mark.parametrize("options", [["--prefer_new"], ["--overwrite"], ["--merge", "--overwrite", "--prefer_new"]])
def test_options_that_contradict(run: Run, database: DatabaseSettings, options: list[str]) -> None:
    """Nothing is loaded, and the exit status tells."""
    assert run("db", "load_metadefs", *options).exit_code == 2
    assert found(database) == {}


BAD = [
    "{bad",
    "[]",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    '{"namespace": NaN}',
    "[" * 100_000,
    {"display_name": "without a name"},
    {"namespace": "x" * 81},
    {"namespace": "x", "objects": [{"description": "x"}]},
    {"namespace": "x", "tags": [{"name": "x"}, {"name": "x"}]},
    {"namespace": "x", "properties": {"p": {"title": "T"}}},
    {"namespace": "x\0"},
]


@pytest.mark.parametrize("document", BAD)
def test_all_or_nothing(run: Run, database: DatabaseSettings, folder: Path, document: Any) -> None:
    """If one file cannot be loaded none is, and one line tells which one and why."""
    put(folder, {"namespace": "good"}, document, {"namespace": "good too"})
    done = run("db", "load_metadefs", "--path", str(folder))
    assert (done.exit_code, done.output.count("\n")) == (1, 1), done.output
    assert "Traceback" not in done.output
    assert found(database) == {}


def test_nothing_to_load(run: Run, folder: Path) -> None:
    """A folder without definitions, or none at all, is an error."""
    for path in (folder, folder / "none"):
        done = run("db", "load_metadefs", "--path", str(path))
        assert (done.exit_code, "not found" in done.output) == (1, True)


def test_what_is_shipped(run: Run, database: DatabaseSettings, tmp_path: Path) -> None:
    """It is loaded if nothing else is told or lies where the configuration says, and does not repeat itself."""
    assert run("db", "load_metadefs").exit_code == 0
    loaded = found(database)
    assert len(loaded) == len(list(SHIPPED.glob("*.json"))) > 15
    names: list[str] = []
    for namespace, contents in loaded.values():
        assert (namespace.visibility, namespace.protected) == ("public", True)
        assert contents.associations
        assert contents.properties or contents.objects
        prefixes = {each.name: each.prefix or "" for each in contents.associations or ()}
        if "OS::Glance::Image" in prefixes and namespace.name != "OS::Compute::VMware":
            names += [prefixes["OS::Glance::Image"] + each.name for each in contents.properties or ()]
    assert len(set(names)) == len(names) > 60
    (tmp_path / "nowhere").mkdir()
    put(tmp_path / "nowhere", {"namespace": "configured"})
    assert run("db", "load_metadefs").output == "Loaded configured\n"


@pytest.mark.parametrize("command", [["db", "unload_metadefs"], ["db_unload_metadefs"]])
def test_unload(run: Run, database: DatabaseSettings, command: list[str]) -> None:
    """All tables are empty afterwards; and it can be done again."""
    run("db", "load_metadefs")
    for _ in range(2):
        assert run(*command).exit_code == 0

    def rows(connection: Connection) -> int:
        tables = [table for name, table in schema.metadata.tables.items() if name.startswith("metadef_")]
        return sum(len(connection.execute(select(table)).all()) for table in tables)

    assert transact(database, rows) == 0


@pytest.mark.parametrize("command", [["db", "export_metadefs", "--path"], ["db_export_metadefs"]])
def test_there_and_back(run: Run, database: DatabaseSettings, folder: Path, tmp_path: Path, command: list[str]) -> None:
    """What was exported is the same when it is loaded again."""
    put(folder, OLD, {"namespace": "../grün % \n", "description": "ß"})
    run("db", "load_metadefs", "--path", str(folder))
    run("db", "load_metadefs")
    before = found(database)
    out = tmp_path / "a" / "b"
    assert run(*command, str(out)).exit_code == 0
    assert len(list(out.iterdir())) == len(before)
    assert (out / "..%2Fgrün %25 %0A.json").exists()
    run("db", "unload_metadefs")
    done = run("db", "load_metadefs", "--path", str(out))
    assert done.exit_code == 0, done.output
    assert bare(found(database)) == bare(before)


def bare(definitions: dict[str, tuple[Namespace, Contents]]) -> str:
    """Without ids and times."""
    return re.sub(r"(_at=[^)]*\)|id=\d+)", "", repr(definitions))


def test_export_into_a_file(run: Run, tmp_path: Path) -> None:
    """What cannot be written is told in one line."""
    (tmp_path / "file").write_text("")
    run("db", "load_metadefs")
    done = run("db", "export_metadefs", "--path", str(tmp_path / "file"))
    assert (done.exit_code, done.output.count("\n")) == (1, 1)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "%2F", "x\0", "-", "~"])
def test_file_names(name: str) -> None:
    """No namespace leaves the folder; no two have the same file."""
    made = file_name(name)
    assert made.endswith(".json")
    assert "/" not in made
    assert "\0" not in made


@pytest.mark.parametrize("arguments", [["load_metadefs"], ["unload_metadefs"], ["export_metadefs", "--path", "/tmp"]])
def test_without_a_database(tmp_path: Path, arguments: list[str]) -> None:
    """A database without tables, or a configuration that cannot be read, is told in one line."""
    config = tmp_path / "glance-api.conf"
    config.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/empty.sqlite\n")
    for path in (config, tmp_path / "none.conf"):
        done = CliRunner().invoke(main, ["--config-file", str(path), "db", *arguments])
        assert (done.exit_code, done.output.count("\n")) == (1, 1), done.output
