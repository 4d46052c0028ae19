"""The first start with nothing configured: certificates, an administrator, ``clouds.yaml``, and what to try next.

Safe to repeat and to kill: each step makes what is missing, whole or not at all. The password is written to
``clouds.yaml`` before its hash to the accounts, so that a start which was killed in between takes it from there.
Nothing here is logged; the message names no secret.
"""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from glancetx.access.account_files import AccountFiles
from glancetx.access.accounts import PASSWORDS, TOKENS
from glancetx.domain.errors import ConfigurationError
from glancetx.runtime.failpoints import reach
from glancetx.runtime.safe_files import exclusive, make_folder, replace_file
from glancetx.standalone.certificates import CertificateFiles, prepare_certificates, server_names
from glancetx.standalone.clouds import CLOUD, link_for_clients, read_cloud, render_clouds

ADMIN: Final = "admin"
ROLES: Final = ("admin", "member", "reader")


@frozen(kw_only=True)
class FirstStart:
    """What there is now. *created*: whether the administrator was made by this call.

    *clouds_file* is None if somebody removed it: the password it held cannot be known again. *message* is meant
    for the person at the terminal; *warnings* tell what needs attention before long.
    """

    certificate: Path
    key: Path
    ca: Path
    clouds_file: Path | None
    created: bool
    message: str
    warnings: tuple[str, ...] = ()


def prepare(
    data_dir: Path,
    endpoint: str,
    environ: Mapping[str, str] | None = None,
    now: datetime | None = None,
    client: str = "openstack",
) -> FirstStart:
    """Make sure that *data_dir* holds all that a service at *endpoint* (a URL) needs, and that clients find it.

    *client* is what somebody types to run the OpenStack client.

    Blocking; call it before the reactor runs, or in a thread. Only one process at a time works on a data
    directory; another one waits.

    :raises ConfigurationError: if the directory or a file in it cannot be used.
    """
    environ = os.environ if environ is None else environ
    data_dir = data_dir.absolute()
    try:
        check_data_dir(data_dir)
        with exclusive(data_dir / ".lock"):
            return _prepare(data_dir, endpoint, environ, now, client)
    except OSError as error:
        raise ConfigurationError(f"The data directory {data_dir} cannot be used: {error}") from error


def _prepare(
    data_dir: Path, endpoint: str, environ: Mapping[str, str], now: datetime | None, client: str
) -> FirstStart:
    host = urlsplit(endpoint).hostname or ""
    files = prepare_certificates(data_dir / "tls", server_names(host), now)
    clouds = data_dir / "clouds.yaml"
    created = not (data_dir / "accounts" / PASSWORDS).exists()
    if created:
        make_admin(data_dir / "accounts", clouds, endpoint, files.ca)
    elif clouds.exists():
        move_endpoint(clouds, endpoint, files.ca)
    reach("first_start.link")
    found = link_for_clients(clouds, environ) if clouds.exists() else False
    return FirstStart(
        certificate=files.certificate,
        key=files.key,
        ca=files.ca,
        clouds_file=clouds if clouds.exists() else None,
        created=created,
        message=message(data_dir, endpoint, files, clouds, found=found, client=client),
        warnings=files.warnings,
    )


def check_data_dir(data_dir: Path) -> None:
    """Make the directory, for its owner only.

    :raises ConfigurationError: if it is there and others may write to it.
    """
    make_folder(data_dir)
    mode = data_dir.stat().st_mode
    if mode & 0o077 and not any(data_dir.iterdir()):
        data_dir.chmod(0o700)
    elif mode & 0o022:
        raise ConfigurationError(f"Others than its owner may write to {data_dir}; try chmod 700 {data_dir}")


def make_admin(accounts: Path, clouds: Path, endpoint: str, ca: Path) -> None:
    """Add the administrator, with the password in *clouds* if a start before this one came as far as that."""
    if not clouds.exists():
        password = secrets.token_urlsafe(24)
        replace_file(clouds, render_clouds(endpoint, ca, ADMIN, password).encode())
        reach("first_start.clouds")
    else:
        move_endpoint(clouds, endpoint, ca)
    password = read_cloud(clouds).get("auth", {}).get("password", "")
    make_folder(accounts)
    tokens = accounts / TOKENS
    if not tokens.exists():
        replace_file(tokens, b"# sha256-of-the-token user expiry comment; see glancetx-manage token\n")
        reach("first_start.tokens")
    AccountFiles(accounts).restore_user(ADMIN, str(password), project=ADMIN, roles=ROLES)
    reach("first_start.accounts")


def move_endpoint(clouds: Path, endpoint: str, ca: Path) -> None:
    """Bring a file that is still as we wrote it up to date with *endpoint*; leave one that somebody changed."""
    try:
        cloud = read_cloud(clouds)
        auth, old_ca = cloud["auth"], Path(cloud["cacert"])
        old = render_clouds(auth["endpoint"], old_ca, auth["username"], auth["password"])
    except (ConfigurationError, KeyError, TypeError):
        return
    new = render_clouds(endpoint, ca, auth["username"], auth["password"])
    if new != old and clouds.read_text(encoding="utf-8") == old:
        replace_file(clouds, new.encode())


def message(data_dir: Path, endpoint: str, files: CertificateFiles, clouds: Path, *, found: bool, client: str) -> str:
    """How to use the service, for a terminal; it names files, never what is secret in them."""
    begin = f"glancetx serves {endpoint} and keeps everything in {data_dir}\n"
    authority = f"Other clients need the authority {files.ca}\n" if endpoint.startswith("https:") else ""
    end = f"{authority}Add users and tokens with glancetx-manage user and glancetx-manage token.\n"
    if not clouds.exists():
        return f"{begin}There is no {clouds.name} there.\n{end}"
    export = "" if found else f"    export OS_CLIENT_CONFIG_FILE={shlex.quote(str(clouds))}\n"
    return (
        f"{begin}Try:\n\n"
        f"{export}"
        f"    {client} --os-cloud {CLOUD} image list\n\n"
        f"The administrator's password is in {clouds}\n{end}"
    )
