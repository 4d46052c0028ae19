"""Stores that are no files, with real servers, as the cases that need one start them: Swift and Ceph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from attrs import frozen

from tests.services.ceph import GIB, Ceph
from tests.services.ceph import USER as CEPH_USER
from tests.services.objects import SwiftServer, start_swift
from tests.services.programs import Processes

PATIENCE = 300.0


@frozen
class FarStore:
    """A store with servers that run: *options* of glancetx, the *raw* command that reads an image without it, and what
    the ideal *relay* has to know."""

    options: str
    raw: Callable[[str], list[str]]
    relay: list[str]


@contextmanager
def swift(folder: Path) -> Iterator[FarStore]:
    """Swift, with accounts of its own."""
    processes = Processes(folder)
    try:
        server = start_swift(processes)
        header = f"X-Auth-Token: {token_of(server)}"
        options = (
            "stores = swift\ndefault_store = swift\nswift_store_auth_version = 1\n"
            f"swift_store_auth_address = {server.auth_url}\nswift_store_user = {server.user}\n"
            f"swift_store_key = {server.key}\nswift_store_container = bench\n"
            "swift_store_create_container_on_put = true\n"
        )
        prefix = f"{server.storage_url}/bench"
        yield FarStore(
            options, lambda name: curl(f"{prefix}/{name}", "-H", header), ["swift", prefix, token_of(server)]
        )
    finally:
        processes.stop()


@contextmanager
def rbd(folder: Path) -> Iterator[FarStore]:
    """Ceph: a monitor, a manager and an OSD."""
    ceph = Ceph(disk=GIB * 8)
    try:
        ceph.start()
        options = (
            f"stores = rbd\ndefault_store = rbd\nrbd_store_ceph_conf = {ceph.config}\nrbd_store_user = {CEPH_USER}\n"
        )
        command = ["rbd", "--conf", str(ceph.config), "--id", CEPH_USER, "--no-progress", "export"]
        relay = ["rbd", str(ceph.config), CEPH_USER, "images"]
        yield FarStore(options, lambda name: [*command, f"images/{name}", "-"], relay)
    finally:
        ceph.stop()


KINDS = {"swift": swift, "rbd": rbd}


def token_of(server: SwiftServer) -> str:
    """What Swift's own accounts give for a password."""
    asked = Request(server.auth_url, headers={"X-Auth-User": server.user, "X-Auth-Key": server.key})
    with urlopen(asked, timeout=PATIENCE) as answer:
        return str(answer.headers["X-Auth-Token"])


def curl(url: str, *arguments: str) -> list[str]:
    return ["curl", "-sS", "--fail", "--max-time", f"{PATIENCE:g}", *arguments, url]
