"""Who is asked for credentials, by the configuration: ``flavor``, ``[keystone_authtoken]`` and our own option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from glancetx.config.loading import load_settings
from glancetx.config.settings import AccessSettings, ClientTlsSettings, Credentials, KeystoneSettings, TokenSettings
from glancetx.domain.errors import ConfigurationError

ACCOUNT = """
    auth_type = password
    auth_url = http://ks:5000
    username = glance
    password = hidden
    user_domain_name = Default
    project_name = service
    project_domain_name = Default
"""


def access(tmp_path: Path, text: str) -> AccessSettings:
    file = tmp_path / "glance-api.conf"
    file.write_text("\n".join(line.strip() for line in text.splitlines()))
    return load_settings([file], environ={}, data_dir=tmp_path).access


def tokens(tmp_path: Path, options: str = "", **others: str) -> TokenSettings:
    groups = "".join(f"\n[{name}]\n{text}" for name, text in others.items())
    found = access(tmp_path, f"[paste_deploy]\nflavor = keystone\n[keystone_authtoken]\n{options}{groups}").tokens
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("flavor", "who"),
    [
        ("", "none"),
        ("caching", "none"),
        ("cachemanagement", "none"),
        ("keystone", "keystone"),
        ("keystone+caching", "keystone"),
        ("keystone+cachemanagement", "keystone"),
        ("trusted-auth", "trusted"),
        ("trusted-auth+caching", "trusted"),
        ("trusted-auth+cachemanagement", "trusted"),
    ],
)
def test_flavors(tmp_path: Path, flavor: str, who: str) -> None:
    """Glance's pipelines, and the one of old for an authenticating proxy."""
    text = f"[paste_deploy]\nflavor = {flavor}\n[keystone_authtoken]\n{ACCOUNT}"
    assert access(tmp_path, text).authentication == who


@pytest.mark.parametrize("flavor", ["mine", "keystone+mine", "caching+keystone", "keystone+caching+x", "Keystone"])
def test_other_flavors_are_refused(tmp_path: Path, flavor: str) -> None:
    """A pipeline that does not exist must not end in no authentication at all; our own option says what it is."""
    text = f"[paste_deploy]\nflavor = {flavor}\n"
    with pytest.raises(ConfigurationError, match="authentication"):
        access(tmp_path, text)
    assert access(tmp_path, f"{text}[glancetx]\nauthentication = trusted").authentication == "trusted"


def test_our_own_option_goes_first(tmp_path: Path) -> None:
    """Whatever the flavor is."""
    keystone = f"[paste_deploy]\nflavor = keystone\n[keystone_authtoken]\n{ACCOUNT}"
    for who in ("builtin", "none", "trusted", "keystone"):
        assert access(tmp_path, f"{keystone}\n[glancetx]\nauthentication = {who}").authentication == who


def test_without_any_configuration_there_are_accounts(tmp_path: Path) -> None:
    """The standalone service asks its own users to log in."""
    found = load_settings(environ={"OS_GLANCE_CONFIG_DIR": str(tmp_path)}, data_dir=tmp_path).access
    assert (found.authentication, found.accounts) == ("builtin", tmp_path / "accounts")


def test_defaults(tmp_path: Path) -> None:
    """Those of keystonemiddleware; a request to Keystone does not wait for ever."""
    assert tokens(tmp_path, ACCOUNT) == TokenSettings(
        keystone=KeystoneSettings(
            credentials=Credentials(
                auth_url="http://ks:5000",
                username="glance",
                password="hidden",
                user_domain_name="Default",
                project_name="service",
                project_domain_name="Default",
            ),
            interface="internal",
            timeout=30,
            retries=3,
        ),
        www_authenticate_uri="http://ks:5000",
        cache_time=300,
        service_token_roles=frozenset({"service"}),
        service_token_roles_required=True,
        service_type="image",
    )


def test_every_option_counts(tmp_path: Path) -> None:
    """What an operator writes reaches the settings."""
    options = """
        www_authenticate_uri = https://public/identity
        interface = public
        region_name = two
        cafile = /ca.pem
        certfile = /own.pem
        keyfile = /own.key
        insecure = true
        http_connect_timeout = 5
        http_request_max_retries = 1
        token_cache_time = 60
        service_token_roles = service, admin
        service_token_roles_required = false
        service_type = picture
    """
    found, plain = tokens(tmp_path, ACCOUNT + options), tokens(tmp_path, ACCOUNT)
    tls = ClientTlsSettings(cafile=Path("/ca.pem"), certfile=Path("/own.pem"), keyfile=Path("/own.key"), insecure=True)
    keystone = evolve(plain.keystone, interface="public", region_name="two", tls=tls, timeout=5.0, retries=1)
    assert found == TokenSettings(
        keystone=keystone,
        www_authenticate_uri="https://public/identity",
        cache_time=60,
        service_token_roles=frozenset({"service", "admin"}),
        service_token_roles_required=False,
        service_type="picture",
    )


@pytest.mark.parametrize("seconds", ["0", "-1"])
def test_remembering_can_be_turned_off(tmp_path: Path, seconds: str) -> None:
    """By -1, as in Glance; and by 0, which there means for ever."""
    assert tokens(tmp_path, f"{ACCOUNT}\ntoken_cache_time = {seconds}").cache_time == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("auth_type = v3password\nuser_id = u\npassword = x", {"user_id": "u", "password": "x"}),
        (
            "auth_type = v3applicationcredential\napplication_credential_id = a\napplication_credential_secret = s",
            {"application_credential_id": "a", "application_credential_secret": "s"},
        ),
        (
            "application_credential_id = a\napplication_credential_secret = s\npassword = ignored",
            {"application_credential_id": "a", "application_credential_secret": "s"},
        ),
        (
            "auth_plugin = password\nuser_name = g\npassword = x\ntenant_name = t",
            {"username": "g", "password": "x", "project_name": "t"},
        ),
        (
            "user-name = g\npassword = x\ntenant-id = t\nproject_domain_id = d",
            {"username": "g", "password": "x", "project_id": "t", "project_domain_id": "d"},
        ),
        (
            "auth_type = password\nusername = g\npassword = x\nproject_name = t\ndefault_domain_id = d",
            {
                "username": "g",
                "password": "x",
                "user_domain_id": "d",
                "project_name": "t",
                "project_domain_id": "d",
            },
        ),
        (
            "auth_type = v3password\nusername = g\npassword = x\nuser_domain_name = D\ndefault_domain_name = E",
            {"username": "g", "password": "x", "user_domain_name": "D"},
        ),
        ("username = g\npassword = x\nsystem_scope = all", {"username": "g", "password": "x", "system_scope": "all"}),
        ("username = g\npassword = x\ntrust_id = t", {"username": "g", "password": "x", "trust_id": "t"}),
        (
            "username = g\npassword = x\ndomain_name = D\nproject_domain_name = unused",
            {"username": "g", "password": "x", "domain_name": "D"},
        ),
    ],
)
def test_accounts(tmp_path: Path, options: str, expected: dict[str, Any]) -> None:
    """Passwords and application credentials, with the names of old."""
    found = tokens(tmp_path, f"auth_url = http://ks\n{options}").keystone.credentials
    assert found == Credentials(auth_url="http://ks", **expected)


def test_the_account_may_stand_elsewhere(tmp_path: Path) -> None:
    """``auth_section`` names the group."""
    found = tokens(tmp_path, "auth_section = our_account", our_account=ACCOUNT)
    assert found.keystone.credentials == tokens(tmp_path, ACCOUNT).keystone.credentials


def test_one_url_will_do(tmp_path: Path) -> None:
    """Where clients log in is where we do, if only one place is named."""
    account = ACCOUNT.replace("auth_url", "www_authenticate_uri")
    assert tokens(tmp_path, account) == tokens(tmp_path, ACCOUNT)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "auth_url is not set"),
        (ACCOUNT.replace("= password", "= v3kerberos"), "auth_type = v3kerberos"),
        (ACCOUNT + 'www_authenticate_uri = http://"', "www_authenticate_uri"),
        (ACCOUNT + "token_cache_time = soon", "token_cache_time"),
        (ACCOUNT + "http_connect_timeout = 0", "http_connect_timeout"),
        (ACCOUNT + "insecure = perhaps", "insecure"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, options: str, words: str) -> None:
    """At the start, without the password."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        tokens(tmp_path, options)
    assert "hidden" not in str(caught.value)


def test_nothing_is_asked_of_who_does_not_need_it(tmp_path: Path) -> None:
    """The group may be empty without Keystone."""
    found = access(tmp_path, "[DEFAULT]\nallow_anonymous_access = true")
    assert (found.tokens, found.www_authenticate_uri, found.allow_anonymous) == (None, None, True)
