"""A Galera cluster of two MariaDB nodes; both take writes, and whoever commits second in a conflict is rolled back."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pymysql

from tests.needs import lacking
from tests.ports import free_port
from tests.services.mariadb import GRANTS
from tests.services.processes import ServerProcess, find_program

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")


class GaleraNode:
    """One node; *members* are the addresses of all nodes' own conversation, *port* ours of these."""

    def __init__(self, name: str, port: int, members: list[int]) -> None:
        server = find_program("mariadbd", "/usr/sbin")
        self.process = ServerProcess("galera", user="mysql")
        folder, self.port = self.process.folder, self.process.port
        provider = f"gmcast.listen_addr=tcp://127.0.0.1:{port};ist.recv_addr=127.0.0.1:{free_port()}"
        self._command = [
            server, "--no-defaults", f"--datadir={folder}/data", f"--tmpdir={folder}", f"--socket={folder}/socket",
            f"--pid-file={folder}/pid", "--bind-address=127.0.0.1", f"--port={self.port}", "--skip-name-resolve",
            f"--init-file={folder}/grants.sql", "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=32M",
            "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", "--innodb-buffer-pool-size=64M",
            "--performance-schema=OFF", "--wsrep-on=ON", f"--wsrep-provider={PROVIDER}", "--wsrep-cluster-name=tests",
            f"--wsrep-cluster-address=gcomm://{','.join(f'127.0.0.1:{each}' for each in members)}",
            f"--wsrep-node-name={name}", "--wsrep-node-address=127.0.0.1",
            f"--wsrep-node-incoming-address=127.0.0.1:{self.port}", "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address=127.0.0.1:{free_port()}",
            f"--wsrep-provider-options={provider};gcache.size=16M;pc.recovery=false",
        ]  # fmt: skip
        (folder / "grants.sql").write_text(GRANTS)
        (folder / "grants.sql").chmod(0o644)

    def install(self) -> None:
        """Make an empty database."""
        install = find_program("mariadb-install-db", "/usr/bin")
        self.process.run(
            [install, "--no-defaults", f"--datadir={self.process.folder}/data", "--skip-test-db", "--skip-name-resolve",
             "--auth-root-authentication-method=normal", "--innodb-log-file-size=32M"]
        )  # fmt: skip

    def copy_from(self, other: GaleraNode) -> None:
        """Have the same empty database as *other*, which has not been started yet."""
        data = self.process.folder / "data"
        shutil.copytree(other.process.folder / "data", data)
        if os.geteuid() == 0:
            owner = (other.process.folder / "data").stat()
            for path in (data, *data.rglob("*")):
                os.chown(path, owner.st_uid, owner.st_gid)

    def start(self, *options: str) -> None:
        self.process.start([*self._command, *options], self._check)

    def _check(self) -> None:
        assert self.run("SHOW STATUS LIKE 'wsrep_local_state_comment'")[0][1] == "Synced"

    def url(self, database: str) -> str:
        return f"mysql+pymysql://glance@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str) -> list[Any]:
        """One statement, and its rows."""
        connection = pymysql.connect(host="127.0.0.1", port=self.port, user="glance", autocommit=True)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())


class Galera:
    """Two nodes with no data yet."""

    def __init__(self) -> None:
        if not PROVIDER.exists():
            lacking("galera-4")
        for program in ("rsync", "lsof"):
            find_program(program, "/usr/bin")
        members = [free_port(), free_port()]
        self.nodes = [GaleraNode(f"node{number}", port, members) for number, port in enumerate(members)]

    def start(self) -> None:
        first, second = self.nodes
        first.install()
        second.copy_from(first)
        first.start("--wsrep-new-cluster")
        second.start()

    def remove(self) -> None:
        """Stop it, and forget its data."""
        for node in reversed(self.nodes):
            node.process.stop(signal.SIGTERM)
            node.process.remove()
