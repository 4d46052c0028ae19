"""Our drivers against glance_store's, on the same servers: ``python -m tests.bench.stores [MIB] [AT ONCE] [KIND...]``.

Each line is one process that adds images, or reads them, all at once; both sides compute MD5 and SHA-512 of what they
add. It needs what the tests of stores need.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.bench.images import write_random
from tests.bench.store_side import MIB
from tests.integration.stores.test_glance_store import environment, glance_python
from tests.services.ceph import GIB, Ceph
from tests.services.ceph import USER as CEPH_USER
from tests.services.keystone import PASSWORD, RealKeystone, find_venv
from tests.services.objects import SwiftServer, start_swift
from tests.services.programs import Processes
from tests.services.vcsim import DATACENTER, USER, Vcenter, start_vcsim
from tests.services.vcsim import PASSWORD as VCENTER_PASSWORD

HERE = Path(__file__).parent
ROUNDS = 3
KINDS = ("file", "rbd", "s3", "swift", "vmware")


def s3_text(server: SwiftServer) -> str:
    s3 = server.s3
    return (
        f"[glance_store]\nstores = s3\ndefault_store = s3\ns3_store_host = {s3.url}\n"
        f"s3_store_access_key = {s3.access_key}\ns3_store_secret_key = {s3.secret_key}\n"
        "s3_store_region_name = us-east-1\ns3_store_bucket = bench\ns3_store_create_bucket_on_put = true\n"
        "s3_store_bucket_url_format = path\n"
    )


def swift_text(keystone: RealKeystone) -> str:
    return (
        "[glance_store]\nstores = swift\ndefault_store = swift\nswift_store_container = bench\n"
        f"swift_store_auth_address = {keystone.url}/v3\nswift_store_user = red:red\nswift_store_key = {PASSWORD}\n"
        "swift_store_create_container_on_put = true\n"
    )


def rbd_text(ceph: Ceph) -> str:
    return (
        f"[glance_store]\nstores = rbd\ndefault_store = rbd\nrbd_store_ceph_conf = {ceph.config}\n"
        f"rbd_store_user = {CEPH_USER}\n"
    )


def file_text(folder: Path) -> str:
    return f"[glance_store]\nstores = file\nfilesystem_store_datadir = {folder}/images\n"


def vmware_text(vcenter: Vcenter) -> str:
    return (
        f"[glance_store]\nstores = vmware\ndefault_store = vsphere\nvmware_server_host = {vcenter.host}\n"
        f"vmware_server_username = {USER}\nvmware_server_password = {VCENTER_PASSWORD}\n"
        f"vmware_ca_file = {vcenter.files.ca}\nvmware_datastores = {DATACENTER}:LocalDS_0\n"
    )


def run(side: str, config: Path, action: str, *arguments: str) -> dict[str, Any]:
    """What one process did: seconds, peak memory in KiB, locations."""
    python = str(glance_python()) if side == "theirs" else sys.executable
    command = [python, "-m", "tests.bench.store_side", side, str(config), action, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent.parent, env=environment())
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(kind: str, config: Path, source: Path, size: int, count: int) -> None:
    """One kind of store: up and down, both sides in turn, `ROUNDS` times; the best of each counts."""
    best: dict[str, list[float]] = {side: [0, 0, 1e9, 1e9, 0] for side in ("theirs", "ours")}
    gib = size * count / MIB / 1024
    for _ in range(ROUNDS):
        for side, found in best.items():
            up = run(side, config, "add", str(source), str(count))
            down = run(side, config, "get", *up["urls"])
            run(side, config, "delete", *up["urls"])
            for place, one in enumerate((up, down)):
                found[place] = max(found[place], gib * 1024 / one["seconds"])
                found[place + 2] = min(found[place + 2], one["cpu"] / gib)
            found[4] = max(found[4], up["peak"] / 1024, down["peak"] / 1024)
            time.sleep(1)
    for side, (up_rate, down_rate, up_cpu, down_cpu, peak) in best.items():
        who = "glance_store" if side == "theirs" else "glancetx"
        rates = f"{up_rate:.0f} | {down_rate:.0f} | {up_cpu:.1f} | {down_cpu:.1f}"
        print(f"| {kind} | {count} | {who} | {rates} | {peak:.0f} |", flush=True)


@contextmanager
def objects(folder: Path) -> Iterator[tuple[SwiftServer, RealKeystone]]:
    """Swift with its S3 interface, and the Keystone that knows its users."""
    keystone = RealKeystone(find_venv(), folder / "keystone")
    keystone.make()
    keystone.start()
    (folder / "servers").mkdir()
    processes = Processes(folder / "servers")
    try:
        keystone.add_user("swift", "service", "service", "admin")
        keystone.add_user("red", "red", "member")
        server = start_swift(processes, keystone.url, PASSWORD)
        keystone.add_endpoint("object-store", f"{server.url}/v1/AUTH_%(project_id)s")
        yield server, keystone
    finally:
        processes.stop()
        keystone.stop()


@contextmanager
def texts(kinds: Sequence[str], folder: Path) -> Iterator[dict[str, str]]:
    """The configuration of each kind of store, while its servers run."""
    with ExitStack() as stack:
        found = {"file": file_text(folder)}
        if "rbd" in kinds:
            ceph = Ceph(disk=GIB * 24)
            stack.callback(ceph.stop)
            ceph.start()
            found["rbd"] = rbd_text(ceph)
        if {"s3", "swift"} & set(kinds):
            server, keystone = stack.enter_context(objects(folder))
            found |= {"s3": s3_text(server), "swift": swift_text(keystone)}
        if "vmware" in kinds:
            (folder / "vcenter").mkdir()
            simulator = Processes(folder / "vcenter")
            stack.callback(simulator.stop)
            found["vmware"] = vmware_text(start_vcsim(simulator))
        yield {kind: found[kind] for kind in kinds}


def main(mib: str = "1024", most: str = "4", *kinds: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "image"
        write_random(source, int(mib) * MIB)
        with texts(kinds or KINDS, folder) as found:
            print("| store | at once | driver | up, MiB/s | down, MiB/s | CPU s/GiB up | down | peak memory, MiB |")
            print("|---|---|---|---|---|---|---|---|")
            for kind, text in found.items():
                config = folder / f"{kind}.conf"
                config.write_text(text)
                for count in sorted({1, int(most)}):
                    measure(kind, config, source, int(mib) * MIB, count)


if __name__ == "__main__":
    main(*sys.argv[1:])
