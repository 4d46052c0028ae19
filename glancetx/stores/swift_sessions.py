"""Who we are at Swift: tokens, where an account's storage is, and which account a location is read with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from attrs import evolve, field, frozen
from twisted.internet.interfaces import IReactorTime

from glancetx.config.settings import ClientTlsSettings, Credentials, KeystoneSettings
from glancetx.config.store_settings import SwiftAccount, SwiftSettings
from glancetx.domain.errors import DataNotFound, IdentityUnavailable, StoreUnavailable, TooBusy
from glancetx.keystone import Keystone, Malformed, OwnToken
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.exchange import Connections, Exchange
from glancetx.runtime.sharing import SharedCall
from glancetx.stores.uri import ObjectPlace

ATTEMPTS: Final = 3  # connections tried to the authentication service
TIMEOUT: Final = 30.0  # seconds it may take to log in
REMEMBERED: Final = 64  # accounts that only locations know


@frozen
class Entry:
    """What opens an account for some time: a token and the storage's URL. *badge* is whatever gave it.

    *project* is the one whose storage that is, if anybody knows. The token may be shown at *origins* and nowhere else.
    *borrowed*: it is a caller's.
    """

    token: str = field(repr=False)
    url: str
    badge: Any = None
    project: str | None = None
    origins: frozenset[str] = frozenset()
    borrowed: bool = False


class KeystoneSession:
    """Entries from Keystone; *endpoint* replaces the catalog's."""

    def __init__(self, account: SwiftAccount, settings: SwiftSettings, exchange: Exchange, clock: IReactorTime) -> None:
        self._settings, self._clock = settings, clock
        keystone = KeystoneSettings(
            credentials=credentials_of(account), interface=settings.interface, region_name=settings.region
        )
        self._keystone = Keystone(keystone, exchange, clock)
        self._entry: Entry | None = None

    async def enter(self) -> Entry:
        """An entry that is valid for a while. :raises StoreUnavailable: if there is none."""
        settings = self._settings
        try:
            own = await self._keystone.token()
            if own.expires_at - self._clock.seconds() < settings.least_life:
                self._keystone.forget(own)
                own = await self._keystone.token()
            if self._entry is None or self._entry.badge is not own:
                self._entry = self._opened_by(own)
            return self._entry
        except (IdentityUnavailable, TooBusy, Malformed) as error:
            raise StoreUnavailable("Swift's identity service is not available") from error

    def _opened_by(self, own: OwnToken) -> Entry:
        settings = self._settings
        url = settings.endpoint or own.catalog.endpoint(settings.service_type, settings.interface, settings.region)
        if url is None:
            raise StoreUnavailable(f"The catalog has no {settings.interface} endpoint of {settings.service_type}")
        for name in ("%(project_id)s", "%(tenant_id)s"):
            url = url.replace(name, own.project_id or "")
        origins = frozenset(map(origin, [url, *own.catalog.urls(settings.service_type)]))
        return Entry(own.text, url.rstrip("/"), own, own.project_id, origins)

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
        self._entry = Entry(token, url.rstrip("/"), origins=frozenset([origin(url)]))
        return self._entry

    def forget(self, entry: Entry) -> None:
        if self._entry is entry:
            self._entry = None


class ForeignSession:
    """Entries to a storage that is not our own account's: with the *token* of a caller as long as that is accepted,
    then with our own. *place* tells its URL, by an entry of our own.
    """

    def __init__(self, session: Session, place: Callable[[Entry], str], token: str | None = None) -> None:
        self._session, self._place, self._token = session, place, token

    async def enter(self) -> Entry:
        """An entry. :raises StoreUnavailable: if there is none, or our own Swift does not have such a storage."""
        own = await self._session.enter()
        url = self._place(own)
        if origin(url) not in own.origins:  # anybody may write locations: nobody else shall be shown a token
            raise StoreUnavailable("The location is in a Swift that is not in our catalog")
        return Entry(self._token or own.token, url, own, borrowed=self._token is not None)

    def forget(self, entry: Entry) -> None:
        """Its token was not accepted, or may not do what was asked for."""
        if entry.borrowed:
            self._token = None
        else:
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

    def of_project(self, project: str | None, token: str | None) -> Session:
        """The session of the storage of a project, or of our own if there is none; see `ForeignSession`."""
        return ForeignSession(self.default, lambda own: storage_of(own, project), token)

    def reading(self, place: ObjectPlace, token: str | None = None) -> Session:
        """The session that opens a location (S-070, S-071); *token* is for those that name a storage.

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
            return ForeignSession(self.default, lambda own: address, token)
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


def storage_of(own: Entry, project: str | None) -> str:
    """The URL of the storage of *project*: as ours, but for its id.

    :raises StoreUnavailable: if ours does not tell how that would be.
    """
    if project is None or project == own.project:
        return own.url
    if not own.project or own.project not in own.url:
        raise StoreUnavailable("Swift's endpoint does not name the project, so there is no way to those of others")
    return own.url.replace(own.project, project)


def origin(url: str) -> str:
    """The server that *url* leads to, and how it is spoken to."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


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
