"""Who we are at Swift: tokens, where an account's storage is, and which account a location is read with."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime

from glancetx.config.settings import ClientTlsSettings, Credentials, KeystoneSettings
from glancetx.config.store_settings import SwiftAccount, SwiftSettings
from glancetx.domain.errors import DataNotFound, IdentityUnavailable, StoreUnavailable, TooBusy
from glancetx.keystone.client import Keystone
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.exchange import Connections, Exchange
from glancetx.runtime.sharing import SharedCall
from glancetx.stores.uri import ObjectPlace

ATTEMPTS: Final = 3  # connections tried to the authentication service
TIMEOUT: Final = 30.0  # seconds it may take to log in
REMEMBERED: Final = 64  # accounts that only locations know


@frozen
class Entry:
    """What opens an account for some time: a token and the storage's URL. *badge* is whatever gave it."""

    token: str
    url: str
    badge: Any = None


class KeystoneSession:
    """Entries from Keystone; *endpoint* replaces the catalog's."""

    def __init__(self, account: SwiftAccount, settings: SwiftSettings, exchange: Exchange, clock: IReactorTime) -> None:
        self._settings, self._clock = settings, clock
        keystone = KeystoneSettings(
            credentials=credentials_of(account), interface=settings.interface, region_name=settings.region
        )
        self._keystone = Keystone(keystone, exchange, clock)

    async def enter(self) -> Entry:
        """An entry that is valid for a while. :raises StoreUnavailable: if there is none."""
        settings = self._settings
        try:
            own = await self._keystone.token()
            if own.expires_at - self._clock.seconds() < settings.least_life:
                self._keystone.forget(own)
                own = await self._keystone.token()
            url = settings.endpoint or await self._keystone.endpoint(settings.service_type)
        except (IdentityUnavailable, TooBusy) as error:
            raise StoreUnavailable("Swift's identity service is not available") from error
        if url is None:
            raise StoreUnavailable(f"The catalog has no {settings.interface} endpoint of {settings.service_type}")
        return Entry(own.text, url.rstrip("/"), own)

    def forget(self, entry: Entry) -> None:
        """Its token was not accepted."""
        self._keystone.forget(entry.badge)


class OldSession:
    """Entries from an authentication of version 1, as Swift's own or Ceph's."""

    def __init__(self, account: SwiftAccount, settings: SwiftSettings, exchange: Exchange) -> None:
        self._account, self._settings, self._exchange = account, settings, exchange
        self._entry: Entry | None = None
        self._logging_in: SharedCall[Entry] | None = None

    async def enter(self) -> Entry:
        """An entry that was not refused yet. :raises StoreUnavailable: if there is none."""
        if self._entry is None:
            if self._logging_in is None or not self._logging_in.running:
                self._logging_in = SharedCall(self._log_in())
            return await self._logging_in.result()
        return self._entry

    async def _log_in(self) -> Entry:
        account = self._account
        headers = {"X-Auth-User": account.user or "", "X-Auth-Key": account.key or ""}
        try:
            reply = await self._exchange.request("GET", account.auth_address, headers)
        except (NoAnswer, TooBusy) as error:
            raise StoreUnavailable("Swift's authentication does not answer") from error
        token, url = reply.header("X-Auth-Token"), self._settings.endpoint or reply.header("X-Storage-Url")
        if reply.status >= 300 or not token or not url:
            raise StoreUnavailable(f"Swift's authentication refuses our account: {reply.status}")
        self._entry = Entry(token, url.rstrip("/"))
        return self._entry

    def forget(self, entry: Entry) -> None:
        if self._entry is entry:
            self._entry = None


class ForeignSession:
    """Entries to a storage that is not our own account's, with our own token; for locations of many tenants."""

    def __init__(self, session: Session, url: str) -> None:
        self._session, self._url = session, url

    async def enter(self) -> Entry:
        entry = await self._session.enter()
        return Entry(entry.token, self._url, entry)

    def forget(self, entry: Entry) -> None:
        self._session.forget(entry.badge)


Session = KeystoneSession | OldSession | ForeignSession


class SwiftSessions:
    """The sessions of one store: of the configured accounts, and of those whose credentials stand in locations."""

    def __init__(self, settings: SwiftSettings, reactor: Any, tls: ClientTlsSettings) -> None:
        self._settings, self._clock = settings, reactor
        self._connections = Connections(reactor, tls, TIMEOUT, ATTEMPTS)
        self._sessions: dict[SwiftAccount, Session] = {}

    async def close(self) -> None:
        """Close idle connections."""
        await self._connections.close()

    @property
    def default(self) -> Session:
        """The session of the account of new images."""
        return self._of(self._settings.accounts[self._settings.reference])

    def reading(self, place: ObjectPlace) -> Session:
        """The session that opens a location (S-070, S-071).

        Credentials in a location count only for a user that is not configured: who changes a password changes it in
        the configuration.

        :raises DataNotFound: if the location names an account that nobody knows.
        """
        settings = self._settings
        if place.scheme == "swift+config":
            if place.service not in settings.accounts:
                raise DataNotFound("The location names an account that is not configured")
            return self._of(settings.accounts[place.service])
        scheme = "http" if place.scheme == "swift+http" else "https"
        address = f"{scheme}://{place.service}"
        if place.credentials is None:
            return ForeignSession(self.default, address)
        user, _, key = unquote(place.credentials).rpartition(":")
        for account in settings.accounts.values():
            if account.user == user and account.auth_address.rstrip("/") == address.rstrip("/"):
                return self._of(account)
        known = settings.accounts[settings.reference]
        bare = evolve(known, application_credential_id=None, application_credential_secret=None)
        return self._of(evolve(bare, auth_address=address, user=user, key=key))

    def _of(self, account: SwiftAccount) -> Session:
        session = self._sessions.get(account)
        if session is None:
            while len(self._sessions) >= REMEMBERED:
                del self._sessions[next(iter(self._sessions))]
            if account.version == "1":
                session = OldSession(account, self._settings, self._connections.exchange)
            else:
                session = KeystoneSession(account, self._settings, self._connections.exchange, self._clock)
            self._sessions[account] = session
        return session


def credentials_of(account: SwiftAccount) -> Credentials:
    """An account in Keystone's words."""
    if account.application_credential_id is not None:
        return Credentials(
            auth_url=account.auth_address,
            application_credential_id=account.application_credential_id,
            application_credential_secret=account.application_credential_secret,
        )
    project, _, user = (account.user or "").partition(":")
    return Credentials(
        auth_url=account.auth_address,
        username=user,
        password=account.key,
        user_domain_id=account.user_domain_id,
        user_domain_name=account.user_domain_name,
        project_name=project,
        project_domain_id=account.project_domain_id,
        project_domain_name=account.project_domain_name,
    )
