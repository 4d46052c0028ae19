"""Who asks: the identity and rights that travel with one request."""

from __future__ import annotations

from attrs import field, frozen

from glancetx.domain.access_rules import AccessRule


@frozen(kw_only=True)
class RequestContext:
    """One authenticated request.

    *roles* are lower case. *is_admin* is the answer of the policy rule ``context_is_admin``. *token* is what the
    caller showed, for calls made on its behalf; it never appears in a log. *read_only* marks an anonymous caller.

    A caller acts for a project, or, if it has one of these, for a domain (*domain_id*) or the whole cloud
    (*system_scope*). *service_roles* and its neighbours describe a service that vouches for the caller, if a valid
    service token came along. *access_rules* None: what the roles allow; else only requests that one of them names.
    """

    request_id: str = ""
    user_id: str | None = None
    project_id: str | None = None
    roles: frozenset[str] = frozenset()
    is_admin: bool = False
    read_only: bool = False
    user_domain_id: str | None = None
    project_domain_id: str | None = None
    token: str | None = field(default=None, repr=False)
    domain_id: str | None = None
    system_scope: str | None = None
    is_admin_project: bool = True
    service_roles: frozenset[str] = frozenset()
    service_user_id: str | None = None
    service_user_domain_id: str | None = None
    service_project_id: str | None = None
    service_project_domain_id: str | None = None
    access_rules: tuple[AccessRule, ...] | None = None


def service_context(request_id: str = "") -> RequestContext:
    """The context of the service's own work (sweeps, audits): an admin without a project."""
    return RequestContext(request_id=request_id, is_admin=True, roles=frozenset({"admin"}))
