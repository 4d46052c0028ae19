"""Who says who is asking: the authenticator that settings choose."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.logger import Logger

from glancetx.access.open import OpenAuthenticator
from glancetx.access.policy import Policy
from glancetx.config.settings import AccessSettings, MemcachedSettings, TokenSettings
from glancetx.domain.errors import ConfigurationError
from glancetx.interfaces import IAuthenticator
from glancetx.runtime.threads import Threads

if TYPE_CHECKING:
    from glancetx.access.shared_tokens import SharedTokens
    from glancetx.keystone import Keystone
    from glancetx.outgoing.memcached import Memcached

_log = Logger()


async def _nothing() -> None:
    """What most authenticators need at the start and at the end."""


@frozen
class Identity:
    """An authenticator, what is to be done before it is asked, and when it is asked no more.

    *keystone*: the one it asks.
    """

    authenticator: IAuthenticator
    keystone: Keystone | None = None
    start: Callable[[], Awaitable[object]] = _nothing
    close: Callable[[], Awaitable[object]] = _nothing


def choose_identity(settings: AccessSettings, policy: Policy, accounts: Threads, reactor: Any) -> Identity:
    """:raises ConfigurationError: if nothing is configured that could tell who is asking."""
    if settings.authentication == "none":
        return Identity(OpenAuthenticator())
    if settings.authentication == "keystone" and settings.tokens is not None:
        return _keystone(settings.tokens, policy, reactor, anonymous=settings.allow_anonymous)
    if settings.authentication == "trusted":
        return _trusted(settings, policy)
    if settings.authentication == "builtin" and settings.accounts is not None:
        return _builtin(settings.accounts, policy, accounts, reactor)
    raise ConfigurationError("There is no authenticator: pass one, or configure accounts or Keystone")


def _trusted(settings: AccessSettings, policy: Policy) -> Identity:
    from glancetx.access.trusted import TrustedAuthenticator

    _log.warn("Identity headers are believed: let nobody but the authenticating proxy reach this service")
    return Identity(
        TrustedAuthenticator(
            policy.is_admin, login_uri=settings.www_authenticate_uri, anonymous=settings.allow_anonymous
        )
    )


def _builtin(folder: Path, policy: Policy, accounts: Threads, reactor: Any) -> Identity:
    from glancetx.access.builtin import BuiltinAuthenticator

    builtin = BuiltinAuthenticator(folder, accounts, reactor, policy.is_admin)
    return Identity(builtin, start=builtin.start)


def _keystone(settings: TokenSettings, policy: Policy, reactor: Any, *, anonymous: bool) -> Identity:
    from glancetx.access.tokens import TokenAuthenticator
    from glancetx.keystone import Keystone
    from glancetx.outgoing.exchange import Connections

    account = settings.keystone
    connections = Connections(reactor, account.tls, account.timeout, account.retries)
    keystone = Keystone(account, connections.exchange, reactor)
    tokens = partial(TokenAuthenticator, settings, keystone, reactor, policy.is_admin, anonymous=anonymous)
    if settings.memcached is None:
        return Identity(tokens(), keystone, close=connections.close)
    shared, memcached = _shared(settings.memcached, reactor)

    async def close() -> None:
        await memcached.close()
        await connections.close()

    return Identity(tokens(shared=shared), keystone, close=close)


def _shared(settings: MemcachedSettings, reactor: Any) -> tuple[SharedTokens, Memcached]:
    from glancetx.access.shared_tokens import Seal, SharedTokens
    from glancetx.outgoing.memcached import Memcached

    memcached = Memcached(reactor, settings.servers, settings.patience, settings.rest)
    return SharedTokens(memcached, Seal(settings.strategy, settings.secret.encode())), memcached
