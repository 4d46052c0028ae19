"""Who is asking, by Keystone's tokens: X-Auth-Token, and X-Service-Token of a service that vouches for the caller."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Any, Final

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from glancetx.access.open import stranger
from glancetx.access.shared_tokens import Remembered, SharedTokens
from glancetx.config.settings import TokenSettings
from glancetx.domain.context import RequestContext
from glancetx.interfaces import HeaderReader, IAuthenticator
from glancetx.keystone import Keystone, TokenFacts
from glancetx.runtime.sharing import SharedCall

REMEMBER_AT_MOST: Final = 10_000  # tokens, some 1.4 KB each
LONGEST_TOKEN: Final = 8192  # characters

_log = Logger()


@frozen
class _Known:
    """A valid token: what Keystone said until *until*, and the part of a context that follows from it."""

    facts: TokenFacts
    until: float
    values: dict[str, Any]


@implementer(IAuthenticator)
class TokenAuthenticator:
    """Identifies callers by tokens, which *keystone* validates and which are remembered for ``token_cache_time``.

    Equal tokens that come together are validated once. A token that is remembered is good although Keystone is down;
    with any other one the caller is told to come again, and never that the token is bad. Tokens are remembered under a
    keyed digest. *is_admin* decides who is an administrator (the policy rule ``context_is_admin``); *anonymous*: who
    has no valid token may read. *clock* tells seconds since the epoch. *shared* remembers for other processes, too.
    """

    def __init__(
        self,
        settings: TokenSettings,
        keystone: Keystone,
        clock: IReactorTime,
        is_admin: Callable[[RequestContext], bool],
        *,
        anonymous: bool = False,
        shared: SharedTokens | None = None,
    ) -> None:
        self._shared = shared
        self.challenge = f'Keystone uri="{settings.www_authenticate_uri}"'
        self._settings, self._keystone, self._clock = settings, keystone, clock
        self._is_admin, self._anonymous = is_admin, anonymous
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, _Known] = {}
        self._asking: dict[tuple[bytes, bool], SharedCall[_Known | None]] = {}

    async def identify(self, header: HeaderReader, request_id: str) -> RequestContext:
        """The context of the caller whose token the headers hold.

        A service token that is not valid counts as none. One of a service makes an expired token of the caller good
        enough, for the work of services lasts longer than tokens, and lifts the restrictions of an application
        credential.

        :raises NotAuthenticated: if there is no token, or it is not valid.
        :raises IdentityUnavailable, TooBusy: if that cannot be found out now.
        """
        token = header("x-auth-token")
        if token is None:
            token = header("x-storage-token") or ""
        token = token.strip()
        service = header("x-service-token")
        vouching = await self._find_service(service) if service else None
        by_service = vouching is not None and self._has_service_role(vouching)
        known = await self._find(token, allow_expired=by_service)
        if known is None:
            return stranger(request_id, self.challenge, allowed=self._anonymous)
        values = known.values
        if vouching is not None:
            values = values | _vouched_for_by(vouching) | ({"access_rules": None} if by_service else {})
        context = RequestContext(request_id=request_id, token=token, **values)
        is_admin = self._is_admin(context)
        return context if is_admin == context.is_admin else evolve(context, is_admin=is_admin)

    async def _find_service(self, token: str) -> _Known | None:
        known = await self._find(token.strip(), allow_expired=False)
        if known is None or (self._settings.service_token_roles_required and not self._has_service_role(known)):
            return None
        return known

    def _has_service_role(self, known: _Known) -> bool:
        return not self._settings.service_token_roles.isdisjoint(known.facts.roles)

    async def _find(self, token: str, *, allow_expired: bool) -> _Known | None:
        """What is known of the token; None if it is not valid."""
        if not token or len(token) > LONGEST_TOKEN or not token.isascii() or not token.isprintable():
            return None
        digest = hashlib.blake2b(token.encode(), key=self._key, digest_size=32).digest()
        now = self._clock.seconds()
        known = self._known.get(digest)
        if known is None or now >= known.until:
            known = await self._ask(digest, token, allow_expired)
        return known if known is not None and (allow_expired or now < known.facts.expires_at) else None

    async def _ask(self, digest: bytes, token: str, allow_expired: bool) -> _Known | None:
        key = (digest, allow_expired)
        call = self._asking.get(key)
        if call is None:
            call = self._asking[key] = SharedCall(self._validate(digest, token, allow_expired))
            if not call.running:
                del self._asking[key]
        return await call.result()

    async def _validate(self, digest: bytes, token: str, allow_expired: bool) -> _Known | None:
        try:
            found = await self._remembered(token) or await self._validated(token, allow_expired)
        finally:
            self._asking.pop((digest, allow_expired), None)
        self._known.pop(digest, None)
        if found is None:
            return None
        known = _Known(found.facts, found.until, self._values(found.facts))
        if self._settings.cache_time <= 0:
            return known
        while len(self._known) >= REMEMBER_AT_MOST:
            del self._known[next(iter(self._known))]
        self._known[digest] = known
        return known

    async def _remembered(self, token: str) -> Remembered | None:
        """What another process was told by Keystone, not too long ago."""
        if self._shared is None or self._settings.cache_time <= 0:
            return None
        found = await self._shared.get(token)
        now = self._clock.seconds()
        return found if found is not None and now < min(found.until, found.facts.expires_at) else None

    async def _validated(self, token: str, allow_expired: bool) -> Remembered | None:
        """What Keystone says now; None if the token is not valid."""
        facts = await self._keystone.validate(token, allow_expired=allow_expired)
        if facts is None:
            return None
        seconds = self._settings.cache_time
        found = Remembered(facts, self._clock.seconds() + seconds)
        if self._shared is not None and seconds >= 1:
            await self._shared.keep(token, found, int(seconds))
        return found

    def _values(self, facts: TokenFacts) -> dict[str, Any]:
        roles = frozenset(role.lower() for role in facts.roles)
        rules = facts.access_rules
        if rules is not None:
            rules = tuple(rule for rule in rules if rule.service == self._settings.service_type)
        return {
            "user_id": facts.user_id,
            "user_domain_id": facts.user_domain_id,
            "project_id": facts.project_id,
            "project_domain_id": facts.project_domain_id,
            "domain_id": facts.domain_id,
            "system_scope": facts.system_scope,
            "is_admin_project": facts.is_admin_project,
            "roles": roles,
            "is_admin": "admin" in roles,
            "access_rules": rules,
        }


def _vouched_for_by(service: _Known) -> dict[str, Any]:
    """What a service adds to the context of its caller."""
    values = service.values
    return {
        "service_roles": values["roles"],
        "service_user_id": values["user_id"],
        "service_user_domain_id": values["user_domain_id"],
        "service_project_id": values["project_id"],
        "service_project_domain_id": values["project_domain_id"],
    }
