"""``clouds.yaml``: what OpenStack clients read to find the service and to log in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from glancetx.domain.errors import ConfigurationError
from glancetx.runtime.safe_files import make_folder

CLOUD: Final = "glancetx"
SUFFIXES: Final = (".yaml", ".yml", ".json")


def render_clouds(endpoint: str, ca: Path, username: str, password: str) -> str:
    """A document with one cloud which the real clients use unchanged; *ca* is an absolute path."""
    cloud = {
        "auth_type": "http_basic",
        "auth": {"endpoint": endpoint, "username": username, "password": password},
        "image_endpoint_override": endpoint,
        "image_api_version": "2",
        "cacert": str(ca),
    }
    return "# Made by glancetx. It holds a password.\n" + yaml.safe_dump({"clouds": {CLOUD: cloud}}, sort_keys=False)


def read_cloud(path: Path) -> dict[str, Any]:
    """Our cloud in the file *path*. :raises ConfigurationError: if it is not there."""
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["clouds"][CLOUD])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} does not tell of the cloud {CLOUD}; move it away and start again") from error


def link_for_clients(clouds: Path, environ: Mapping[str, str]) -> bool:
    """Whether clients of this user find *clouds*, after a link was made if nothing stood in its way.

    A client reads the first file it finds; so no link is made where it would hide another file.
    """
    found = next((path for path in places(environ) if path.exists()), None)
    if found is not None:
        return found.resolve() == clouds.resolve()
    link = user_folder(environ)
    if link is None or link.joinpath("clouds.yaml").is_symlink():
        return False
    try:
        make_folder(link)
        link.joinpath("clouds.yaml").symlink_to(clouds)
    except OSError:
        return False
    return True


def places(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where clients look, in their order. What lies in the working directory is not counted: it changes."""
    if chosen := environ.get("OS_CLIENT_CONFIG_FILE"):
        yield Path(chosen)
    home, user = environ.get("HOME"), user_folder(environ)
    folders = [user, Path(home, ".config", "openstack") if home else None]
    site = environ.get("XDG_CONFIG_DIRS", "").split(os.pathsep)[0] or "/etc/xdg"
    for folder in (*folders, Path(site, "openstack"), Path("/etc/openstack")):
        if folder is not None:
            yield from (folder / f"clouds{suffix}" for suffix in SUFFIXES)


def user_folder(environ: Mapping[str, str]) -> Path | None:
    """The user's folder of client settings; None for a user without a home, such as a system service."""
    if (configured := environ.get("XDG_CONFIG_HOME", "")).startswith("/"):
        return Path(configured, "openstack")
    return Path(environ["HOME"], ".config", "openstack") if environ.get("HOME", "").startswith("/") else None
