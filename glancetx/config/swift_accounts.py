"""The accounts of a Swift store: sections of ``swift_store_config_file``, or one in the store's own group (S-072)."""

from __future__ import annotations

from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ParserError
from typing import Any

from glancetx.config.store_settings import SwiftAccount
from glancetx.domain.errors import ConfigurationError


def swift_accounts(group: Any) -> dict[str, SwiftAccount]:
    """The accounts by their references.

    :raises ConfigurationError: if the file cannot be read, or an account is not complete.
    """
    if group.swift_store_config_file:
        return read_accounts(group, group.swift_store_config_file)
    values = {
        "auth_address": group.swift_store_auth_address,
        "auth_version": group.swift_store_auth_version,
        "user": group.swift_store_user,
        "key": group.swift_store_key,
        "application_credential_id": group.swift_store_application_credential_id,
        "application_credential_secret": group.swift_store_application_credential_secret,
    }
    return {group.default_swift_reference: account(f"[{group.name}] swift_store_", values)}


def read_accounts(group: Any, name: str) -> dict[str, SwiftAccount]:
    parser = ConfigParser(interpolation=None)
    try:
        found = group.find(name)
        if not found or not parser.read(found):
            raise ConfigurationError(f"swift_store_config_file = {name}: there is no such file")
    except ParserError as error:
        raise ConfigurationError(f"swift_store_config_file = {name}: not an INI file") from error
    sections = {reference: {n: unquoted(v) for n, v in parser[reference].items()} for reference in parser.sections()}
    return {reference: account(f"{name} [{reference}] ", values) for reference, values in sections.items()}


def unquoted(value: str) -> str:
    """Values may stand in quotes."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def account(where: str, values: Mapping[str, str | None]) -> SwiftAccount:
    """:raises ConfigurationError: if *values* are not enough; the text begins with *where*."""

    def needed(name: str) -> str:
        value = values.get(name)
        if not value:
            raise ConfigurationError(f"{where}{name} is not set, and the Swift store needs it")
        return value

    address = needed("auth_address")
    version = values.get("auth_version") or "3"
    if version not in ("1", "3"):
        raise ConfigurationError(f"{where}auth_version = {version}: only 3 and 1 are supported")
    who: dict[str, str]
    if values.get("application_credential_id") or values.get("application_credential_secret"):
        who = {name: needed(name) for name in ("application_credential_id", "application_credential_secret")}
    else:
        who = {name: needed(name) for name in ("user", "key")}
        if ":" not in who["user"]:
            raise ConfigurationError(f"{where}user has to be project:user")
    domains: dict[str, str | None] = {}
    for domain in ("user_domain", "project_domain"):
        name, identifier = values.get(f"{domain}_name"), values.get(f"{domain}_id")
        domains |= {f"{domain}_name": name, f"{domain}_id": identifier or (None if name else "default")}
    return SwiftAccount(
        auth_address=address if "://" in address else f"https://{address}", version=version, **who, **domains
    )
