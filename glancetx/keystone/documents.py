"""What is written to Keystone and read from it, as values: the login, tokens, the catalog. No network here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import field, frozen

from glancetx.config.settings import Credentials
from glancetx.domain.access_rules import AccessRule
from glancetx.domain.errors import ConfigurationError


class Malformed(ValueError):
    """An answer that is not what Keystone's API promises."""


@frozen(kw_only=True)
class TokenFacts:
    """What Keystone says about a token. *expires_at*: seconds since the epoch; *roles*: as they are written there.

    *access_rules* None: everything the roles allow; else only what one of them names.
    """

    expires_at: float
    user_id: str | None = None
    user_domain_id: str | None = None
    project_id: str | None = None
    project_domain_id: str | None = None
    domain_id: str | None = None
    system_scope: str | None = None
    is_admin_project: bool = True
    roles: tuple[str, ...] = ()
    access_rules: tuple[AccessRule, ...] | None = None


@frozen
class Catalog:
    """Where the services are that a token opens, as Keystone lists them."""

    services: tuple[Any, ...] = ()

    def endpoint(self, service_type: str, interface: str, region: str | None = None) -> str | None:
        """The URL of a service, without a slash at its end; the first one that fits, whatever the case of the region.

        :raises Malformed: if the catalog is not what Keystone's API promises.
        """
        for service in self.services:
            if _text(service, "type") == service_type:
                for endpoint in _list(service, "endpoints"):
                    place = _text(endpoint, "region_id") or _text(endpoint, "region")
                    url = _text(endpoint, "url")
                    here = region is None or (place is not None and place.lower() == region.lower())
                    if _text(endpoint, "interface") == interface and here and url:
                        return url.rstrip("/")
        return None

    def urls(self, service_type: str) -> list[str]:
        """Every URL of a service, in whatever region. :raises Malformed: as `endpoint`."""
        services = (each for each in self.services if _text(each, "type") == service_type)
        found = (_text(endpoint, "url") for service in services for endpoint in _list(service, "endpoints"))
        return [url for url in found if url]


@frozen(kw_only=True)
class OwnToken:
    """A token of our own, and where the services are that it opens."""

    text: str = field(repr=False)
    expires_at: float
    catalog: Catalog = Catalog()
    project_id: str | None = None


def login(credentials: Credentials) -> dict[str, Any]:
    """The request for a token of our own.

    :raises ConfigurationError: if something is missing, or there are several scopes.
    """
    if credentials.application_credential_secret is not None:
        identity = {"methods": ["application_credential"], "application_credential": _application(credentials)}
    elif credentials.password is not None:
        user = {**_user(credentials), "password": credentials.password}
        identity = {"methods": ["password"], "password": {"user": user}}
    else:
        raise ConfigurationError("The account at Keystone has neither a password nor an application_credential_secret")
    scope = _scope(credentials)
    return {"auth": {"identity": identity} | ({} if scope is None else {"scope": scope})}


def _application(credentials: Credentials) -> dict[str, Any]:
    secret = {"secret": credentials.application_credential_secret}
    if credentials.application_credential_id is not None:
        return {"id": credentials.application_credential_id, **secret}
    if credentials.application_credential_name is None:
        raise ConfigurationError("The account at Keystone needs application_credential_id")
    return {"name": credentials.application_credential_name, "user": _user(credentials), **secret}


def _user(credentials: Credentials) -> dict[str, Any]:
    if credentials.user_id is not None:
        return {"id": credentials.user_id}
    if credentials.username is None:
        raise ConfigurationError("The account at Keystone needs username or user_id")
    return {
        "name": credentials.username,
        **_domain(credentials.user_domain_id, credentials.user_domain_name),
    }


def _domain(identifier: str | None, name: str | None) -> dict[str, Any]:
    if identifier is not None:
        return {"domain": {"id": identifier}}
    return {} if name is None else {"domain": {"name": name}}


def _scope(credentials: Credentials) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = []
    if credentials.project_id is not None:
        found.append({"project": {"id": credentials.project_id}})
    elif credentials.project_name is not None:
        domain = _domain(credentials.project_domain_id, credentials.project_domain_name)
        found.append({"project": {"name": credentials.project_name, **domain}})
    if credentials.domain_id is not None or credentials.domain_name is not None:
        found.append(_domain(credentials.domain_id, credentials.domain_name))
    if credentials.trust_id is not None:
        found.append({"OS-TRUST:trust": {"id": credentials.trust_id}})
    if credentials.system_scope is not None:
        if credentials.system_scope != "all":
            raise ConfigurationError("system_scope: only all is possible")
        found.append({"system": {"all": True}})
    if len(found) > 1:
        raise ConfigurationError("The account at Keystone has several scopes: a project, a domain, a trust or system")
    return found[0] if found else None


def read_own_token(text: str, document: Any) -> OwnToken:
    """:raises Malformed: if that is not Keystone's description of a token."""
    token = _mapping(document, "token")
    project = _text(_mapping(token, "project", optional=True), "id")
    return OwnToken(text=text, expires_at=_moment(token), catalog=read_catalog(token), project_id=project)


def read_catalog(document: Any) -> Catalog:
    """The catalog in an answer, empty if there is none. :raises Malformed: if it is no list."""
    return Catalog(tuple(_list(document, "catalog")))


def read_token(document: Any) -> TokenFacts:
    """What the answer to a validation says. :raises Malformed: if that is not Keystone's description of a token."""
    token = _mapping(document, "token")
    user, project, domain = (_mapping(token, name, optional=True) for name in ("user", "project", "domain"))
    return TokenFacts(
        expires_at=_moment(token),
        user_id=_text(user, "id"),
        user_domain_id=_text(_mapping(user, "domain", optional=True), "id"),
        project_id=_text(project, "id"),
        project_domain_id=_text(_mapping(project, "domain", optional=True), "id"),
        domain_id=_text(domain, "id"),
        system_scope="all" if _mapping(token, "system", optional=True).get("all") is True else None,
        is_admin_project=token.get("is_admin_project") is not False,
        roles=tuple(name for role in _list(token, "roles") if (name := _text(role, "name")) is not None),
        access_rules=_access_rules(_mapping(token, "application_credential", optional=True)),
    )


def _access_rules(credential: Mapping[str, Any]) -> tuple[AccessRule, ...] | None:
    if credential.get("access_rules") is None:
        return None
    rules = (
        tuple(_text(rule, name) or "" for name in ("service", "method", "path"))
        for rule in _list(credential, "access_rules")
    )
    return tuple(AccessRule(*rule) for rule in rules)


def _moment(token: Mapping[str, Any]) -> float:
    try:
        moment = datetime.fromisoformat(_text(token, "expires_at") or "")
    except ValueError as error:
        raise Malformed("a token without the time of its end") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _mapping(document: Any, name: str, *, optional: bool = False) -> Mapping[str, Any]:
    found = document.get(name) if isinstance(document, Mapping) else None
    if found is None and optional:
        return {}
    if not isinstance(found, Mapping):
        raise Malformed(f"no {name}")
    return found


def _list(document: Any, name: str) -> list[Any]:
    found = document.get(name) if isinstance(document, Mapping) else None
    if found is None:
        return []
    if not isinstance(found, list):
        raise Malformed(f"{name} is no list")
    return found


def _text(document: Any, name: str) -> str | None:
    found = document.get(name) if isinstance(document, Mapping) else None
    if found is not None and not isinstance(found, str):
        raise Malformed(f"{name} is no text")
    return found
