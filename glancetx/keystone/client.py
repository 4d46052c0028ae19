"""One Keystone, spoken to as ourselves: our own token is got, kept and renewed as it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glancetx.config.settings import KeystoneSettings
from glancetx.domain.errors import IdentityUnavailable
from glancetx.keystone.documents import (
    Catalog,
    Malformed,
    OwnToken,
    TokenFacts,
    login,
    read_catalog,
    read_own_token,
    read_token,
)
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.exchange import Exchange, Reply
from glancetx.runtime.sharing import SharedCall

RENEW_BEFORE: Final = 60.0  # seconds before its end at which our token is renewed; a tenth of its life if that is less
AFTER_REFUSAL: Final = 10.0  # seconds for which a refused login is not repeated, lest our account be locked
UNAVAILABLE: Final = "The identity service is not available; try again"

_log = Logger()


@frozen
class _Session:
    """Our token, and when it wants to be renewed (seconds since the epoch)."""

    own: OwnToken
    renew_at: float


class Keystone:
    """Requests to Keystone, or to any service of its catalog, under our own account.

    *clock* tells seconds since the epoch. Nothing is asked before the first request, so that a service can start while
    its Keystone is down.

    :raises ConfigurationError: if the account's credentials are not complete.
    """

    def __init__(self, settings: KeystoneSettings, exchange: Exchange, clock: IReactorTime) -> None:
        self._settings, self._exchange, self._clock = settings, exchange, clock
        self._root = versioned(settings.credentials.auth_url)
        self._login = login(settings.credentials)
        self._session: _Session | None = None
        self._logging_in: SharedCall[OwnToken] | None = None
        self._refused_until = float("-inf")
        self._failing = False

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, document: Any = None
    ) -> Reply:
        """Send a request with our token; every status but 401 is for the caller to judge.

        *url* is whole, or begins with a slash and goes on behind ``/v3`` of the identity service. A token that is not
        accepted is renewed once.

        :raises IdentityUnavailable: if there is no answer, no token for us, or none that is accepted.
        :raises TooBusy: if too many requests are waiting already.
        """
        reply = None
        for _ in range(2):
            own = await self.token()
            reply = await self._send(
                method, self._absolute(url, own), {**(headers or {}), "X-Auth-Token": own.text}, document
            )
            if reply.status != 401:
                return reply
            self.forget(own)
        raise self._trouble("a new token of ours is not accepted")

    async def validate(self, token: str, *, allow_expired: bool = False) -> TokenFacts | None:
        """What Keystone knows about *token*; None if it is not valid.

        *allow_expired*: also one that ended not long ago (Keystone's ``allow_expired_window``). *token* has to be text
        that can stand in a header.

        :raises IdentityUnavailable, TooBusy: as `request`.
        """
        url = "/auth/tokens?nocatalog=1" + ("&allow_expired=1" if allow_expired else "")
        # without this header Keystone does not know tokens that are restricted to some requests
        asked = {"X-Subject-Token": token, "OpenStack-Identity-Access-Rules": "1"}
        reply = await self.request("GET", url, headers=asked)
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise self._trouble(f"status {reply.status} to the validation of a token")
        try:
            return read_token(reply.document())
        except (Malformed, NoAnswer) as error:
            raise self._trouble(str(error)) from error

    async def endpoint(self, service_type: str, interface: str | None = None, region: str | None = None) -> str | None:
        """Where a service is, by the catalog that came with our token; None if it is not there.

        :raises IdentityUnavailable, TooBusy: as `request`.
        """
        return self._place(await self.token(), service_type, interface, region)

    async def catalog(self, token: str) -> Catalog | None:
        """Where the services are that somebody else's *token* opens; None if it is not valid.

        :raises IdentityUnavailable, TooBusy: as `request`.
        """
        url = self._absolute("/auth/catalog", await self.token())
        reply = await self._send("GET", url, {"X-Auth-Token": token}, None)
        if reply.status == 401:
            return None
        if reply.status != 200:
            raise self._trouble(f"status {reply.status} to the request for a catalog")
        try:
            return read_catalog(reply.document())
        except (Malformed, NoAnswer) as error:
            raise self._trouble(str(error)) from error

    async def token(self) -> OwnToken:
        """Our own token, valid for some time yet. Those who ask at the same time wait for one login.

        :raises IdentityUnavailable, TooBusy: as `request`.
        """
        session = self._session
        if session is not None and self._clock.seconds() < session.renew_at:
            return session.own
        if self._logging_in is None or not self._logging_in.running:
            self._logging_in = SharedCall(self._log_in())
        return await self._logging_in.result()

    async def _log_in(self) -> OwnToken:
        if self._clock.seconds() < self._refused_until:
            raise IdentityUnavailable(UNAVAILABLE)
        reply = await self._send("POST", f"{self._root}/auth/tokens", {}, self._login)
        now = self._clock.seconds()
        text = reply.header("X-Subject-Token")
        if reply.status != 201 or text is None:
            self._refused_until = now + (AFTER_REFUSAL if reply.status < 500 else 0)
            raise self._trouble(f"status {reply.status} to the login of our own account")
        try:
            own = read_own_token(text, reply.document())
        except (Malformed, NoAnswer) as error:
            raise self._trouble(str(error)) from error
        self._session = _Session(own, own.expires_at - min(RENEW_BEFORE, (own.expires_at - now) / 10))
        return own

    def forget(self, own: OwnToken) -> None:
        """Get another token for the next request: this one was not accepted somewhere."""
        if self._session is not None and self._session.own is own:
            self._session = None

    def _absolute(self, url: str, own: OwnToken) -> str:
        if not url.startswith("/"):
            return url
        found = self._place(own, "identity")
        return (self._root if found is None else versioned(found)) + url

    def _place(
        self, own: OwnToken, service_type: str, interface: str | None = None, region: str | None = None
    ) -> str | None:
        settings = self._settings
        try:
            return own.catalog.endpoint(service_type, interface or settings.interface, region or settings.region_name)
        except Malformed as error:
            raise self._trouble(f"an odd catalog: {error}") from error

    async def _send(self, method: str, url: str, headers: Mapping[str, str], document: Any) -> Reply:
        try:
            reply = await self._exchange.request(method, url, headers, document)
        except NoAnswer as error:
            raise self._trouble(str(error)) from error
        if self._failing and reply.status < 400:
            self._failing = False
            _log.info("Keystone answers again")
        return reply

    def _trouble(self, reason: str) -> IdentityUnavailable:
        """Log what is wrong, once as long as it lasts; what the client is told says less."""
        level = _log.debug if self._failing else _log.error
        self._failing = True
        level("Keystone does not answer as it should: {reason}", reason=reason)
        return IdentityUnavailable(UNAVAILABLE)


def versioned(url: str) -> str:
    """The root of the API's version 3 of a Keystone whose URL is *url*, with any version or none."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    for version in ("/v3", "/v2.0"):
        path = path.removesuffix(version)
    return urlunsplit((parts.scheme, parts.netloc, f"{path}/v3", "", ""))
