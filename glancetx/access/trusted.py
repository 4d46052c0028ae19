"""Who is asking, by headers of a proxy that has asked already: Glance's ``context`` behind an authenticator of others.

Whoever reaches this service can write these headers, so nobody but the proxy may reach it (C-150).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from zope.interface import implementer

from glancetx.access.open import stranger
from glancetx.domain.context import RequestContext
from glancetx.interfaces import HeaderReader, IAuthenticator


@implementer(IAuthenticator)
class TrustedAuthenticator:
    """Believes ``X-Identity-Status: Confirmed`` and what stands beside it.

    *login_uri* is told to those who are turned away; *anonymous*: nobody is, but they may only read. *is_admin* decides
    who is an administrator (the policy rule ``context_is_admin``).
    """

    def __init__(self, is_admin: Callable[[RequestContext], bool], *, login_uri: str | None, anonymous: bool) -> None:
        self.challenge = "" if login_uri is None else f'Keystone uri="{login_uri}"'
        self._is_admin, self._anonymous = is_admin, anonymous

    async def identify(self, header: HeaderReader, request_id: str) -> RequestContext:
        """The context that the headers describe. :raises NotAuthenticated: if they confirm nobody."""
        if header("x-identity-status") != "Confirmed":
            return stranger(request_id, self.challenge, allowed=self._anonymous)
        context = RequestContext(
            request_id=request_id,
            user_id=_first(header, "x-user-id", "x-user"),
            user_domain_id=_first(header, "x-user-domain-id"),
            project_id=_project(header),
            project_domain_id=_first(header, "x-project-domain-id"),
            domain_id=_first(header, "x-domain-id"),
            system_scope=_first(header, "openstack-system-scope"),
            is_admin_project=(header("x-is-admin-project") or "true").lower() == "true",
            roles=_roles(_first(header, "x-roles", "x-role")),
            token=_first(header, "x-auth-token", "x-storage-token"),
            **_service(header),
        )
        return evolve(context, is_admin=True) if self._is_admin(context) else context


def _service(header: HeaderReader) -> dict[str, Any]:
    """The service that vouches for the caller, unless it was found to be none."""
    if (header("x-service-identity-status") or "Confirmed") != "Confirmed":
        return {}
    return {
        "service_roles": _roles(header("x-service-roles")),
        "service_user_id": _first(header, "x-service-user-id"),
        "service_user_domain_id": _first(header, "x-service-user-domain-id"),
        "service_project_id": _first(header, "x-service-project-id"),
        "service_project_domain_id": _first(header, "x-service-project-domain-id"),
    }


def _project(header: HeaderReader) -> str | None:
    """Empty where the headers are: None owns nothing, and an image of nobody's is one for everybody."""
    names = ("x-project-id", "x-tenant-id", "x-tenant")
    told = [value for name in names if (value := header(name)) is not None]
    return next(filter(None, told), "") if told else None


def _first(header: HeaderReader, *names: str) -> str | None:
    """The first of these headers that says something."""
    return next((value for name in names if (value := header(name))), None)


def _roles(names: str | None) -> frozenset[str]:
    return frozenset(name for each in (names or "").split(",") if (name := each.strip().lower()))
