"""``glancetx-manage user`` and ``token``."""

from __future__ import annotations

from pathlib import Path

import bcrypt
import pytest
from click.testing import CliRunner, Result

from glancetx.access.account_files import AccountFiles
from glancetx.access.accounts import Token, token_digest
from glancetx.cli.manage import main


class Command:
    """Runs the command on a data directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files = folder, AccountFiles(folder / "accounts")

    def __call__(self, *arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(main, [*arguments, "--data-dir", str(self.folder)], input=typed)

    def done(self, *arguments: str, typed: str = "") -> str:
        result = self(*arguments, typed=typed)
        assert result.exit_code == 0, result.output
        return result.output


@pytest.fixture
def manage(tmp_path: Path) -> Command:
    return Command(tmp_path)


def test_a_user_is_added(manage: Command) -> None:
    """With the password from standard input, which is not shown."""
    output = manage.done("user", "add", "alice", "--project", "p1", "--role", "admin", typed="s3cret\n")
    accounts = manage.files.read()
    assert (accounts.users["alice"].project, accounts.users["alice"].roles) == ("p1", frozenset({"admin"}))
    assert bcrypt.checkpw(b"s3cret", accounts.passwords["alice"])
    assert "s3cret" not in output


def test_a_password_is_changed(manage: Command) -> None:
    """A line end belongs to the line, blanks to the password."""
    manage.done("user", "add", "alice", typed="one\n")
    manage.done("user", "set-password", "alice", typed=" two \r\n")
    assert bcrypt.checkpw(b" two ", manage.files.read().passwords["alice"])


def test_a_user_is_removed(manage: Command) -> None:
    """And is gone from the list."""
    manage.done("user", "add", "alice", typed="one\n")
    assert "alice" in manage.done("user", "list")
    manage.done("user", "remove", "alice")
    assert "alice" not in manage.done("user", "list")


def test_users_are_listed_without_hashes(manage: Command) -> None:
    """Long names are not cut where the output is no terminal."""
    name = "a-service-user-with-a-name-that-is-longer-than-most-terminals-are-wide-" + "x" * 40
    manage.done("user", "add", name, typed="one\n")
    output = manage.done("user", "list")
    assert name in output
    assert "$2b$" not in output


def test_a_token_is_printed_once(manage: Command) -> None:
    """It alone, so that a script can take it; the list shows only a part of its digest."""
    manage.done("user", "add", "alice", typed="one\n")
    text = manage.done("token", "add", "alice", "--expires", "2031-01-01", "--comment", "CI [x]").strip()
    token = manage.files.read().tokens[token_digest(text)]
    assert token == Token(digest=token.digest, user="alice", expires_at=1924992000.0, comment="CI [x]")
    listed = manage.done("token", "list")
    for part in (token.digest[:12], "alice", "2031-01-01 00:00", "CI [x]"):
        assert part in listed
    assert text not in listed
    assert token.digest not in listed


def test_a_token_is_removed(manage: Command) -> None:
    """By the id that the list shows."""
    manage.done("user", "add", "alice", typed="one\n")
    text = manage.done("token", "add", "alice").strip()
    assert "never" in manage.done("token", "list")
    manage.done("token", "remove", token_digest(text)[:12])
    assert manage.files.read().tokens == {}


@pytest.mark.parametrize("span", ["90d", "12h", "30m", "4w"])
def test_a_token_may_end_after_a_span(manage: Command, span: str) -> None:
    """Days, hours, minutes, weeks."""
    manage.done("user", "add", "alice", typed="one\n")
    manage.done("token", "add", "alice", "--expires", span)
    (token,) = manage.files.read().tokens.values()
    assert token.expires_at is not None
    assert "expired" not in manage.done("token", "list")


def test_an_expired_token_is_listed_as_such(manage: Command) -> None:
    """So that it can be cleared away."""
    manage.done("user", "add", "alice", typed="one\n")
    manage.done("token", "add", "alice", "--expires", "2020-01-01")
    assert "(expired)" in manage.done("token", "list")


@pytest.mark.parametrize(
    ("arguments", "typed", "expected"),
    [
        (("user", "add", "a:b"), "x\n", "name has"),
        (("user", "add", "alice"), "\n", "password has"),
        (("user", "remove", "eve"), "", "no user eve"),
        (("user", "set-password", "eve"), "x\n", "no user eve"),
        (("token", "add", "eve"), "", "no user eve"),
        (("token", "remove", "abc"), "", "0 tokens"),
        (("token", "add", "eve", "--expires", "soon"), "", "neither a span"),
    ],
)
def test_mistakes_are_told_in_a_line(manage: Command, arguments: tuple[str, ...], typed: str, expected: str) -> None:
    """Exit status 1 or 2, no traceback."""
    result = manage(*arguments, typed=typed)
    assert result.exit_code in (1, 2)
    assert expected in result.output
    assert isinstance(result.exception, SystemExit)


def test_the_configuration_names_the_directory(tmp_path: Path) -> None:
    """Without --data-dir, the accounts of the configured service are changed."""
    config = tmp_path / "glance-api.conf"
    config.write_text(f"[glancetx]\nauthentication = builtin\ndata_dir = {tmp_path / 'data'}\n")
    result = CliRunner().invoke(main, ["--config-file", str(config), "user", "add", "alice"], input="x\n")
    assert result.exit_code == 0, result.output
    assert "alice" in AccountFiles(tmp_path / "data" / "accounts").read().users
