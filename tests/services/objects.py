"""Real object stores: OpenStack Swift with its S3 interface, and moto's S3 server."""

from __future__ import annotations

import os
import socket
import subprocess
import textwrap
from pathlib import Path

from attrs import frozen

from tests.needs import lacking, program
from tests.ports import free_port
from tests.services.programs import Processes, answers, environment

VENV = ("GLANCETX_SWIFT_VENV", "swift-venv")
RINGS = ("account", "container", "object")
BUILD = """
import sys
from swift.common.ring import RingBuilder
for each in sys.argv[1:]:
    name, _, port = each.partition("=")
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 1.0})
    builder.rebalance()
    builder.get_ring().save(name + ".ring.gz")
"""
FILTERS = "catch_errors gatekeeper healthcheck cache listing_formats bulk s3api {auth} copy slo dlo symlink"


@frozen
class S3Server:
    """Where an S3 server is, and who may use it."""

    url: str
    access_key: str
    secret_key: str


@frozen
class SwiftServer:
    """Where Swift is: *auth_url* of version 1, *storage_url* of the account, *s3* the same server as S3."""

    url: str
    auth_url: str
    storage_url: str
    user: str
    key: str
    s3: S3Server


def start_moto(processes: Processes) -> S3Server:
    """moto's S3 server."""
    place = environment(*VENV, "moto_server")
    port = free_port()
    processes.start("moto", [place / "moto_server", "-H", "127.0.0.1", "-p", str(port)], answers(port))
    return S3Server(f"http://127.0.0.1:{port}", "access", "secret-of-moto")


def start_swift(processes: Processes, keystone_url: str | None = None, password: str = "") -> SwiftServer:
    """Swift on one folder, one replica. With *keystone_url*, Keystone's tokens are accepted, too.

    They are checked as the user ``swift`` of the project ``service``.
    """
    place = environment(*VENV, "swift-proxy-server")
    memcached = program("memcached")
    folder = processes.folder
    devices, etc = folder / "srv", folder / "etc"
    (devices / "d1").mkdir(parents=True)
    etc.mkdir()
    check_attributes(devices)
    ports = {name: free_port() for name in ("cache", *RINGS, "proxy")}
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    write(etc / "swift.conf", "[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n")
    build_rings(place, etc, ports)
    cache = [memcached, "-l", "127.0.0.1", "-p", str(ports["cache"]), "-U", "0", "-m", "16", "-u", user]
    processes.begin("memcached", cache)
    for name in RINGS:
        write(etc / f"{name}.conf", backend(name, ports[name], etc, devices, user))
    write(etc / "proxy.conf", proxy(ports, etc, user, keystone_url, password))
    for name in (*RINGS, "proxy"):
        processes.begin(f"swift-{name}", [place / f"swift-{name}-server", etc / f"{name}.conf", "verbose"])
    processes.wait("memcached", lambda: listens(ports["cache"]))
    for name in (*RINGS, "proxy"):
        processes.wait(f"swift-{name}", answers(ports[name], "/healthcheck"))
    url, prefix = f"http://127.0.0.1:{ports['proxy']}", "AUTH" if keystone_url is None else "TEMPAUTH"
    return SwiftServer(
        url,
        f"{url}/auth/v1.0",
        f"{url}/v1/{prefix}_test",
        "test:tester",
        "testing",
        S3Server(url, "test:tester", "testing"),
    )


def check_attributes(folder: Path) -> None:
    """Swift keeps metadata in extended attributes, which not every file system has."""
    try:
        os.setxattr(folder, "user.probe", b"x" * 2000)
    except OSError:
        lacking(f"extended attributes in {folder}")


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def build_rings(place: Path, etc: Path, ports: dict[str, int]) -> None:
    """As ``swift-ring-builder`` does, which takes three processes for each ring."""
    arguments = [f"{name}={ports[name]}" for name in RINGS]
    done = subprocess.run([str(place / "python"), "-c", BUILD, *arguments], cwd=etc, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def write(path: Path, text: str) -> None:
    path.write_text(textwrap.dedent(text))


def backend(name: str, port: int, etc: Path, devices: Path, user: str) -> str:
    return f"""
        [DEFAULT]
        swift_dir = {etc}
        devices = {devices}
        mount_check = false
        bind_ip = 127.0.0.1
        bind_port = {port}
        user = {user}
        workers = 0
        fallocate_reserve = 0
        [pipeline:main]
        pipeline = healthcheck {name}-server
        [filter:healthcheck]
        use = egg:swift#healthcheck
        [app:{name}-server]
        use = egg:swift#{name}
    """


def proxy(ports: dict[str, int], etc: Path, user: str, keystone_url: str | None, password: str) -> str:
    auth = "tempauth" if keystone_url is None else "authtoken keystoneauth tempauth"
    filters = FILTERS.format(auth=auth)
    text = f"""
        [DEFAULT]
        swift_dir = {etc}
        bind_ip = 127.0.0.1
        bind_port = {ports["proxy"]}
        user = {user}
        workers = 0
        [pipeline:main]
        pipeline = {filters} proxy-server
        [app:proxy-server]
        use = egg:swift#proxy
        account_autocreate = true
        # There is one replica, so whoever is late on a busy machine is waited for; half a second is allowed otherwise.
        conn_timeout = 20
        node_timeout = 60
        [filter:cache]
        use = egg:swift#memcache
        memcache_servers = 127.0.0.1:{ports["cache"]}
        [filter:s3api]
        use = egg:swift#s3api
        location = us-east-1
        [filter:tempauth]
        use = egg:swift#tempauth
        reseller_prefix = {"AUTH" if keystone_url is None else "TEMPAUTH"}
        user_test_tester = testing .admin
        user_test_reader = reading
    """
    if keystone_url is not None:
        text += f"""
        [filter:authtoken]
        paste.filter_factory = keystonemiddleware.auth_token:filter_factory
        www_authenticate_uri = {keystone_url}/v3
        auth_type = password
        auth_url = {keystone_url}/v3
        username = swift
        password = {password}
        project_name = service
        user_domain_name = Default
        project_domain_name = Default
        delay_auth_decision = true
        cache = swift.cache
        include_service_catalog = false
        [filter:keystoneauth]
        use = egg:swift#keystoneauth
        operator_roles = admin, member
        reseller_prefix = AUTH
        """
    for name in filters.split():
        if f"[filter:{name}]" not in text:
            text += f"\n        [filter:{name}]\n        use = egg:swift#{name}\n"
    return text
