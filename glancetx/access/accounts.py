"""The built-in accounts as values, and the three files they are read from. No bcrypt, no threads, no writing here.

- ``htpasswd``: lines ``name:hash`` as ``htpasswd -B`` writes them; only bcrypt is accepted.
- ``users.yaml``: for each name its ``project``, ``roles`` and ``domain``; who is missing gets the defaults.
- ``tokens``: lines ``sha256-of-the-token name expiry comment``; the expiry is ``-`` or an ISO 8601 time.

Messages about files name the line, never its content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml
from attrs import field, frozen

from glancetx.domain.errors import ConfigurationError

PASSWORDS: Final = "htpasswd"
USERS: Final = "users.yaml"
TOKENS: Final = "tokens"
DEFAULT_ROLES: Final = frozenset({"member", "reader"})
DEFAULT_DOMAIN: Final = "default"

_NAME: Final = re.compile(r"[^\s:#][^\s:]{0,254}")
_BCRYPT: Final = re.compile(r"\$2[by]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

Fingerprint = tuple[tuple[int, int, int] | None, ...]


@frozen(kw_only=True)
class User:
    """One account. *project* owns what the user creates; *roles* are lower case."""

    name: str
    project: str
    roles: frozenset[str] = DEFAULT_ROLES
    domain: str = DEFAULT_DOMAIN


@frozen(kw_only=True)
class Token:
    """A bearer token, known by the SHA-256 *digest* of its text alone. *expires_at*: seconds since the epoch."""

    digest: str
    user: str
    expires_at: float | None = None
    comment: str = ""

    def valid_at(self, now: float) -> bool:
        return self.expires_at is None or now < self.expires_at


@frozen(kw_only=True)
class Accounts:
    """All accounts: users by name, bcrypt hashes by user name, tokens by digest."""

    users: Mapping[str, User] = field(factory=dict)
    passwords: Mapping[str, bytes] = field(factory=dict, repr=False)
    tokens: Mapping[str, Token] = field(factory=dict, repr=False)


def token_digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def check_name(name: str) -> str:
    """*name* itself. :raises ConfigurationError: if it cannot name a user in all three files."""
    if not _NAME.fullmatch(name) or not name.isprintable():
        raise ConfigurationError(
            "A user's name has 1 to 255 characters, none of them a blank or a colon, and no # first"
        )
    return name


def fingerprint(folder: Path) -> Fingerprint:
    """Differs from an earlier one if any of the files was replaced or written since. Blocking."""
    return tuple(_print(folder / name) for name in (PASSWORDS, USERS, TOKENS))


def _print(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def read_accounts(folder: Path) -> Accounts:
    """Read the three files; one that is absent is empty. Blocking.

    :raises ConfigurationError: if one cannot be read or understood.
    """
    passwords = parse_passwords(_read(folder / PASSWORDS))
    described = parse_users(_read(folder / USERS))
    plain = {name: User(name=name, project=name) for name in passwords}
    return Accounts(
        users={**plain, **described},
        passwords=passwords,
        tokens={token.digest: token for token in parse_tokens(_read(folder / TOKENS))},
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The accounts file {path} cannot be read: {error}") from error


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()


def parse_passwords(text: str) -> dict[str, bytes]:
    """:raises ConfigurationError: if a line is no ``name:hash`` or its hash is not bcrypt's."""
    found: dict[str, bytes] = {}
    for number, line in _lines(text):
        name, colon, hashed = line.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise ConfigurationError(f"{PASSWORDS}, line {number}: not name:hash")
        if not _BCRYPT.fullmatch(hashed):
            raise ConfigurationError(f"{PASSWORDS}, line {number}: not a bcrypt hash; make one with htpasswd -B")
        found[name] = hashed.encode()
    return found


def parse_users(text: str) -> dict[str, User]:
    """:raises ConfigurationError: if the document is not a mapping of names to projects, roles and domains."""
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{USERS}{where}: not YAML") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{USERS}: not a mapping of names to users")
    return {str(name): _user(str(name), facts or {}) for name, facts in document.items()}


def _user(name: str, facts: Any) -> User:
    check_name(name)
    if not isinstance(facts, dict) or set(facts) - {"project", "roles", "domain"}:
        raise ConfigurationError(f"{USERS}, {name}: only project, roles and domain can be said of a user")
    project, domain = facts.get("project", name), facts.get("domain", DEFAULT_DOMAIN)
    roles = facts.get("roles", sorted(DEFAULT_ROLES))
    if not all(isinstance(value, str) and 0 < len(value) <= 255 for value in (project, domain)):
        raise ConfigurationError(f"{USERS}, {name}: project and domain are texts of 1 to 255 characters")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise ConfigurationError(f"{USERS}, {name}: roles are a list of texts")
    return User(name=name, project=project, roles=frozenset(role.lower() for role in roles), domain=domain)


def render_users(users: Mapping[str, User]) -> str:
    """The text of ``users.yaml`` for these users."""
    facts = {
        user.name: {"project": user.project, "roles": sorted(user.roles), "domain": user.domain}
        for user in users.values()
    }
    body = yaml.safe_dump(facts, sort_keys=True, allow_unicode=True) if facts else ""
    return f"# Projects and roles of the users. glancetx-manage rewrites this file, without any comments.\n{body}"


def parse_tokens(text: str) -> list[Token]:
    """:raises ConfigurationError: if a line is not ``digest name expiry comment``."""
    return [_token(number, line) for number, line in _lines(text)]


def _token(number: int, line: str) -> Token:
    digest, name, expiry, comment = (*line.split(maxsplit=3), "", "", "", "")[:4]
    if not _DIGEST.fullmatch(digest) or not _NAME.fullmatch(name):
        raise ConfigurationError(f"{TOKENS}, line {number}: not sha256 name expiry comment")
    return Token(digest=digest, user=name, expires_at=_expiry(number, expiry or "-"), comment=comment)


def _expiry(number: int, text: str) -> float | None:
    if text == "-":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{TOKENS}, line {number}: the expiry is neither - nor an ISO 8601 time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def render_token(token: Token) -> str:
    """The line for *token* in ``tokens``, without the end of line."""
    expiry = "-" if token.expires_at is None else datetime.fromtimestamp(token.expires_at, UTC).isoformat()
    return f"{token.digest} {token.user} {expiry} {' '.join(token.comment.split())}".rstrip()
