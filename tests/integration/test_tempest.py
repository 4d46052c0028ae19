"""Tempest 47 and glance_tempest_plugin, with a real Keystone: what passes against a real Glance passes here.

Each test of theirs is one test here, so that one that fails is named. ``GLANCETX_TEMPEST_VENV`` names the environment
they are installed in.
"""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.disks import qcow2
from tests.nursery import run_command
from tests.running import Daemon
from tests.services.keystone import AUTHTOKEN, PASSWORD, RealKeystone, find_venv
from tests.services.programs import environment
from tests.services.source import Source, serving

PACKAGES = (
    "tempest/api/image/v2",
    "tempest/api/image/v2/admin",
    "glance_tempest_plugin/tests/rbac/v2",
    "glance_tempest_plugin/tests/rbac/v2/metadefs",
)
ONE_STORE = (
    "test_image_glance_direct_import[",
    "test_image_glance_download_import_success",
    "test_image_web_download_import[",
    "test_remote_import",
)
"""They wait until an image is in every store, also when it was imported to the default one: they want one store."""
ENOUGH = 200
"""How many of their tests pass at least; so a run in which all are skipped is noticed."""

CONFIGURATION = """
[DEFAULT]
log_file = {folder}/tempest.log
[oslo_concurrency]
lock_path = {folder}/lock
[auth]
use_dynamic_credentials = True
admin_username = admin
admin_password = {password}
admin_project_name = admin
admin_domain_name = Default
[identity]
uri_v3 = {keystone}/v3
auth_version = v3
[identity-feature-enabled]
api_v3 = true
[service_available]
glance = true
nova = false
cinder = false
neutron = false
swift = false
[image]
build_interval = 1
build_timeout = 60
http_qcow2_image = {source}/disk.qcow2
image_caching_enabled = true
alternate_image_endpoint = image_remote
[image-feature-enabled]
import_image = true
os_glance_reserved = true
[enforce_scope]
glance = true
"""

SERVICE = (
    """
[DEFAULT]
enabled_backends = cheap:file, fast:file
enabled_import_methods = [glance-direct,web-download,copy-image,glance-download]
image_cache_dir = {own}/cache
worker_self_reference_url = {url}
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {folder}/fast
[cheap]
filesystem_store_datadir = {folder}/cheap
[os_glance_staging_store]
filesystem_store_datadir = {own}/staging
[import_filtering_opts]
allowed_hosts = 127.0.0.1
allowed_ports = {ports}
[paste_deploy]
flavor = keystone+caching
"""
    + AUTHTOKEN
)


@pytest.fixture(scope="module")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKeystone]:
    """A Keystone of its own: the catalog names one image service."""
    running = made_keystone(tmp_path_factory.mktemp("keystone"))
    yield running
    running.stop()


def made_keystone(folder: Path) -> RealKeystone:
    running = RealKeystone(find_venv(), folder)
    running.make()
    running.start()
    running.add_user("glance", "service", "service")
    return running


@pytest.fixture(scope="module")
def source() -> Iterator[Source]:
    """Where there is an image to be imported."""
    with serving(qcow2()) as found:
        yield found


@pytest.fixture(scope="module")
def daemon(keystone: RealKeystone, source: Source, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A service with two stores and our metadata definitions, in Keystone's catalog."""
    folder = tmp_path_factory.mktemp("service")
    running = Daemon(folder)
    running.configure(options(running, keystone, source, folder))
    running.start()
    done = run_command("glancetx-manage", "--config-file", folder / "glance-api.conf", "db", "load_metadefs")
    assert done.returncode == 0, done.stderr
    keystone.add_endpoint("image", running.url)
    yield running
    running.stop()


def options(daemon: Daemon, keystone: RealKeystone, source: Source, folder: Path) -> str:
    """The stores lie in *folder*, cache and staging area in the daemon's own. It may fetch from our ports here."""
    return SERVICE.format(
        folder=folder,
        own=daemon.folder,
        url=daemon.url,
        keystone=keystone.url,
        password=PASSWORD,
        ports=f"{source.port},{daemon.port}",
    )


@pytest.fixture(scope="module")
def other_node(
    daemon: Daemon, keystone: RealKeystone, source: Source, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """Another node of the same service, with a cache of its own."""
    running = Daemon(tmp_path_factory.mktemp("other"))
    running.configure(options(running, keystone, source, daemon.folder))
    running.configure(f"[database]\nconnection = sqlite:///{daemon.folder}/db.sqlite\n")
    running.start()
    keystone.add_endpoint("image_remote", running.url)
    yield running
    running.stop()


def modules(tempest: Path) -> list[str]:
    """The names of their test modules."""
    (site,) = tempest.parent.glob("lib/python3*/site-packages")
    found = [path for package in PACKAGES for path in sorted((site / package).glob("test_*.py"))]
    return [".".join(path.relative_to(site).with_suffix("").parts) for path in found]


@cache
def listed(tempest: Path) -> list[str]:
    """The names of their tests, wherever the services are."""
    nowhere = "http://127.0.0.1"
    command = [str(tempest / "python"), "-m", "testtools.run", "--list", *modules(tempest)]
    with TemporaryDirectory() as folder:
        environ = configured(Path(folder), nowhere, nowhere)
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout.splitlines()


def configured(folder: Path, keystone: str, source: str) -> dict[str, str]:
    """Write their configuration, with these URLs; the environment in which it is read."""
    text = CONFIGURATION.format(folder=folder, keystone=keystone, password=PASSWORD, source=source)
    (folder / "tempest.conf").write_text(text)
    return {**os.environ, "TEMPEST_CONFIG_DIR": str(folder), "TEMPEST_CONFIG": "tempest.conf"}


def wants_one_store(test: str) -> bool:
    return any(part in test for part in ONE_STORE)


def test_tempest(keystone: RealKeystone, source: Source, daemon: Daemon, other_node: Daemon, tmp_path: Path) -> None:
    """Nothing fails where there are two stores; and our log has no traceback."""
    passed = run_tempest(keystone, source, tmp_path, lambda test: not wants_one_store(test))
    assert passed >= ENOUGH
    for node in (daemon, other_node):
        assert "Traceback" not in node.log.read_text()


def test_tempest_with_one_store(source: Source, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """Nor what wants a service with one store."""
    keystone = made_keystone(tmp_path_factory.mktemp("keystone"))
    nodes = [Daemon(tmp_path_factory.mktemp(name)) for name in ("service", "other")]
    try:
        for node, name in zip(nodes, ("image", "image_remote"), strict=True):
            text = options(node, keystone, source, nodes[0].folder)
            node.configure(text.replace("cheap:file, fast:file", "fast:file"))
            node.configure(f"[database]\nconnection = sqlite:///{nodes[0].folder}/db.sqlite\n")
            node.start()
            keystone.add_endpoint(name, node.url)
        assert run_tempest(keystone, source, tmp_path, wants_one_store) == len(ONE_STORE)
    finally:
        for node in nodes:
            node.stop()
        keystone.stop()


def run_tempest(keystone: RealKeystone, source: Source, folder: Path, wanted: Callable[[str], bool]) -> int:
    """Run the *wanted* tests, of which none may fail; returns how many passed."""
    tempest = environment("GLANCETX_TEMPEST_VENV", "tempest-venv", "tempest")
    settings = configured(folder, keystone.url, source.url)
    (folder / "list").write_text("\n".join(test for test in listed(tempest) if wanted(test)))
    with (folder / "results").open("wb") as results, (folder / "errors").open("wb") as errors:
        command = [str(tempest / "python"), "-m", "subunit.run", "--load-list", str(folder / "list"), *modules(tempest)]
        subprocess.run(command, cwd=folder, env=settings, stdout=results, stderr=errors, timeout=560, check=False)
    with (folder / "results").open("rb") as results:
        command = [str(tempest / "subunit2csv"), "--no-passthrough"]
        told = subprocess.run(command, stdin=results, capture_output=True, text=True, timeout=300, check=False).stdout
    outcomes = {row["test"]: row["status"] for row in csv.DictReader(told.splitlines())}
    failed = [test for test, status in outcomes.items() if status == "failure"]
    assert failed == [], (folder / "tempest.log").read_text(errors="replace")[-2000:]
    passed = [test for test, status in outcomes.items() if status == "success"]
    assert passed, (outcomes, (folder / "errors").read_text()[-3000:])
    return len(passed)
