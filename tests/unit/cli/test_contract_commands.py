"""Command lines written for Glance's programs are understood (processes.md, chapters 7, 8, 11 and 12)."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from glancetx.cli import cache, manage, replicator, scrubber, status

MANAGE, SCRUBBER, CACHE = manage.main, scrubber.main, cache.main
REPLICATOR = replicator.main
NOBODY = "127.0.0.1:1"


@pytest.mark.parametrize("program", [MANAGE, SCRUBBER, CACHE, REPLICATOR, status.main])
def test_version(program: click.Command) -> None:
    """Every program tells its version."""
    result = CliRunner().invoke(program, ["--version"])
    assert (result.exit_code, result.output.strip()[0].isdigit()) == (0, True)


@pytest.mark.parametrize(
    ("row", "program", "words", "code", "said"),
    [
        ("P-107", MANAGE, ["db_load_metadefs", "/nowhere", "merge", "prefer_new"], 1, "files not found in /nowhere"),
        ("P-107", MANAGE, ["db_load_metadefs", "/nowhere", "True"], 1, "files not found in /nowhere"),
        ("P-107", MANAGE, ["db_load_metadefs", "/nowhere", "perhaps"], 2, "perhaps"),
        ("P-102", MANAGE, ["db", "nonsense"], 2, "No such command"),
        ("P-064", SCRUBBER, ["-D", "--restore", "x"], 1, "--restore and --daemon cannot be used together"),
        ("P-064", SCRUBBER, ["--restore", "x", "--daemon"], 1, "--restore and --daemon cannot be used together"),
        ("P-082", CACHE, ["queue-image"], 1, "takes the id of one image"),
        ("P-082", CACHE, ["queue-image", "abc"], 1, "Image ID 'abc' is not a valid UUID."),
        ("P-082", CACHE, ["list-cached", "abc"], 1, "takes no argument"),
        ("P-082", CACHE, ["nonsense"], 1, "not a valid command"),
        ("P-082", CACHE, ["-p", "1", "-H", "127.0.0.1", "list-queued"], 1, "127.0.0.1"),
        ("P-082", CACHE, ["help", "delete-all-queued-images"], 0, "Empty the queue."),
        ("P-120", REPLICATOR, ["nonsense"], 2, "No such command"),
        ("P-121", REPLICATOR, ["size"], 2, "Missing argument"),
    ],
)
def test_refused(tmp_path: Path, row: str, program: click.Command, words: list[str], code: int, said: str) -> None:
    """What is wrong ends the program with a status and one line."""
    path = tmp_path / "glance-api.conf"
    path.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/db.sqlite\n")
    files = [f"--config-file={path}"] if program in (MANAGE, SCRUBBER) else []
    result = CliRunner().invoke(program, [*files, *words])
    assert (result.exit_code, said in result.output) == (code, True), result.output


def test_daemon_by_configuration(tmp_path: Path) -> None:
    """A scrubber is a daemon because its file says so (P-063, C-042), unless its command line says otherwise."""
    path = tmp_path / "glance-scrubber.conf"
    path.write_text(f"[DEFAULT]\ndaemon = true\n[database]\nconnection = sqlite:///{tmp_path}/db.sqlite\n")
    files = [f"--config-file={path}"]
    assert "cannot be used together" in CliRunner().invoke(SCRUBBER, [*files, "--restore", "x"]).output
    transacted = CliRunner().invoke(SCRUBBER, [*files, "--nodaemon", "--restore", "x"])
    assert "cannot be used together" not in transacted.output


@pytest.mark.parametrize(
    ("words", "parsed"),
    [
        (["-m", "-t", "a", "size", "h"], ["size", "h"]),
        (["size", "h", "-m", "--token", "a"], ["size", "h"]),
        (["size", "-m", "--token=a", "h"], ["size", "h"]),
        (
            ["livecopy", "h", "--continuous", "3", "i", "-ma", "-t", "a"],
            ["livecopy", "h", "--continuous", "3", "i", "-ma"],
        ),
    ],
)
def test_order_of_options(words: list[str], parsed: list[str]) -> None:
    """Options of a replicator may stand behind the command (P-120)."""
    context = click.Context(REPLICATOR)
    REPLICATOR.parse_args(context, list(words))
    assert [*context._protected_args, *context.args] == parsed
    assert context.params["token"] == "a"
    assert context.params["metadata_only"] is ("-m" in words)
