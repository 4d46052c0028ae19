"""Two nodes on one MariaDB: whoever leads a background service is killed, or put to sleep, again and again.

``GLANCETX_LEADER_KILLS`` tells how often; CI does it a few times. Whatever the moment: no run goes on beside another
one of the same service, and every service is run again soon. Leases are in the database, or in a real etcd.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path

import pytest
from attrs import define, field, frozen

from tests.running import PATIENCE, Daemon
from tests.services.etcd import Etcd
from tests.services.mariadb import MariaDb

KILLS = int(os.environ.get("GLANCETX_LEADER_KILLS", "0"))
LEASE = 6.0 if KILLS else 2.0  # seconds
EVERY = 0.3
SERVICES = ("auditor", "placer", "replicator", "scrubber")
PROGRAM = Path(__file__).parent / "scripts" / "recording_node.py"


@frozen
class Entry:
    """A line of the record; *what* also is what the test does to a process: killed, asleep, awake."""

    at: float
    pid: int
    service: str
    what: str


def doubled(entries: Sequence[Entry], service: str) -> list[str]:
    """Where a run went on, or its process began another one, though another process had begun meanwhile.

    A process that gets no time is like one that is asleep: its run may be open still, but nothing may happen in it.
    """
    found, running, overtaken = [], set[int](), set[int]()
    for entry in entries:
        if entry.service != service:
            continue
        if entry.pid in overtaken and entry.what not in ("cancelled", "failed"):
            found.append(f"{entry} after another one began")
        if entry.what == "begin":
            overtaken |= running - {entry.pid}
            running.add(entry.pid)
        elif entry.what in ("end", "cancelled", "failed"):
            running.discard(entry.pid)
            overtaken.discard(entry.pid)
    return found


def test_what_is_doubled() -> None:
    """The record's reader sees what it should see, and nothing else."""

    def story(*whats: tuple[int, str]) -> list[str]:
        return doubled([Entry(0.0, pid, "auditor", what) for pid, what in whats], "auditor")

    assert not story((1, "begin"), (1, "step"), (1, "end"), (2, "begin"), (2, "end"), (1, "begin"))
    assert not story((1, "begin"), (2, "begin"), (2, "step"))
    assert not story((1, "begin"), (2, "begin"), (1, "cancelled"), (2, "end"), (1, "begin"))
    assert story((1, "begin"), (2, "begin"), (2, "step"), (1, "step"))
    assert story((1, "begin"), (2, "begin"), (1, "end"))
    assert story((1, "begin"), (2, "begin"), (1, "cancelled"), (1, "begin"), (2, "step"))


@define
class Nodes:
    """Both nodes and their record. *etcd* has the leases, if it is there."""

    daemons: list[Daemon]
    record: Path
    etcd: Etcd | None
    _entries: list[Entry] = field(factory=list)
    _read: int = 0  # bytes of the record

    def entries(self) -> list[Entry]:
        with self.record.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if line.endswith(b"\n"):
                    at, pid, service, what = line.decode().split()
                    self._entries.append(Entry(float(at), int(pid), service, what))
                    self._read += len(line)
        return self._entries

    def note(self, pid: int, what: str) -> None:
        with self.record.open("a") as file:
            file.write(f"{time.monotonic():.4f} {pid} - {what}\n")

    def begun(self, since: float, besides: int = 0) -> set[str]:
        """The services of which another process than *besides* has begun a run since then."""
        late = takewhile(lambda entry: entry.at > since, reversed(self.entries()))
        return {entry.service for entry in late if entry.what == "begin" and entry.pid != besides}

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, [daemon.log.read_text()[-2000:] for daemon in self.daemons]
            time.sleep(0.02)

    def leader(self, service: str) -> Daemon:
        """The node that has begun the last run of it."""
        self.wait(lambda: service in self.begun(0.0))
        runs = (entry for entry in reversed(self.entries()) if entry.service == service and entry.what == "begin")
        last = next(runs).pid
        return next(daemon for daemon in self.daemons if daemon.pid == last)

    def start(self, daemon: Daemon) -> None:
        daemon.start(RECORD=str(self.record), NODE=daemon.folder.name, EVERY=str(EVERY))

    def kill(self, victim: Daemon) -> float:
        """Kill it and have it back when the other one has taken over; seconds until the last service ran again."""
        pid = victim.pid
        self.note(pid, "killed")  # at once: nothing that it does after this is anything it did alive
        victim.signal(signal.SIGKILL)
        victim.wait()
        at = time.monotonic()
        self.wait(lambda: self.begun(at, pid) >= set(SERVICES))
        gap = time.monotonic() - at
        self.start(victim)
        return gap

    def sleep(self, victim: Daemon) -> float:
        """Have it sleep until the other one has taken over, and wake it up; seconds as above."""
        pid, at = victim.pid, time.monotonic()
        self.note(pid, "asleep")
        victim.signal(signal.SIGSTOP)
        self.wait(lambda: self.begun(at, pid) >= set(SERVICES))
        gap = time.monotonic() - at
        time.sleep(random.uniform(0, 0.5))
        self.note(pid, "awake")
        victim.signal(signal.SIGCONT)
        return gap


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDb]:
    server = MariaDb()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module", params=["database", "etcd"])
def nodes(
    mariadb: MariaDb, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Nodes]:
    tmp_path = tmp_path_factory.mktemp("nodes")
    etcd = Etcd(tmp_path) if request.param == "etcd" else None
    mariadb.create("leaders")
    daemons: list[Daemon] = []
    nodes = Nodes(daemons, tmp_path / "record", etcd)
    try:
        if etcd is not None:
            etcd.start()
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            daemon = Daemon(tmp_path / name, whole=True)
            daemon.command = [sys.executable, str(PROGRAM)]
            daemon.configure(f"""
                [DEFAULT]
                enabled_backends = fast:file, cheap:file
                wakeup_time = 1
                [database]
                connection = {mariadb.url("leaders")}
                [glance_store]
                default_backend = fast
                [fast]
                filesystem_store_datadir = {tmp_path}/fast
                [cheap]
                filesystem_store_datadir = {tmp_path}/cheap
                [glancetx]
                replication_rule = * -> 2
                [coordination]
                lease = {LEASE}
                {f"backend_url = {etcd.url}" if etcd else ""}
            """)
            daemons.append(daemon)
            nodes.start(daemon)
        yield nodes
    finally:
        for daemon in daemons:
            daemon.signal(signal.SIGCONT)
            daemon.stop()
        if etcd is not None:
            etcd.stop()
        mariadb.drop("leaders")


def test_killed_at_random(nodes: Nodes) -> None:
    """No run beside another one, and no service without a run for long."""
    gaps = []
    for number in range(KILLS or 2):
        time.sleep(random.uniform(0, LEASE))
        victim = nodes.leader(random.choice(SERVICES))
        gaps.append(nodes.sleep(victim) if number % 3 == 1 else nodes.kill(victim))
    entries = sorted(nodes.entries(), key=lambda entry: entry.at)
    assert [line for service in SERVICES for line in doubled(entries, service)] == []
    runs = sum(entry.what == "begin" for entry in entries)
    print(f"{len(gaps)} leaders lost, {runs} runs, all services again after {sum(gaps) / len(gaps):.2f} s")
    print(f"at most {max(gaps):.2f} s, which is {max(gaps) / LEASE:.2f} leases")
    if KILLS:  # a machine busy with other tests would tell nothing
        assert max(gaps) <= 2 * LEASE


@pytest.mark.parametrize("nodes", ["etcd"], indirect=True)
def test_etcd_away(nodes: Nodes) -> None:
    """Without etcd nobody leads, and requests are answered; when it is back, all goes on by itself."""
    assert nodes.etcd is not None
    leader = nodes.leader("auditor")
    nodes.wait(lambda: nodes.begun(0.0) >= set(SERVICES))
    before = len(leader.log.read_text())
    nodes.etcd.stop()
    nodes.wait(lambda: "so it pauses" in leader.log.read_text()[before:])
    at = time.monotonic()
    assert [daemon.call("GET", "/v2/images")[0] for daemon in nodes.daemons] == [200, 200]
    time.sleep(4 * EVERY)
    assert nodes.begun(at) == set()
    nodes.etcd.start()
    nodes.wait(lambda: nodes.begun(at) >= set(SERVICES))
