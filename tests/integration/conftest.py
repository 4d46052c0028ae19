"""Services that are dear to make, shared by all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.keystone import RealKeystone, find_venv


@pytest.fixture(scope="session")
def made_keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKeystone]:
    """One Keystone for all, with the account ``glance`` of the service and users of two projects; perhaps stopped."""
    keystone = RealKeystone(find_venv(), tmp_path_factory.mktemp("keystone"))
    keystone.make()
    keystone.start()
    keystone.add_user("glance", "service", "service")
    keystone.add_user("nova", "service", "service")
    keystone.add_user("red", "red", "member")
    keystone.add_user("blue", "blue", "member")
    keystone.add_user("nobody", None)
    keystone.assign_elsewhere("admin", "domain", "admin")
    yield keystone
    keystone.stop()


@pytest.fixture
def keystone(made_keystone: RealKeystone) -> RealKeystone:
    """It runs, and its tokens live for an hour."""
    made_keystone.ensure_running()
    return made_keystone
