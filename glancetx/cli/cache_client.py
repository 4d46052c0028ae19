"""A small client of the API of the image cache, for the command line. It waits for its answers."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from attrs import field, frozen

PATIENCE: Final = 600.0
TARGETS: Final = {"cached": "cache", "queued": "queue"}


class Refused(Exception):
    """The service does not do it; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(Exception):
    """No answer, or none that can be understood."""


@frozen(kw_only=True)
class Login:
    """Who asks: *headers* that say so, or a *request* to *auth_url*, whose answer has a token."""

    headers: Mapping[str, str] = field(factory=dict, repr=False)
    auth_url: str | None = None
    request: Mapping[str, Any] = field(factory=dict, repr=False)


def choose_login(
    *,
    token: str | None,
    auth_url: str | None,
    user: str | None,
    password: str | None,
    project_id: str | None,
    project_name: str | None,
    user_domain: str,
    project_domain: str,
) -> Login:
    """A token, if there is one; Keystone's, if that is named; else HTTP Basic, or nothing at all."""
    if token:
        return Login(headers={"X-Auth-Token": token})
    if not user or password is None:
        return Login()
    if not auth_url:
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        return Login(headers={"Authorization": f"Basic {basic}"})
    account = {"name": user, "password": password, "domain": {"id": user_domain}}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": account}}}
    if project_id:
        auth["scope"] = {"project": {"id": project_id}}
    elif project_name:
        auth["scope"] = {"project": {"name": project_name, "domain": {"id": project_domain}}}
    base = auth_url.rstrip("/")
    return Login(auth_url=f"{base if base.endswith('/v3') else f'{base}/v3'}/auth/tokens", request={"auth": auth})


class CacheClient:
    """Asks the service at *url*.

    Every method raises Refused or Unreachable.
    """

    def __init__(self, url: str, login: Login, insecure: bool = False, cacert: str | None = None) -> None:
        self._url, self._login = url, login
        try:
            self._tls = ssl.create_default_context(cafile=cacert)
        except OSError as error:
            raise Unreachable(f"{cacert} cannot be read: {error}") from error
        if insecure:
            self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        self._headers: dict[str, str] | None = None

    def cached(self) -> list[dict[str, Any]]:
        return list(self._listed("cached"))

    def queued(self) -> list[str]:
        return list(self._listed("queued"))

    def queue(self, image_id: str) -> None:
        self._either(("PUT", f"/v2/queued_images/{image_id}"), ("PUT", f"/v2/cache/{image_id}"))

    def delete(self, kind: str, image_id: str) -> None:
        """*kind*: ``cached`` or ``queued``. A service without the old paths forgets both."""
        self._either(("DELETE", f"/v2/{kind}_images/{image_id}"), ("DELETE", f"/v2/cache/{image_id}"))

    def clear(self, kind: str) -> int | None:
        """How many these were, if the service says so."""
        target = {"x-image-cache-clear-target": TARGETS[kind]}
        answer = self._either(("DELETE", f"/v2/{kind}_images"), ("DELETE", "/v2/cache"), target)
        return None if answer is None else int(answer["num_deleted"])

    def maintain(self, what: str) -> Any:
        """*what*: ``prune`` or ``clean``."""
        return self._ask("POST", f"/v2/cache/{what}")

    def _listed(self, kind: str) -> Any:
        return self._either(("GET", f"/v2/{kind}_images"), ("GET", "/v2/cache"))[f"{kind}_images"]

    def _either(self, old: tuple[str, str], new: tuple[str, str], headers: Mapping[str, str] | None = None) -> Any:
        """What the old path says, or the new one if there is no old one."""
        try:
            return self._ask(*old)
        except Refused as error:
            if error.status != 404:
                raise
        return self._ask(*new, headers or {})

    def _ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Any:
        if self._headers is None:
            self._headers = self._log_in()
        sent = {"Accept": "application/json", **self._headers, **(headers or {})}
        return self._send(method, f"{self._url}{path}", sent)[1]

    def _log_in(self) -> dict[str, str]:
        if self._login.auth_url is None:
            return dict(self._login.headers)
        body = json.dumps(self._login.request).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        token = self._send("POST", self._login.auth_url, headers, body)[0].get("X-Subject-Token")
        if not token:
            raise Unreachable("Keystone has answered without a token")
        return {"X-Auth-Token": token}

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> tuple[Any, Any]:
        """Headers and document of the answer."""
        if not url.startswith(("http://", "https://")):
            raise Unreachable(f"{url} is no URL of a service")
        request = Request(url, body, dict(headers), method=method)  # noqa: S310 - looked at above
        try:
            with urlopen(request, timeout=PATIENCE, context=self._tls) as answer:  # noqa: S310 - looked at above
                text = answer.read()
                return answer.headers, json.loads(text) if text else None
        except HTTPError as error:
            with error:
                raise Refused(error.code, _message(error)) from error
        except (URLError, OSError, HTTPException, ValueError) as error:
            raise Unreachable(f"{request.host}: {getattr(error, 'reason', error)}") from error


def _message(error: HTTPError) -> str:
    """What a service says of an error, in one line."""
    if error.code == 401:
        return "Not authorized to make this request."
    try:
        said = json.loads(error.read())["message"]
    except (ValueError, KeyError, TypeError, OSError):
        return f"{error.code} {error.reason}"
    return " ".join(str(said).replace("<br />", " ").split())
