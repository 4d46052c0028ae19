"""A real Keystone that both services ask who is calling, and whose answers they keep."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from tests.services.keystone import AUTHTOKEN, PASSWORD, RealKeystone

OPTIONS = (
    """
[paste_deploy]
flavor = keystone
"""
    + AUTHTOKEN
)


@frozen
class Identity:
    """Where Keystone is, and an administrator's token that outlives the benchmark."""

    url: str
    token: str = field(repr=False)

    @property
    def options(self) -> str:
        """For the configuration file of an image service, which is to ask this Keystone."""
        return OPTIONS.format(keystone=self.url, password=PASSWORD)


def start_keystone(folder: Path, venv: Path) -> tuple[RealKeystone, Identity]:
    """Keystone of the environment that Glance is in; whoever starts it stops it."""
    keystone = RealKeystone(venv, folder)
    keystone.make()
    keystone.start()
    keystone.add_user("glance", "service", "service", "admin")
    return keystone, Identity(keystone.url, keystone.issue("admin"))
