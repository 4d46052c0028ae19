"""What a login looks like: the documents of Keystone's API for each kind of account and scope."""

from __future__ import annotations

from typing import Any

import pytest
from keystoneauth1.identity import v3

from glancetx.config.settings import Credentials
from glancetx.domain.errors import ConfigurationError
from glancetx.keystone.documents import login

URL = "http://ks/v3"
USER = {"username": "glance", "user_domain_name": "Default", "password": "secret"}


class Session:
    """Takes the place of keystoneauth's session: keeps what would be sent."""

    sent: Any = None

    def post(self, url: str, json: Any, **options: Any) -> Any:
        self.sent = json
        raise InterruptedError


def by_keystoneauth(plugin: Any) -> Any:
    """The document that keystoneauth sends."""
    session: Any = Session()
    with pytest.raises(InterruptedError):
        plugin.get_auth_ref(session)
    return session.sent


@pytest.mark.parametrize(
    "options",
    [
        USER,
        {**USER, "user_domain_id": "default", "project_id": "p"},
        {"user_id": "u", "password": "secret", "project_name": "service", "project_domain_id": "default"},
        {**USER, "project_name": "service", "project_domain_name": "Default"},
        {**USER, "domain_id": "d"},
        {**USER, "domain_name": "D"},
        {**USER, "system_scope": "all"},
        {**USER, "trust_id": "t"},
        {"username": "glance", "password": ""},
    ],
)
def test_passwords(options: dict[str, Any]) -> None:
    """The same document as keystoneauth's plugin v3password sends."""
    assert login(Credentials(auth_url=URL, **options)) == by_keystoneauth(v3.Password(URL, **options))


@pytest.mark.parametrize(
    "options",
    [
        {"application_credential_id": "a"},
        {"application_credential_name": "a", "username": "glance", "user_domain_name": "Default"},
        {"application_credential_name": "a", "user_id": "u"},
    ],
)
def test_application_credentials(options: dict[str, Any]) -> None:
    """The same document as keystoneauth's plugin v3applicationcredential sends."""
    options = {**options, "application_credential_secret": "secret"}
    assert login(Credentials(auth_url=URL, **options)) == by_keystoneauth(v3.ApplicationCredential(URL, **options))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "password"),
        ({"username": "glance"}, "password"),
        ({"password": "secret"}, "username"),
        ({"application_credential_secret": "secret"}, "application_credential_id"),
        ({"application_credential_secret": "secret", "application_credential_name": "x"}, "username"),
        ({**USER, "system_scope": "some"}, "system_scope"),
        ({**USER, "system_scope": "all", "project_id": "p"}, "scopes"),
        ({**USER, "trust_id": "t", "project_name": "p"}, "scopes"),
    ],
)
def test_what_is_missing_is_named(options: dict[str, Any], word: str) -> None:
    """And no secret is."""
    with pytest.raises(ConfigurationError, match=word) as caught:
        login(Credentials(auth_url=URL, **options))
    assert "secret" not in str(caught.value).replace("application_credential_secret", "")


def test_secrets_are_not_shown() -> None:
    """Neither password nor secret is in what a log would write."""
    shown = repr(Credentials(auth_url=URL, password="hidden", application_credential_secret="hidden"))
    assert "hidden" not in shown
