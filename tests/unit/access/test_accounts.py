"""Reading and changing the account files."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest

from glancetx.access.account_files import AccountFiles, hash_password
from glancetx.access.accounts import (
    Token,
    User,
    fingerprint,
    parse_passwords,
    parse_tokens,
    parse_users,
    render_token,
    token_digest,
)
from glancetx.domain.errors import ConfigurationError

HASH = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"


@pytest.fixture
def files(tmp_path: Path) -> AccountFiles:
    return AccountFiles(tmp_path / "data" / "accounts")


def test_lines_of_htpasswd_are_read() -> None:
    """Comments and blank lines are nothing; $2y$ and $2b$ are accepted."""
    text = f"# accounts\n\nalice:{HASH}\nbob:{HASH.replace('2y', '2b')}\r\n"
    assert sorted(parse_passwords(text)) == ["alice", "bob"]


@pytest.mark.parametrize(
    "line",
    [
        "alice:$apr1$abc$0123456789012345678901",
        "alice:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=",
        "alice:secret",
        "alice:",
        "alice",
        ":" + HASH,
        "alice:" + HASH.replace("$05$", "$32$"),
        "alice:" + HASH.replace("2y", "2x"),
        "alice:" + HASH[:-1],
        "a b:" + HASH,
    ],
)
def test_other_hashes_and_lines_are_refused(line: str) -> None:
    """Anything else than bcrypt is refused, and the message shows the line's number and not its content."""
    with pytest.raises(ConfigurationError, match="line 2") as caught:
        parse_passwords(f"bob:{HASH}\n{line}\n")
    assert line.partition(":")[2] == "" or line.partition(":")[2] not in str(caught.value)


def test_users_have_defaults() -> None:
    """A user is a member and reader of a project of its own name, unless told otherwise."""
    users = parse_users("alice:\nbob: {project: p1, roles: [Admin], domain: d}\n")
    assert users["alice"] == User(name="alice", project="alice", roles=frozenset({"member", "reader"}))
    assert users["bob"] == User(name="bob", project="p1", roles=frozenset({"admin"}), domain="d")


@pytest.mark.parametrize(
    "text",
    [
        "- alice",
        "alice: [",
        "alice: admin",
        "alice: {role: [admin]}",
        "alice: {roles: admin}",
        "alice: {roles: [1]}",
        "alice: {project: 5}",
        "alice: {project: ''}",
        "'a b': {}",
        "'': {}",
    ],
)
def test_users_that_make_no_sense_are_refused(text: str) -> None:
    """A misspelt right must not silently become another right."""
    with pytest.raises(ConfigurationError, match=r"users\.yaml|name has"):
        parse_users(text)


def test_tokens_are_read() -> None:
    """A line has the digest, the user, perhaps an expiry and a comment; a time without a zone is UTC."""
    first, second = token_digest("a"), token_digest("b")
    text = f"# tokens\n{first} alice 2027-01-01T00:00:00 for the CI\n{second} bob\n"
    assert parse_tokens(text) == [
        Token(digest=first, user="alice", expires_at=1798761600.0, comment="for the CI"),
        Token(digest=second, user="bob"),
    ]


@pytest.mark.parametrize("line", ["secret alice", token_digest("a"), f"{token_digest('a')} alice tomorrow"])
def test_token_lines_that_make_no_sense_are_refused(line: str) -> None:
    """The message shows the line's number and not its content."""
    with pytest.raises(ConfigurationError, match="line 1") as caught:
        parse_tokens(line)
    assert "alice" not in str(caught.value)


def test_a_token_line_is_read_as_it_was_written() -> None:
    """Writing and reading are inverse; a comment cannot smuggle in a line."""
    token = Token(digest=token_digest("x"), user="alice", expires_at=1798761600.0, comment="one\ntwo")
    assert parse_tokens(render_token(token)) == [
        Token(digest=token.digest, user="alice", expires_at=1798761600.0, comment="one two")
    ]


def test_an_added_user_can_be_verified(files: AccountFiles) -> None:
    """The password's hash is bcrypt's; files and folders are the owner's alone."""
    files.add_user("alice", "wonderland", roles=["Admin"])
    accounts = files.read()
    assert accounts.users["alice"] == User(name="alice", project="alice", roles=frozenset({"admin"}))
    assert bcrypt.checkpw(b"wonderland", accounts.passwords["alice"])
    modes = {stat.S_IMODE(path.stat().st_mode) for path in files.folder.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(files.folder.stat().st_mode) == stat.S_IMODE(files.folder.parent.stat().st_mode) == 0o700
    assert "wonderland" not in "".join(path.read_text() for path in files.folder.iterdir())
    assert "$2" not in repr(accounts)


def test_a_user_is_not_added_twice(files: AccountFiles) -> None:
    """An existing user keeps its password."""
    files.add_user("alice", "one")
    with pytest.raises(ConfigurationError, match="already"):
        files.add_user("alice", "two")
    assert bcrypt.checkpw(b"one", files.read().passwords["alice"])


@pytest.mark.parametrize("name", ["", "a:b", "a b", "#a", "a\n", "x" * 256, "a\0"])
def test_names_that_would_break_the_files_are_refused(files: AccountFiles, name: str) -> None:
    """No name can become two lines, two fields or a comment."""
    with pytest.raises(ConfigurationError):
        files.add_user(name, "secret")


@pytest.mark.parametrize("password", ["", "x" * 73, "ü" * 37, "a\nb", "a\0b"])
def test_passwords_that_bcrypt_would_change_are_refused(password: str) -> None:
    """Neither an empty password nor one of which bcrypt would read only a part."""
    with pytest.raises(ConfigurationError):
        hash_password(password)


def test_a_new_password_takes_the_old_one_s_place(files: AccountFiles) -> None:
    """Comments and other users stay as they are."""
    files.add_user("alice", "one")
    path = files.folder / "htpasswd"
    path.write_text(f"# keep\nbob:{HASH}\n{path.read_text()}# end\n")
    files.set_password("alice", "two")
    lines = path.read_text().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["# keep", "bob", "alice", "# end"]
    assert bcrypt.checkpw(b"two", files.read().passwords["alice"])
    assert files.read().passwords["bob"].decode() == HASH


def test_a_removed_user_leaves_nothing(files: AccountFiles) -> None:
    """Password, rights and tokens go; those of others stay."""
    for name in ("alice", "bob"):
        files.add_user(name, "secret")
        files.add_token(name)
    files.remove_user("alice")
    accounts = files.read()
    assert set(accounts.users) == set(accounts.passwords) == {"bob"}
    assert [token.user for token in accounts.tokens.values()] == ["bob"]


def test_a_token_is_kept_as_a_digest(files: AccountFiles) -> None:
    """What is returned is not in the file; its digest is."""
    files.add_user("alice", "secret")
    (files.folder / "tokens").write_text("# no end of line")
    text = files.add_token("alice", expires_at=2e9, comment="CI")
    content = (files.folder / "tokens").read_text()
    assert text not in content
    token = files.read().tokens[token_digest(text)]
    assert (token.user, token.expires_at, token.comment) == ("alice", 2e9, "CI")
    assert content.startswith("# no end of line\n")


def test_a_token_is_removed_by_the_start_of_its_digest(files: AccountFiles) -> None:
    """The start must be that of one token exactly."""
    files.add_user("alice", "secret")
    kept, gone = files.add_token("alice"), files.add_token("alice")
    with pytest.raises(ConfigurationError, match="2 tokens"):
        files.remove_token("")
    with pytest.raises(ConfigurationError, match="0 tokens"):
        files.remove_token("zz")
    files.remove_token(token_digest(gone)[:12])
    assert list(files.read().tokens) == [token_digest(kept)]


def test_unknown_users_are_named(files: AccountFiles) -> None:
    """Nothing is done for a user who does not exist."""
    for change in (files.remove_user, files.add_token):
        with pytest.raises(ConfigurationError, match="no user eve"):
            change("eve")
    with pytest.raises(ConfigurationError, match="no user eve"):
        files.set_password("eve", "x")


ADD_MANY = """
import sys; from pathlib import Path; from glancetx.access.account_files import AccountFiles
for number in range(3): AccountFiles(Path(sys.argv[1])).add_user(sys.argv[2] + str(number), "secret")
"""


def test_changes_at_the_same_time_are_all_kept(files: AccountFiles) -> None:
    """Two processes that add users do not overwrite each other's."""
    command = [sys.executable, "-c", ADD_MANY, str(files.folder)]
    workers = [subprocess.Popen([*command, prefix]) for prefix in "ab"]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert len(files.read().passwords) == len(files.read().users) == 6


def test_the_fingerprint_tells_of_every_change(files: AccountFiles) -> None:
    """A replaced file has another fingerprint, even with the same size and time."""
    assert fingerprint(files.folder) == (None, None, None)
    files.add_user("alice", "one")
    before = fingerprint(files.folder)
    assert before == fingerprint(files.folder)
    files.set_password("alice", "two")
    assert before != fingerprint(files.folder)
