"""Identifying callers by headers of an authenticating proxy, as Glance's ``context`` filter reads them (C-150)."""

from __future__ import annotations

import pytest
import pytest_twisted
from zope.interface.verify import verifyObject

from glancetx.access.trusted import TrustedAuthenticator
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import NotAuthenticated
from glancetx.interfaces import IAuthenticator

CONFIRMED = {"X-Identity-Status": "Confirmed", "X-User-Id": "u", "X-Project-Id": "p", "X-Roles": "Member,reader"}


async def identify(given: dict[str, str], anonymous: bool = False) -> RequestContext:
    values = {name.lower(): value for name, value in given.items()}
    authenticator = TrustedAuthenticator(lambda c: "admin" in c.roles, login_uri="http://ks", anonymous=anonymous)
    return await authenticator.identify(lambda name: values.get(name.lower()), "req-1")


def test_the_interface_is_provided() -> None:
    """It is an IAuthenticator; it names a place to log in if there is one."""
    with_place = TrustedAuthenticator(lambda context: False, login_uri="http://ks", anonymous=False)
    without = TrustedAuthenticator(lambda context: False, login_uri=None, anonymous=False)
    assert verifyObject(IAuthenticator, with_place)
    assert (with_place.challenge, without.challenge) == ('Keystone uri="http://ks"', "")


@pytest_twisted.ensureDeferred
async def test_headers_make_a_context() -> None:
    """Everything that a policy can ask for is taken from them."""
    more = {
        "X-User-Domain-Id": "ud",
        "X-Project-Domain-Id": "pd",
        "X-Auth-Token": "t",
        "X-Is-Admin-Project": "False",
        "X-Service-Identity-Status": "Confirmed",
        "X-Service-Roles": "Service, reader,",
        "X-Service-User-Id": "su",
        "X-Service-User-Domain-Id": "sud",
        "X-Service-Project-Id": "sp",
        "X-Service-Project-Domain-Id": "spd",
    }
    assert await identify(CONFIRMED | more) == RequestContext(
        request_id="req-1",
        user_id="u",
        user_domain_id="ud",
        project_id="p",
        project_domain_id="pd",
        roles=frozenset({"member", "reader"}),
        token="t",
        is_admin_project=False,
        service_roles=frozenset({"service", "reader"}),
        service_user_id="su",
        service_user_domain_id="sud",
        service_project_id="sp",
        service_project_domain_id="spd",
    )


@pytest.mark.parametrize(
    ("headers", "field", "value"),
    [
        ({"X-Project-Id": "", "X-Tenant-Id": "t"}, "project_id", "t"),
        ({"X-Tenant-Id": "t"}, "project_id", "p"),
        ({"X-Project-Id": "", "X-Tenant": "t"}, "project_id", "t"),
        ({"X-Project-Id": ""}, "project_id", ""),
        ({"X-User-Id": "", "X-User": "v"}, "user_id", "v"),
        ({"X-Roles": "", "X-Role": "Admin"}, "roles", frozenset({"admin"})),
        ({"X-Roles": "Admin"}, "is_admin", True),
        ({"X-Roles": ""}, "roles", frozenset()),
        ({"OpenStack-System-Scope": "all"}, "system_scope", "all"),
        ({"X-Domain-Id": "d"}, "domain_id", "d"),
        ({"X-Storage-Token": "t"}, "token", "t"),
        ({"X-Service-Roles": "a"}, "service_roles", frozenset({"a"})),
        ({"X-Service-Roles": "a", "X-Service-Identity-Status": "Invalid"}, "service_roles", frozenset()),
        ({"X-Service-Catalog": "no json"}, "user_id", "u"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_names_of_old_and_special_cases(headers: dict[str, str], field: str, value: object) -> None:
    """Older headers count where the newer ones say nothing; a service that was found to be none counts as none."""
    assert getattr(await identify(CONFIRMED | headers), field) == value


@pytest.mark.parametrize("status", ["", "Invalid", "confirmed", "Confirmed "])
@pytest_twisted.ensureDeferred
async def test_only_confirmed_is_confirmed(status: str) -> None:
    """Everything else is a stranger, who may read where that is allowed."""
    headers = CONFIRMED | {"X-Identity-Status": status, "X-Roles": "admin"}
    with pytest.raises(NotAuthenticated) as caught:
        await identify(headers)
    assert caught.value.challenge == 'Keystone uri="http://ks"'
    assert await identify(headers, anonymous=True) == RequestContext(request_id="req-1", read_only=True)
