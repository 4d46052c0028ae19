"""The two image services: glancetx by twistd, and a real Glance under uWSGI. Both without authentication."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from attrs import evolve, frozen

from tests.bench.peers import Certificate, Server
from tests.bench.processes import HOST, BenchFailure, Process, free_port, tail


@frozen(kw_only=True)
class GlanceSetup:
    """Where Glance is installed, and how it is run; *database* defaults to SQLite in its directory.

    *options* are more of its configuration.
    """

    venv: Path
    database: str = ""
    options: str = ""
    processes: int = 2
    threads: int = 8


def start_glancetx(
    directory: Path,
    certificate: Certificate,
    database: str = "",
    workers: int = 1,
    name: str = "glancetx",
    options: str = "",
) -> Server:
    """``twistd -n glancetx`` over *directory*, plain and by TLS; what an earlier start left there is used again.

    One worker means one process: the service itself, without a parent.
    """
    (directory / "images").mkdir(parents=True, exist_ok=True)
    database = database or f"sqlite:///{directory / 'glance.sqlite'}"
    configuration = directory / "glance-api.conf"
    configuration.write_text(f"""\
[database]
connection = {database}
[glance_store]
filesystem_store_datadir = {directory / "images"}
{options}""")
    port, secure = free_port(), free_port()
    listen = [
        f"--listen=tcp:{port}:interface={HOST}:backlog=4096",
        f"--listen=ssl:{secure}:interface={HOST}:certKey={certificate.certificate}:privateKey={certificate.key}",
    ]
    process = Process(
        [
            str(Path(sys.executable).with_name("twistd")),
            *("-n", f"--pidfile={directory / 'twistd.pid'}", f"--logfile={directory / 'twistd.log'}"),
            *("glancetx", f"--config-file={configuration}", *listen),
            *((f"--workers={workers}",) if workers > 1 else ()),
        ],
        directory / "out.log",
        directory,
    )
    server = Server(name=name, process=process, port=port, secure=secure, directory=directory, database=database)
    return evolve(server, first_answer=wait_for_answer(server, directory / "twistd.log"))


def start_glance(directory: Path, setup: GlanceSetup, synchronised: bool = False) -> Server:
    """Glance under uWSGI; every caller is an administrator. Unless *synchronised*, its tables are made first."""
    for folder in ("images", "staging", "tasks", "cache", "lock", "conf"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    port = free_port()
    database = setup.database or f"sqlite:///{directory / 'glance.sqlite'}"
    configuration = _configure_glance(directory, setup, database, port)
    if not synchronised:
        _run([str(setup.venv / "bin" / "glance-manage"), "--config-file", str(configuration), "db_sync"])
    process = Process(
        [
            str(setup.venv / "bin" / "uwsgi"),
            *("--virtualenv", str(setup.venv), "--listen", "4096"),
            *("--http11-socket", f"{HOST}:{port}"),  # the fastest of its ways to speak HTTP: keeps connections
            *("--module", "glance.wsgi.api:application", "--need-app", "--lazy-apps", "--enable-threads"),
            *("--master", "--processes", str(setup.processes), "--threads", str(setup.threads)),
            *("--thunder-lock", "--die-on-term", "--buffer-size", "65535", "--disable-logging"),
        ],
        directory / "uwsgi.log",
        directory,
        {"OS_GLANCE_CONFIG_DIR": str(directory / "conf"), "PYTHONHOME": "", "PYTHONPATH": ""},
    )
    server = Server(name="glance", process=process, port=port, directory=directory, database=database)
    return evolve(server, first_answer=wait_for_answer(server, directory / "uwsgi.log"))


def _configure_glance(directory: Path, setup: GlanceSetup, database: str, port: int) -> Path:
    """Write the files Glance reads; returns the main one."""
    paste = setup.venv / "etc" / "glance" / "glance-api-paste.ini"
    configuration = directory / "conf" / "glance-api.conf"
    configuration.write_text(f"""\
[DEFAULT]
log_file = {directory / "api.log"}
enabled_backends = file:file
node_staging_uri = file://{directory / "staging"}/
worker_self_reference_url = http://{HOST}:{port}
image_cache_dir = {directory / "cache"}
[database]
connection = {database}
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = {directory / "images"}
[os_glance_staging_store]
filesystem_store_datadir = {directory / "staging"}
[os_glance_tasks_store]
filesystem_store_datadir = {directory / "tasks"}
[task]
work_dir = {directory / "tasks"}
[paste_deploy]
config_file = {paste}
{setup.options}
[oslo_concurrency]
lock_path = {directory / "lock"}
[oslo_policy]
policy_file = {directory / "conf" / "policy.yaml"}
""")
    (directory / "conf" / "policy.yaml").write_text('context_is_admin: "@"\nservice_api: "@"\n')
    (directory / "conf" / "glance-image-import.conf").write_text("[image_import_opts]\nimage_import_plugins = []\n")
    return configuration


def _run(command: Sequence[str]) -> None:
    """Run to the end; BenchFailure with the last lines when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise BenchFailure(f"{command[0]}: {(done.stdout + done.stderr)[-500:]}")


def wait_for_answer(server: Server, log: Path, seconds: float = 30.0) -> float:
    """Ask for the list of images until it is answered; returns the seconds that took."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds and server.process.alive():
        try:
            with urlopen(server.url("/v2/images?limit=1"), timeout=5):
                return time.monotonic() - began
        except HTTPError as error:
            if error.code == 401:  # it wants to know who asks
                return time.monotonic() - began
        except (URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.005)
    logged = tail(log) + tail(server.process.log)
    server.process.stop(1)
    raise BenchFailure(f"{server.name} gave no answer in {passed:.1f} s: {logged}")
