"""A Keystone in memory: logins, tokens and their validation, as twisted.web resource for treq's StubTreq or any Site.

What it answers is what a real one answers; tests/integration/test_keystone.py holds both to the same suite.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from attrs import field, frozen
from twisted.web.resource import Resource

DOMAIN: Final = {"id": "default", "name": "Default"}
PASSWORD: Final = "secret"  # noqa: S105 - of every account
ENDPOINT: Final = {
    "id": "image-endpoint",
    "service_id": "image-service",
    "region_id": "RegionOne",
    "interface": "public",
}
EXPIRED_WINDOW: Final = 172800  # seconds for which an expired token can still be looked at, on request


@frozen(kw_only=True)
class Account:
    """A user, or an application credential of one, with *roles* in *scope* (``{"project": ...}``, ``{}``: none)."""

    name: str
    scope: dict[str, Any] = field(factory=dict)
    roles: tuple[str, ...] = ()
    access_rules: tuple[dict[str, str], ...] | None = None


def project(name: str) -> dict[str, Any]:
    """The scope of the project of that name; its id is made from it."""
    return {"project": {"id": f"{name}-id", "name": name, "domain": DOMAIN}}


class FakeKeystone(Resource):
    """Keystone's API v3 as far as `glancetx.keystone` uses it. *seconds* tells the time, since the epoch.

    *broken*, if it is not None, is the status of every answer. *requests* are those that came, as method and path.
    *catalog* is what comes with tokens. *registered* are limits by their resources, *overrides* those of projects, and
    *model* is how they are enforced; they are those of a service with one endpoint, `ENDPOINT`.
    """

    isLeaf = True

    def __init__(self, seconds: Callable[[], float], lifetime: float = 3600) -> None:
        super().__init__()
        self.seconds, self.lifetime = seconds, lifetime
        self.broken: int | None = None
        self.requests: list[tuple[str, str]] = []
        self.catalog: list[dict[str, Any]] = []
        self.registered: dict[str, int] = {}
        self.overrides: dict[str, dict[str, int]] = {}
        self.model = "flat"
        self._accounts: dict[str, Account] = {}
        self._tokens: dict[str, dict[str, Any]] = {}

    def add(
        self,
        name: str,
        scope: dict[str, Any] | None = None,
        roles: Iterable[str] = (),
        access_rules: Iterable[dict[str, str]] | None = None,
    ) -> Account:
        """A new account, whose password is `PASSWORD`."""
        rules = None if access_rules is None else tuple(access_rules)
        account = Account(name=name, scope=scope or {}, roles=tuple(roles), access_rules=rules)
        self._accounts[name] = account
        return account

    def issue(self, name: str) -> str:
        """A new token of that account."""
        account = self._accounts[name]
        text = f"gAAAAA{secrets.token_urlsafe(24)}"
        token: dict[str, Any] = {
            "methods": ["password"],
            "user": {"id": f"{name}-id", "name": name, "domain": DOMAIN, "password_expires_at": None},
            "audit_ids": [secrets.token_urlsafe(16)],
            "expires_at": _written(self.seconds() + self.lifetime),
            "issued_at": _written(self.seconds()),
            "roles": [{"id": f"{role}-id", "name": role} for role in account.roles],
            **account.scope,
        }
        if account.access_rules is not None:
            token["application_credential"] = {"id": f"{name}-cred", "access_rules": list(account.access_rules)}
        self._tokens[text] = token
        return text

    def revoke(self, text: str) -> None:
        """Let a token be unknown from now on."""
        del self._tokens[text]

    def render(self, request: Any) -> bytes:
        path = request.path.decode()
        self.requests.append((request.method.decode(), path))
        status, document, headers = self._answer(request, path)
        request.setResponseCode(status)
        request.setHeader(b"Content-Type", b"application/json")
        for name, value in headers.items():
            request.setHeader(name.encode(), value.encode())
        return json.dumps(document).encode()

    def _answer(self, request: Any, path: str) -> tuple[int, Any, dict[str, str]]:
        if self.broken is not None:
            return (self.broken, _problem(self.broken), {})
        if path.endswith("/v3/auth/tokens") and request.method == b"POST":
            return self._log_in(json.loads(request.content.read()))
        if not self._valid(_header(request, "x-auth-token")):
            return (401, _problem(401), {})
        if path.endswith("/v3/auth/tokens") and request.method == b"GET":
            return self._validate(request)
        if path.endswith("/v3/auth/catalog") and request.method == b"GET":
            return (200, {"catalog": self.catalog, "links": {}}, {})
        found = self._limits(request, path.partition("/v3/")[2])
        return (404, _problem(404), {}) if found is None else (200, found, {})

    def _limits(self, request: Any, path: str) -> dict[str, Any] | None:
        service = {"id": ENDPOINT["service_id"], "type": "image", "name": "glance"}
        asked = {name.decode(): values[0].decode() for name, values in request.args.items()}
        own = self.overrides.get(asked.get("project_id", ""), {})
        answers: dict[str, dict[str, Any]] = {
            "limits/model": {"model": {"name": self.model, "description": ""}},
            f"endpoints/{ENDPOINT['id']}": {"endpoint": ENDPOINT},
            "services": {"services": _fitting([service], asked)},
            "endpoints": {"endpoints": _fitting([ENDPOINT], asked)},
            "registered_limits": {
                "registered_limits": _fitting(
                    [_limit(name, default_limit=number) for name, number in self.registered.items()], asked
                )
            },
            "limits": {
                "limits": _fitting(
                    [
                        _limit(name, resource_limit=number, project_id=asked.get("project_id"))
                        for name, number in own.items()
                    ],
                    asked,
                )
            },
        }
        return answers.get(path)

    def _log_in(self, document: Any) -> tuple[int, Any, dict[str, str]]:
        identity = document["auth"]["identity"]
        (method,) = identity["methods"]
        shown = identity[method].get("user", {}) | identity[method]
        secret = shown.get("secret") or shown["user"]["password"]
        name = shown.get("name") or shown.get("id", "").removesuffix("-id")
        account = self._accounts.get(name)
        if account is None or secret != PASSWORD:
            return (401, _problem(401), {})
        text = self.issue(name)
        token = self._tokens[text] | {"catalog": self.catalog}
        return (201, {"token": token}, {"X-Subject-Token": text})

    def _validate(self, request: Any) -> tuple[int, Any, dict[str, str]]:
        token = self._tokens.get(_header(request, "x-subject-token"))
        if token is None or not self._alive(token, b"allow_expired" in request.args):
            return (404, _problem(404), {})
        restricted = token.get("application_credential", {}).get("access_rules") is not None
        if restricted and not _header(request, "openstack-identity-access-rules"):
            return (404, _problem(404), {})
        with_catalog = b"nocatalog" not in request.args and bool(token["roles"])
        return (200, {"token": token | ({"catalog": self.catalog} if with_catalog else {})}, {})

    def _valid(self, text: str) -> bool:
        token = self._tokens.get(text)
        return token is not None and self._alive(token, expired=False)

    def _alive(self, token: dict[str, Any], expired: bool) -> bool:
        end = datetime.fromisoformat(token["expires_at"]).timestamp()
        return self.seconds() < end + (EXPIRED_WINDOW if expired else 0)


def _limit(resource: str, **values: Any) -> dict[str, Any]:
    place = {"service_id": ENDPOINT["service_id"], "region_id": ENDPOINT["region_id"]}
    return {"id": f"{resource}-id", "resource_name": resource, **place, **values}


def _fitting(entries: list[dict[str, Any]], asked: dict[str, str]) -> list[dict[str, Any]]:
    return [entry for entry in entries if all(entry.get(name) == value for name, value in asked.items())]


def _header(request: Any, name: str) -> str:
    return (request.getHeader(name) or "").strip()


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _problem(status: int) -> dict[str, Any]:
    return {"error": {"code": status, "title": "Error", "message": f"status {status}"}}
