"""How callers are identified: ``[keystone_authtoken]``, ``[paste_deploy] flavor``, and the settings made of them.

The names, types and defaults are those of keystonemiddleware and of keystoneauth's plugins ``password``,
``v3password`` and ``v3applicationcredential`` (config.md, C-076).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from oslo_config import cfg

from glancetx.config.settings import ClientTlsSettings, Credentials, KeystoneSettings, MemcachedSettings, TokenSettings
from glancetx.domain.errors import ConfigurationError

GROUP: Final = "keystone_authtoken"
DEFAULT_TIMEOUT: Final = 30.0  # seconds, where http_connect_timeout is not set; Glance would wait for ever
NO_EFFECT: Final = "Accepted, and of no effect: "
UNUSED: Final = f"{NO_EFFECT}each memcached has one connection; "
REFUSED: Final = "Not supported: with memcached_servers it does not start; "

_ADDRESS: Final = re.compile(r"unix:.+|(?:inet6?:)?(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?", re.ASCII)

# An account at Keystone; these options are also read from other groups.
ACCOUNT: Final = [
    cfg.StrOpt("auth_url", help="URL of Keystone, with a version or without."),
    cfg.StrOpt("auth_type", deprecated_name="auth_plugin", help="password, v3password or v3applicationcredential."),
    cfg.StrOpt(
        "username", deprecated_opts=[cfg.DeprecatedOpt("user-name"), cfg.DeprecatedOpt("user_name")], help="Name."
    ),
    cfg.StrOpt("user_id", help="Id of the user, instead of name and domain."),
    cfg.StrOpt("user_domain_id", help="Id of the user's domain."),
    cfg.StrOpt("user_domain_name", help="Name of the user's domain."),
    cfg.StrOpt("password", secret=True, help="Password of the user."),
    cfg.StrOpt("application_credential_id", help="Id of an application credential."),
    cfg.StrOpt("application_credential_name", help="Its name, with the user instead of the id."),
    cfg.StrOpt("application_credential_secret", secret=True, help="Its secret."),
    cfg.StrOpt(
        "project_name",
        deprecated_opts=[cfg.DeprecatedOpt("tenant-name"), cfg.DeprecatedOpt("tenant_name")],
        help="Name of the project to act for.",
    ),
    cfg.StrOpt(
        "project_id",
        deprecated_opts=[cfg.DeprecatedOpt("tenant-id"), cfg.DeprecatedOpt("tenant_id")],
        help="Id of the project to act for.",
    ),
    cfg.StrOpt("project_domain_id", help="Id of the project's domain."),
    cfg.StrOpt("project_domain_name", help="Name of the project's domain."),
    cfg.StrOpt("domain_id", help="Id of a domain to act for."),
    cfg.StrOpt("domain_name", help="Name of a domain to act for."),
    cfg.StrOpt("system_scope", help="all: act for the whole cloud."),
    cfg.StrOpt("trust_id", help="Id of a trust to act under."),
    cfg.StrOpt("default_domain_id", help="Domain of user and project where none is named (auth_type password)."),
    cfg.StrOpt("default_domain_name", help="The same by name."),
]

# Such an account, and how we connect to that Keystone.
KEYSTONE: Final = [
    *ACCOUNT,
    cfg.StrOpt("auth_section", help="Group in which the account is described, if not in this one."),
    cfg.StrOpt("region_name", help="Region of Keystone's endpoint."),
    cfg.StrOpt("cafile", help="PEM file of the authorities that Keystone's certificate needs; unset: the system's."),
    cfg.StrOpt("certfile", help="PEM file of a certificate that we show to Keystone."),
    cfg.StrOpt("keyfile", help="PEM file of its key; unset: it is in certfile."),
    cfg.BoolOpt("insecure", default=False, help="Do not verify Keystone's certificate."),
]

KEYSTONE_AUTHTOKEN: Final = [
    *KEYSTONE,
    cfg.StrOpt("www_authenticate_uri", help="Public URL of Keystone, told to clients who have to log in."),
    cfg.StrOpt("interface", default="internal", help="Which endpoint of Keystone's catalog we use."),
    cfg.IntOpt("http_connect_timeout", min=1, help="Seconds a request to Keystone may take; unset: 30."),
    cfg.IntOpt("http_request_max_retries", default=3, min=0, help="How often connecting is tried again."),
    cfg.IntOpt("token_cache_time", default=300, help="Seconds for which a token is not validated again; -1: none."),
    cfg.ListOpt("service_token_roles", default=["service"], help="Roles of which a service token needs one."),
    cfg.BoolOpt(
        "service_token_roles_required", default=True, help="Whether a service token without such a role is invalid."
    ),
    cfg.StrOpt("service_type", help="Our type in access rules of application credentials; unset: image."),
    cfg.BoolOpt("include_service_catalog", default=True, help=f"{NO_EFFECT}the catalog is got when it is needed."),
    cfg.BoolOpt("delay_auth_decision", default=False, help=f"{NO_EFFECT}it is always delayed, as in Glance."),
    cfg.StrOpt("auth_version", help=f"{NO_EFFECT}it is 3."),
    cfg.StrOpt("cache", help=f"{NO_EFFECT}there is no WSGI environment."),
    cfg.StrOpt("enforce_token_bind", default="permissive", help=f"{NO_EFFECT}Keystone binds no tokens any more."),
    cfg.ListOpt(
        "memcached_servers",
        deprecated_name="memcache_servers",
        help="Servers in which processes share what they know of tokens: host:port.",
    ),
    cfg.StrOpt(
        "memcache_security_strategy",
        default="None",
        choices=("None", "MAC", "ENCRYPT"),
        ignore_case=True,
        help="Whether what is there is signed, or encrypted as well, by memcache_secret_key.",
    ),
    cfg.StrOpt("memcache_secret_key", secret=True, help="What is there is signed or encrypted by this."),
    cfg.BoolOpt("memcache_tls_enabled", default=False, help=f"{REFUSED}TLS."),
    cfg.StrOpt("memcache_tls_cafile", help=f"{UNUSED}TLS."),
    cfg.StrOpt("memcache_tls_certfile", help=f"{UNUSED}TLS."),
    cfg.StrOpt("memcache_tls_keyfile", help=f"{UNUSED}TLS."),
    cfg.StrOpt("memcache_tls_allowed_ciphers", help=f"{UNUSED}TLS."),
    cfg.IntOpt(
        "memcache_pool_dead_retry",
        default=300,
        min=0,
        help="Seconds until a server that does not answer is tried again.",
    ),
    cfg.IntOpt("memcache_pool_maxsize", default=10, help=f"{UNUSED}connections."),
    cfg.IntOpt("memcache_pool_socket_timeout", default=3, min=1, help="Seconds a server has to answer."),
    cfg.IntOpt("memcache_pool_unused_timeout", default=60, help=f"{UNUSED}seconds."),
    cfg.IntOpt("memcache_pool_conn_get_timeout", default=10, help=f"{UNUSED}seconds."),
    cfg.BoolOpt("memcache_use_advanced_pool", default=True, help=f"{UNUSED}which client."),
    cfg.BoolOpt("memcache_sasl_enabled", default=False, help=f"{REFUSED}SASL."),
    cfg.StrOpt("memcache_username", help=f"{UNUSED}SASL."),
    cfg.StrOpt("memcache_password", secret=True, help=f"{UNUSED}SASL."),
]

FLAVORS: Final = {"": "none", "keystone": "keystone", "trusted-auth": "trusted"}
CACHES: Final = ("", "caching", "cachemanagement")


def choose_authentication(conf: Any, configured: bool) -> str:
    """Built-in accounts if nothing is configured; else what the files say, as Glance reads ``flavor`` (C-090..C-095).

    :raises ConfigurationError: if there is no such flavor.
    """
    if conf.glancetx.authentication:
        return str(conf.glancetx.authentication)
    flavor = conf.paste_deploy.flavor or ""
    who, _, cache = ("", "", flavor) if flavor in CACHES else flavor.partition("+")
    if who not in FLAVORS or cache not in CACHES:
        raise ConfigurationError(
            f"[paste_deploy] flavor = {flavor}: there is none of that name; a pipeline of your own is chosen by "
            "[glancetx] authentication = keystone, trusted, builtin or none"
        )
    return FLAVORS[who] if configured or who else "builtin"


def token_settings(conf: Any) -> TokenSettings:
    """How tokens are judged. :raises ConfigurationError: if ``[keystone_authtoken]`` lacks something."""
    group = conf[GROUP]
    keystone = keystone_settings(conf, GROUP)
    return TokenSettings(
        keystone=keystone,
        www_authenticate_uri=www_authenticate_uri(conf) or keystone.credentials.auth_url,
        cache_time=max(0, group.token_cache_time),
        service_token_roles=frozenset(group.service_token_roles),
        service_token_roles_required=group.service_token_roles_required,
        service_type=group.service_type or "image",
        memcached=_memcached(group),
    )


def _memcached(group: Any) -> MemcachedSettings | None:
    """:raises ConfigurationError: if it cannot be had as it is wanted."""
    if not group.memcached_servers:
        return None
    for name in ("memcache_tls_enabled", "memcache_sasl_enabled"):
        if group[name]:
            raise ConfigurationError(f"[{GROUP}] {name}: not supported; use memcache_security_strategy = ENCRYPT")
    if group.memcache_security_strategy != "None" and not group.memcache_secret_key:
        raise ConfigurationError(f"[{GROUP}] memcache_secret_key is not set")
    for server in group.memcached_servers:
        if not _ADDRESS.fullmatch(server):
            raise ConfigurationError(f"[{GROUP}] memcached_servers = {server}: not host:port")
    return MemcachedSettings(
        servers=tuple(group.memcached_servers),
        strategy=group.memcache_security_strategy,
        secret=group.memcache_secret_key or "",
        patience=group.memcache_pool_socket_timeout,
        rest=float(group.memcache_pool_dead_retry),
    )


def www_authenticate_uri(conf: Any) -> str | None:
    """Where clients log in. :raises ConfigurationError: if it cannot stand in a header."""
    uri: str | None = conf[GROUP].www_authenticate_uri or conf[GROUP].auth_url or None
    if uri is not None and (not uri.isascii() or not uri.isprintable() or '"' in uri):
        raise ConfigurationError(f"[{GROUP}] www_authenticate_uri: not a URL")
    return uri


def keystone_settings(conf: Any, name: str) -> KeystoneSettings:
    """The Keystone and our account there, as the group *name* describes them.

    :raises ConfigurationError: if something is missing.
    """
    group = conf[name]
    return KeystoneSettings(
        credentials=account(conf, name, group.www_authenticate_uri),
        interface=group.interface,
        region_name=group.region_name or None,
        tls=client_tls(group),
        timeout=float(group.http_connect_timeout or DEFAULT_TIMEOUT),
        retries=group.http_request_max_retries,
    )


def account(conf: Any, name: str, otherwise: str | None = None) -> Credentials:
    """The account that the group *name* describes, or the group it names (`credentials`)."""
    described = conf[name].auth_section or name
    if described != name:
        conf.register_opts(ACCOUNT, group=described)
    return credentials(conf[described], described, otherwise)


def client_tls(group: Any) -> ClientTlsSettings:
    """How the Keystone of a group is connected to by TLS."""
    return ClientTlsSettings(
        cafile=_path(group.cafile),
        certfile=_path(group.certfile),
        keyfile=_path(group.keyfile),
        insecure=group.insecure,
    )


def credentials(group: Any, name: str, otherwise: str | None = None) -> Credentials:
    """The account that the options `ACCOUNT` of a group describe; *otherwise* is Keystone's URL if they name none.

    :raises ConfigurationError: if the account's kind is not known, or Keystone's URL is missing.
    """
    url = group.auth_url or otherwise
    if not url:
        raise ConfigurationError(f"[{name}] auth_url is not set")
    kind = group.auth_type or ("v3applicationcredential" if group.application_credential_secret else "password")
    chosen = {"password": _password, "v3password": _password, "v3applicationcredential": _application}.get(kind)
    if chosen is None:
        raise ConfigurationError(f"[{name}] auth_type = {kind}: use password, v3password or v3applicationcredential")
    scope = {each: getattr(group, each) or None for each in ("domain_id", "domain_name", "system_scope", "trust_id")}
    return Credentials(auth_url=url, **scope, **_user(group, kind), **_project(group, kind), **chosen(group))


def _password(group: Any) -> dict[str, str | None]:
    return {"password": group.password}


def _application(group: Any) -> dict[str, str | None]:
    names = ("application_credential_id", "application_credential_name", "application_credential_secret")
    return {name: getattr(group, name) or None for name in names}


def _user(group: Any, kind: str) -> dict[str, str | None]:
    return {"user_id": group.user_id or None, "username": group.username or None, **_domain(group, kind, "user")}


def _project(group: Any, kind: str) -> dict[str, str | None]:
    if not group.project_id and not group.project_name:
        return {}
    named = {"project_id": group.project_id or None, "project_name": group.project_name or None}
    return named | _domain(group, kind, "project")


def _domain(group: Any, kind: str, whose: str) -> dict[str, str | None]:
    identifier, name = f"{whose}_domain_id", f"{whose}_domain_name"
    found = {identifier: getattr(group, identifier) or None, name: getattr(group, name) or None}
    if kind == "password" and not any(found.values()):
        return {identifier: group.default_domain_id or None, name: group.default_domain_name or None}
    return found


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None
