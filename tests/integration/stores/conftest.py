"""The servers of store tests: started once, when the first test wants them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.ceph import Ceph
from tests.services.keystone import PASSWORD, RealKeystone
from tests.services.objects import S3Server, SwiftServer, start_moto, start_swift
from tests.services.programs import Processes
from tests.services.vcsim import Vcenter, start_vcsim


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Servers that live as long as the tests."""
    processes = Processes(Path(tmp_path_factory.mktemp("servers")))
    yield processes
    processes.stop()


@pytest.fixture(scope="session")
def moto(processes: Processes) -> S3Server:
    """moto's S3 server."""
    return start_moto(processes)


@pytest.fixture(scope="session")
def keystone_swift(made_keystone: RealKeystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """Another Swift, which knows Keystone's users; the catalog has it."""
    processes = Processes(Path(tmp_path_factory.mktemp("keystone-swift")))
    made_keystone.ensure_running()
    made_keystone.add_user("swift", "service", "service", "admin")
    server = start_swift(processes, made_keystone.url, PASSWORD)
    made_keystone.add_endpoint("object-store", f"{server.url}/v1/AUTH_%(project_id)s")
    yield server
    processes.stop()


@pytest.fixture(scope="session")
def swift(processes: Processes) -> SwiftServer:
    """Swift with its S3 interface."""
    return start_swift(processes)


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    """A Ceph cluster."""
    ceph = Ceph()
    ceph.start()
    yield ceph
    ceph.stop()


@pytest.fixture(scope="session")
def vcenter(processes: Processes) -> Vcenter:
    """A simulated vCenter."""
    return start_vcsim(processes)
