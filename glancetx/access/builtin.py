"""Who is asking, by accounts in files of our own: HTTP Basic with bcrypt passwords, and static bearer tokens.

For the embedded default and small installations; `glancetx.access.accounts` tells what the files hold. Basic
credentials are what keystoneauth's ``http_basic`` plugin sends; tokens travel in X-Auth-Token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import bcrypt
from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from glancetx.access.account_files import LONGEST_PASSWORD, ROUNDS
from glancetx.access.accounts import Accounts, Fingerprint, User, fingerprint, read_accounts, token_digest
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import ConfigurationError, NotAuthenticated, TooBusy
from glancetx.interfaces import HeaderReader, IAuthenticator
from glancetx.runtime.sharing import SharedCall
from glancetx.runtime.threads import Threads

LOOK_EVERY: Final = 1.0  # seconds between two looks at the files
LOOK_LATEST: Final = 3.0  # seconds after which nobody is let in without a new look
REMEMBER: Final = 300.0  # seconds for which a verified password is not verified again
REMEMBER_AT_MOST: Final = 1024  # verified credentials
QUEUE_AT_MOST: Final = 32  # verifications waiting for a thread; further ones are turned away
LONGEST_CREDENTIALS: Final = 4096  # characters

_ALPHABET: Final = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_log = Logger()


@frozen
class _Look:
    """What the files were like, and the accounts in them; or why they cannot be used."""

    print: Fingerprint | None
    accounts: Accounts | None
    problem: str | None = None


@frozen
class _Verified:
    """A user whose password was right, until *ends_at*."""

    user: User
    ends_at: float


@implementer(IAuthenticator)
class BuiltinAuthenticator:
    """Identifies callers by the accounts in *folder*, which it re-reads when they change.

    A wrong password always costs a bcrypt in *threads*, known user or not; a right one is remembered for some
    minutes under a keyed digest, so that a client who sends it with each request costs none. The accounts in use
    are at most three seconds old, and nobody is turned away before a look at the present ones. *is_admin* decides
    who is an administrator (the policy rule ``context_is_admin``); without it, the role ``admin`` does. *clock* tells
    seconds since the epoch.
    """

    challenge = 'Basic realm="glancetx", charset="UTF-8"'

    def __init__(
        self,
        folder: Path,
        threads: Threads,
        clock: IReactorTime,
        is_admin: Callable[[RequestContext], bool] | None = None,
    ) -> None:
        self._folder, self._threads, self._clock = folder, threads, clock
        self._is_admin = is_admin
        self._seen = _Look(None, None)
        self._looked_at = float("-inf")
        self._looking: SharedCall[None] | None = None
        self._key = secrets.token_bytes(32)
        self._verified: dict[bytes, _Verified] = {}
        self._verifying: dict[bytes, SharedCall[User | None]] = {}

    async def start(self) -> None:
        """Read the accounts. :raises ConfigurationError: if they cannot be read."""
        await self._look_again()
        if self._seen.accounts is None:
            raise ConfigurationError(self._seen.problem or "There are no accounts")

    async def identify(self, header: HeaderReader, request_id: str) -> RequestContext:
        """The context of the user whose password or token the headers hold; the password counts if both are there.

        :raises NotAuthenticated: if there is neither, or it is wrong.
        :raises TooBusy: if too many passwords are waiting to be verified.
        """
        now = self._clock.seconds()
        age = now - self._looked_at
        if not 0 <= age < LOOK_EVERY:
            await self._fresh_accounts(age)
        authorization, token = header("authorization"), header("x-auth-token")
        if authorization is None and token is None:
            raise NotAuthenticated(self.challenge)
        user = await self._find(authorization, token)
        if user is None and now > self._looked_at:  # perhaps made since the last look, and used at once
            accounts = self._accounts
            await self._fresh_accounts(float("inf"))
            user = None if self._accounts is accounts else await self._find(authorization, token)
        return self._context(user, request_id, token if authorization is None else None)

    async def _find(self, authorization: str | None, token: str | None) -> User | None:
        now = self._clock.seconds()
        if authorization is not None:
            return self._remembered(authorization, now) or await self._verify(authorization)
        return None if token is None else self._owner(token, now)

    def _context(self, user: User | None, request_id: str, token: str | None) -> RequestContext:
        if user is None:
            raise NotAuthenticated(self.challenge)
        context = RequestContext(
            request_id=request_id,
            user_id=user.name,
            project_id=user.project,
            roles=user.roles,
            is_admin="admin" in user.roles,
            user_domain_id=user.domain,
            project_domain_id=user.domain,
            token=token,
        )
        if self._is_admin is None:
            return context
        is_admin = self._is_admin(context)
        return context if is_admin == context.is_admin else evolve(context, is_admin=is_admin)

    def _owner(self, token: str, now: float) -> User | None:
        accounts = self._accounts
        found = accounts.tokens.get(token_digest(token))
        return accounts.users.get(found.user) if found is not None and found.valid_at(now) else None

    # Passwords

    def _digest(self, authorization: str) -> bytes:
        return hashlib.blake2b(authorization.encode(), key=self._key, digest_size=32).digest()

    def _remembered(self, authorization: str, now: float) -> User | None:
        known = self._verified.get(self._digest(authorization))
        return known.user if known is not None and now < known.ends_at else None

    async def _verify(self, authorization: str) -> User | None:
        """The user, if name and password are right. Equal credentials that come together are verified once."""
        credentials = parse_basic(authorization)
        if credentials is None:
            return None
        key = self._digest(authorization)
        call = self._verifying.get(key)
        if call is None:
            if self._threads.waiting >= QUEUE_AT_MOST:
                raise TooBusy("Too many passwords are being verified; try again")
            call = self._verifying[key] = SharedCall(self._check_password(key, *credentials))
            if not call.running:
                del self._verifying[key]
        return await call.result()

    async def _check_password(self, key: bytes, name: str, password: bytes) -> User | None:
        try:
            accounts, matches = None, False
            while accounts is not self._accounts:  # a look meanwhile may have removed the user
                accounts = self._accounts
                hashed = accounts.passwords.get(name) or self._decoy(accounts.passwords, name)
                matches = await self._threads.run(_matches, password, hashed)
            if not matches or name not in accounts.passwords:
                return None
            return self._remember(key, accounts.users[name])
        finally:
            self._verifying.pop(key, None)

    def _remember(self, key: bytes, user: User) -> User:
        while len(self._verified) >= REMEMBER_AT_MOST:
            del self._verified[next(iter(self._verified))]
        self._verified.pop(key, None)
        self._verified[key] = _Verified(user, self._clock.seconds() + REMEMBER)
        return user

    def _decoy(self, passwords: Mapping[str, bytes], name: str) -> bytes:
        """A hash that nothing matches, as dear as the hash of some user; always the same cost for a name."""
        costs = [int(hashed[4:6]) for hashed in passwords.values()] or [ROUNDS]
        choice = int.from_bytes(self._digest(name)[:8], "big") % len(costs)
        digest = "".join(secrets.choice(_ALPHABET) for _ in range(31))
        return bcrypt.gensalt(costs[choice]) + digest.encode()

    # Files

    @property
    def _accounts(self) -> Accounts:
        if self._seen.accounts is None:
            raise ConfigurationError(self._seen.problem or "The accounts are not read yet")
        return self._seen.accounts

    async def _fresh_accounts(self, age: float) -> None:
        """Have a look begun; wait for it only if the last one is too long ago."""
        if self._looking is None or not self._looking.running:
            self._looking = SharedCall(self._look_again())
        if not 0 <= age < LOOK_LATEST:
            await self._looking.result()

    async def _look_again(self) -> None:
        began = self._clock.seconds()
        look = await self._threads.run(look_at, self._folder, self._seen)
        self._looked_at = began
        if look is self._seen:
            return
        self._seen = look
        if look.problem:
            _log.error("The accounts files cannot be used: {problem}", problem=look.problem)
        else:
            self._verified.clear()
            _log.info("The accounts were read: {count} users", count=len(self._accounts.users))


def look_at(folder: Path, seen: _Look) -> _Look:
    """In a thread: *seen* if nothing changed; else what the files are now, or the old accounts and what is wrong."""
    found = None
    try:
        found = fingerprint(folder)  # before reading: a change in between is seen by the next look
        if found == seen.print:
            return seen
        return _Look(found, read_accounts(folder))
    except (ConfigurationError, OSError) as error:
        broken = _Look(found, seen.accounts, str(error))
    return seen if broken == seen else broken


def parse_basic(authorization: str) -> tuple[str, bytes] | None:
    """User name and password of an Authorization header; None if it is not well-formed Basic."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic" or len(encoded) > LONGEST_CREDENTIALS:
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (name, password.encode()) if colon else None


def _matches(password: bytes, hashed: bytes) -> bool:
    """In a thread: whether the password is the hash's. bcrypt knows 72 bytes; htpasswd cuts off the rest as well."""
    try:
        return bcrypt.checkpw(password[:LONGEST_PASSWORD], hashed)
    except ValueError:  # a salt that looks right and is not
        return False
