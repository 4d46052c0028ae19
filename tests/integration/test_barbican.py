"""A real Barbican behind a real Keystone: certificates that its own client stored there verify images."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import frozen

from tests.running import DATA, Daemon
from tests.services.barbican import RealBarbican
from tests.services.keystone import RealKeystone
from tests.signing import certificate, make_key, properties

CONTENT = os.urandom(200_000)


@frozen
class Signer:
    """A user ``red`` with a signing key whose certificate is in Barbican, and a service that knows where that is."""

    daemon: Daemon
    keystone: RealKeystone
    key: Any
    uuid: str
    barbican: RealBarbican

    def call(self, user: str, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        return self.daemon.call(method, path, body, X_Auth_Token=self.keystone.issue(user), **headers)

    def create(self, data: bytes, uuid: str | None = None, user: str = "red") -> str:
        values = {"disk_format": "raw", "container_format": "bare"}
        signed = properties(self.key, "RSA-PSS", data, uuid or self.uuid)
        status, reply = self.call(user, "POST", "/v2/images", json.dumps(values | signed).encode())
        assert status == 201, reply
        return f"/v2/images/{json.loads(reply)['id']}"

    def put(self, path: str, data: bytes, user: str = "red") -> tuple[int, str]:
        status, reply = self.call(user, "PUT", path, data, Content_Type=DATA)
        return status, reply.decode()


@pytest.fixture(scope="module")
def signer(made_keystone: RealKeystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    made_keystone.ensure_running()
    barbican = RealBarbican(tmp_path_factory.mktemp("barbican"), made_keystone)
    daemon = Daemon(tmp_path_factory.mktemp("daemon"))
    try:
        barbican.start()
        made_keystone.add_endpoint("key-manager", barbican.url)
        daemon.configure(f"""
            [DEFAULT]
            node_staging_uri = file://{daemon.folder}/staging
        """)
        daemon.configure(made_keystone.authentication)
        daemon.start()
        key = make_key("RSA-PSS")
        yield Signer(daemon, made_keystone, key, barbican.store("red", certificate(key)), barbican)
    finally:
        daemon.stop()
        barbican.stop()


def test_upload(signer: Signer) -> None:
    """The place of Barbican comes from the catalog, the right to read from the caller's token."""
    path = signer.create(CONTENT)
    status, text = signer.put(f"{path}/file", CONTENT[1:])
    assert (status, "Signature verification failed" in text) == (400, True)
    assert signer.put(f"{path}/file", CONTENT)[0] == 204


def test_import(signer: Signer) -> None:
    """What the token opened is kept for the import, which may outlive it."""
    path = signer.create(CONTENT)
    assert signer.put(f"{path}/stage", CONTENT)[0] == 204
    body = json.dumps({"method": {"name": "glance-direct"}}).encode()
    assert signer.call("red", "POST", f"{path}/import", body)[0] == 202
    deadline = time.monotonic() + 60
    while (status := json.loads(signer.call("red", "GET", path)[1])["status"]) == "importing":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert status == "active"


def test_refused(signer: Signer) -> None:
    """What is not there, or is another project's, verifies nothing."""
    unknown = "00000000-0000-0000-0000-000000000000"
    for uuid, user, reason in (
        (unknown, "red", f"Certificate not found with ID: {unknown}"),
        (signer.uuid, "blue", f"Unable to retrieve certificate with ID: {signer.uuid}"),
    ):
        path = signer.create(CONTENT, uuid, user)
        status, text = signer.put(f"{path}/file", CONTENT, user)
        assert (status, reason in text) == (400, True), text


def test_down(signer: Signer) -> None:
    """A Barbican that does not answer is no verdict: the client is to come again."""
    path = signer.create(CONTENT)
    signer.barbican.stop()
    try:
        assert signer.put(f"{path}/file", CONTENT)[0] == 503
    finally:
        signer.barbican.start()
    assert signer.put(f"{path}/file", CONTENT)[0] == 204
