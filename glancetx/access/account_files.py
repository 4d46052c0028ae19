"""Changing the built-in accounts: what the command line and the first start do. Blocking: never in the reactor thread.

Every change holds the folder's lock and replaces whole files, so a running server sees the old or the new accounts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import bcrypt

from glancetx.access.accounts import (
    DEFAULT_DOMAIN,
    DEFAULT_ROLES,
    PASSWORDS,
    TOKENS,
    USERS,
    Accounts,
    Token,
    User,
    check_name,
    parse_tokens,
    parse_users,
    read_accounts,
    render_token,
    render_users,
    token_digest,
)
from glancetx.domain.errors import ConfigurationError
from glancetx.runtime.safe_files import exclusive, make_folder, replace_file

ROUNDS: Final = 10  # 2**10 rounds of bcrypt, about 50 ms
LONGEST_PASSWORD: Final = 72  # bytes; bcrypt ignores what follows
SHORT_DIGEST: Final = 12  # hex digits by which people name a token


class AccountFiles:
    """The account files in *folder*, which is made (owner only) when something is to be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> Accounts:
        """:raises ConfigurationError: if a file cannot be understood."""
        return read_accounts(self.folder)

    def add_user(
        self,
        name: str,
        password: str,
        project: str | None = None,
        roles: Iterable[str] = DEFAULT_ROLES,
        domain: str = DEFAULT_DOMAIN,
    ) -> User:
        """Add a user, whose project is *name* unless told.

        The facts are written before the password: nobody can log in with rights that are not yet known.

        :raises ConfigurationError: if there is one of that name, or the name or password cannot be used.
        """
        lowered = frozenset(role.lower() for role in roles)
        user = User(name=check_name(name), project=project or name, roles=lowered, domain=domain)
        hashed = hash_password(password)
        with self._changing():
            if name in self.read().users:
                raise ConfigurationError(f"There is a user {name} already")
            self._write_facts(lambda users: {**users, name: user})
            self._write_password(name, hashed)
        return user

    def restore_user(self, name: str, password: str, project: str, roles: Iterable[str]) -> None:
        """Make sure that there is this user with this password, whatever was there; to repeat it is harmless.

        :raises ConfigurationError: if the name or password cannot be used.
        """
        user = User(name=check_name(name), project=project, roles=frozenset(roles))
        hashed = hash_password(password)
        with self._changing():
            self._write_facts(lambda users: {**users, name: user})
            self._write_password(name, hashed)

    def set_password(self, name: str, password: str) -> None:
        """:raises ConfigurationError: if there is no such user or the password cannot be used."""
        hashed = hash_password(password)
        with self._changing():
            self._known(name)
            self._write_password(name, hashed)

    def remove_user(self, name: str) -> None:
        """Remove a user with password and tokens. :raises ConfigurationError: if there is no such user."""
        with self._changing():
            self._known(name)
            self._write_password(name, None)
            self._write_tokens(lambda token: token.user != name)
            self._write_facts(lambda users: {other: user for other, user in users.items() if other != name})

    def add_token(self, user: str, expires_at: float | None = None, comment: str = "") -> str:
        """Make a token for *user* and return it; it can never be shown again. *expires_at*: seconds since the epoch.

        :raises ConfigurationError: if there is no such user.
        """
        text = f"gtx_{secrets.token_urlsafe(32)}"
        token = Token(digest=token_digest(text), user=user, expires_at=expires_at, comment=comment)
        with self._changing():
            self._known(user)
            old = self._text(TOKENS)
            self._write(TOKENS, f"{old}{'' if not old or old.endswith(chr(10)) else chr(10)}{render_token(token)}\n")
        return text

    def remove_token(self, prefix: str) -> Token:
        """Remove the token whose digest begins with *prefix*.

        :raises ConfigurationError: if none or several do.
        """
        with self._changing():
            found = [token for token in self.read().tokens.values() if token.digest.startswith(prefix.lower())]
            if len(found) != 1 or not prefix:
                raise ConfigurationError(f"{len(found)} tokens are called {prefix}")
            self._write_tokens(lambda token: token != found[0])
        return found[0]

    def _changing(self) -> AbstractContextManager[None]:
        make_folder(self.folder)
        return exclusive(self.folder / ".lock")

    def _known(self, name: str) -> None:
        if name not in self.read().users:
            raise ConfigurationError(f"There is no user {name}")

    def _text(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def _write(self, name: str, text: str) -> None:
        replace_file(self.folder / name, text.encode())

    def _write_facts(self, change: Callable[[dict[str, User]], dict[str, User]]) -> None:
        old = parse_users(self._text(USERS))
        new = change(old)
        if new != old:
            self._write(USERS, render_users(new))

    def _write_password(self, name: str, hashed: str | None) -> None:
        """Put the user's line in its old place or at the end, or leave it out; other lines stay as they are."""
        lines, line = [], None if hashed is None else f"{name}:{hashed}"
        for old in self._text(PASSWORDS).splitlines():
            if old.strip().partition(":")[0] != name:
                lines.append(old)
            elif line is not None:
                lines.append(line)
                line = None
        if line is not None:
            lines.append(line)
        self._write(PASSWORDS, "".join(f"{line}\n" for line in lines))

    def _write_tokens(self, keep: Callable[[Token], bool]) -> None:
        """Leave out the tokens that are not to be kept; other lines stay as they are."""
        text = self._text(TOKENS)
        gone = {token.digest for token in parse_tokens(text) if not keep(token)}
        if gone:
            lines = [line for line in text.splitlines() if line.split(maxsplit=1)[:1] not in [[d] for d in gone]]
            self._write(TOKENS, "".join(f"{line}\n" for line in lines))


def hash_password(password: str) -> str:
    """A bcrypt hash as ``htpasswd -B`` makes it. :raises ConfigurationError: if the password is empty or too long."""
    raw = password.encode()
    if not raw or len(raw) > LONGEST_PASSWORD or not password.isprintable():
        raise ConfigurationError(f"A password has 1 to {LONGEST_PASSWORD} bytes and no control characters")
    return bcrypt.hashpw(raw, bcrypt.gensalt(ROUNDS)).decode()
