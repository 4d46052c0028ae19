"""A private MariaDB: its user ``glance`` may do everything, without a password, from this machine."""

from __future__ import annotations

import signal
from typing import Any

import pymysql

from tests.services.processes import ServerProcess, find_program

GRANTS = """
CREATE USER IF NOT EXISTS glance@'127.0.0.1';
GRANT ALL ON *.* TO glance@'127.0.0.1' WITH GRANT OPTION;
"""


class MariaDb:
    """A server with no data yet, that does not wait for the disk. *options* are more of the server's own."""

    def __init__(self, *options: str) -> None:
        install = find_program("mariadb-install-db", "/usr/bin")
        server = find_program("mariadbd", "/usr/sbin")
        self._process = ServerProcess("mariadb", user="mysql")
        folder = self._process.folder
        self.port = self._process.port
        self._command = [
            server, "--no-defaults", f"--datadir={folder}/data", f"--tmpdir={folder}", f"--socket={folder}/socket",
            f"--pid-file={folder}/pid", "--bind-address=127.0.0.1", f"--port={self.port}", "--skip-name-resolve",
            f"--init-file={folder}/grants.sql", "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=32M",
            "--performance-schema=OFF", *options,
        ]  # fmt: skip
        (folder / "grants.sql").write_text(GRANTS)
        (folder / "grants.sql").chmod(0o644)
        try:
            self._process.run(
                [install, "--no-defaults", f"--datadir={folder}/data", "--skip-test-db", "--skip-name-resolve",
                 "--auth-root-authentication-method=normal", "--innodb-log-file-size=32M"]
            )  # fmt: skip
        except BaseException:
            self._process.remove()
            raise

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def start(self) -> None:
        self._process.start(self._command, lambda: self.run("SELECT 1"))

    def stop(self) -> None:
        self._process.stop(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        self._process.stop(signal.SIGKILL)

    def signal(self, number: int) -> None:
        self._process.signal(number)

    def remove(self) -> None:
        """Stop it, and forget its data."""
        self.stop()
        self._process.remove()

    def url(self, database: str) -> str:
        # The client would read all authorities for each connection, in case the server offers TLS.
        return f"mysql+pymysql://glance@127.0.0.1:{self.port}/{database}?ssl_disabled=1"

    def create(self, database: str) -> None:
        self.run(f"CREATE DATABASE {database}")

    def drop(self, database: str) -> None:
        self.run(f"DROP DATABASE {database}")

    def run(self, statement: str) -> list[Any]:
        """One statement, and its rows."""
        connection = pymysql.connect(
            host="127.0.0.1", port=self.port, user="glance", autocommit=True, ssl_disabled=True
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())
