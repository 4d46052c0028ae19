"""``twistd glancetx`` as a process: workers, draining, reloading, systemd, and how it fails and is daemonized."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from glancetx.standalone.certificates import CertificateFiles, prepare_certificates
from tests.running import DATA, Daemon

PATIENCE = 60.0  # seconds for what takes a moment on an idle machine
CONTENT = os.urandom(8 * 1024 * 1024)


def until(true: Callable[[], object], what: str) -> None:
    """Wait until *true* says so."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"not in {PATIENCE} s: {what}"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def workers(daemon: Daemon) -> list[int]:
    """All worker processes the log tells of that still live."""
    pids = re.findall(r"worker \d is process (\d+)", daemon.log.read_text())
    return [int(pid) for pid in pids if lives(int(pid))]


def refuses(daemon: Daemon) -> bool:
    try:
        socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE).close()
    except OSError:
        return True
    return False


def create(daemon: Daemon) -> str:
    body = json.dumps({"name": "x", "disk_format": "raw", "container_format": "bare"}).encode()
    status, reply = daemon.call("POST", "/v2/images", body)
    assert status == 201
    return str(json.loads(reply)["id"])


def status(daemon: Daemon, image_id: str) -> Any:
    return json.loads(daemon.call("GET", f"/v2/images/{image_id}")[1])["status"]


def filled(daemon: Daemon) -> str:
    """The id of an image with CONTENT."""
    image_id = create(daemon)
    assert daemon.call("PUT", f"/v2/images/{image_id}/file", CONTENT, Content_Type=DATA)[0] == 204
    return image_id


@contextmanager
def uploading(daemon: Daemon, image_id: str) -> Iterator[socket.socket]:
    """A connection on which the first half of CONTENT has been sent, and was noticed."""
    head = (
        f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\nContent-Type: {DATA}\r\nContent-Length: {len(CONTENT)}"
    )
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + CONTENT[: len(CONTENT) // 2])
        until(lambda: status(daemon, image_id) == "saving", "the upload begins")
        yield connection


@contextmanager
def downloading(daemon: Daemon, image_id: str) -> Iterator[http.client.HTTPResponse]:
    """The answer to a request for the data, whose headers are read; the kernels hold far less than CONTENT."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.sock.settimeout(PATIENCE)
    connection.sock.connect(("127.0.0.1", daemon.port))
    connection.request("GET", f"/v2/images/{image_id}/file")
    with closing(connection), closing(connection.getresponse()) as response:
        yield response


@pytest.fixture
def whole(daemon: Daemon) -> None:
    """It begins as those do that nobody tests. Workers always do."""
    daemon.whole = True


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Where systemd would listen for what its service says; give its name as NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("")  # Linux chooses an abstract name
        heard.settimeout(PATIENCE)
        yield heard


def name(systemd: socket.socket) -> str:
    return f"@{systemd.getsockname()[1:].decode()}"


def hear(systemd: socket.socket) -> dict[str, str]:
    lines = systemd.recv(4096).decode().splitlines()
    return dict(line.split("=", 1) for line in lines)


# Workers


@pytest.fixture
def pair(daemon: Daemon, systemd: socket.socket) -> Daemon:
    """A parent and two workers, which both serve."""
    daemon.start("--workers=2", NOTIFY_SOCKET=name(systemd))
    assert "READY" in hear(systemd)
    return daemon


@pytest.mark.usefixtures("whole")
def test_both_workers_serve(pair: Daemon) -> None:
    """On a new database two workers start at once; each of them answers when the other one does not."""
    first, second = workers(pair)
    assert "a new one comes" not in pair.log.read_text()
    for sleeping in (first, second):
        os.kill(sleeping, signal.SIGSTOP)
        try:
            assert pair.answers()
        finally:
            os.kill(sleeping, signal.SIGCONT)


def test_dead_worker_is_replaced(pair: Daemon, systemd: socket.socket) -> None:
    """One killed worker does not end the service, and another one takes its place."""
    killed, other = workers(pair)
    os.kill(killed, signal.SIGKILL)
    until(lambda: not lives(killed), "the worker dies")
    assert pair.answers()
    assert "READY" in hear(systemd)  # both serve again
    assert len(workers(pair)) == 2
    assert other in workers(pair)
    os.kill(other, signal.SIGSTOP)
    try:
        assert pair.answers()
    finally:
        os.kill(other, signal.SIGCONT)


def test_workers_do_not_outlive_their_parent(pair: Daemon) -> None:
    """When the parent is killed its workers end by themselves, and the port is free."""
    pids = workers(pair)
    os.kill(pair.pid, signal.SIGKILL)
    pair.wait()
    for pid in pids:
        until(lambda pid=pid: not lives(pid), "the worker ends")  # type: ignore[misc]
    assert refuses(pair)


def test_workers_drain(pair: Daemon) -> None:
    """SIGTERM to the parent: a transfer of a worker ends in peace, then all processes end, with status 0."""
    image_id = filled(pair)
    pids = workers(pair)
    with downloading(pair, image_id) as response:
        pair.signal(signal.SIGTERM)
        until(lambda: refuses(pair), "the port is closed")
        assert response.read() == CONTENT
    assert pair.wait() == 0
    assert not any(lives(pid) for pid in pids)


def test_workers_hurry(pair: Daemon) -> None:
    """A second SIGTERM to the parent ends its workers' transfers."""
    image_id = filled(pair)
    with downloading(pair, image_id) as response:
        pair.signal(signal.SIGTERM)
        until(lambda: "draining" in pair.log.read_text(), "a worker drains")
        pair.signal(signal.SIGTERM)
        assert pair.wait() == 0
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()


@pytest.mark.usefixtures("whole")
def test_terminal_interrupts_gently(pair: Daemon) -> None:
    """Control-C is sent to all of the parent's process group; the workers hear of it only by the parent."""
    daemon = pair
    image_id = filled(daemon)
    with downloading(daemon, image_id) as response:
        assert not any(os.getpgid(pid) == os.getpgid(daemon.pid) for pid in workers(daemon))
        daemon.signal(signal.SIGINT)
        until(lambda: refuses(daemon), "the port is closed")
        assert response.read() == CONTENT
    assert daemon.wait() == -signal.SIGINT


# Draining


def test_upload_ends(daemon: Daemon) -> None:
    """SIGTERM: the upload is taken to its end, new and idle connections are not; then the process ends, with 0."""
    daemon.configure("[glancetx]\ndrain_timeout = 600")
    daemon.start()
    image_id = create(daemon)
    with closing(daemon.connection()) as idle, uploading(daemon, image_id) as connection:
        idle.request("GET", "/healthcheck")
        assert idle.getresponse().read()
        assert idle.sock is not None
        daemon.signal(signal.SIGTERM)
        assert idle.sock.recv(1) == b""
        until(lambda: refuses(daemon), "the port is closed")
        connection.sendall(CONTENT[len(CONTENT) // 2 :])
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 204
        assert connection.recv(1) == b""
    assert daemon.wait() == 0
    daemon.start()
    assert daemon.call("GET", f"/v2/images/{image_id}/file") == (200, CONTENT)


@pytest.mark.usefixtures("whole")
def test_download_ends(daemon: Daemon) -> None:
    """SIGTERM: a client which is slow to read gets all bytes."""
    daemon.configure("[glancetx]\ndrain_timeout = 600")
    daemon.start()
    with downloading(daemon, filled(daemon)) as response:
        daemon.signal(signal.SIGTERM)
        until(lambda: refuses(daemon), "the port is closed")
        assert response.read() == CONTENT
    assert daemon.wait() == 0


def test_second_signal_hurries(daemon: Daemon) -> None:
    """A second SIGTERM ends what is going on; the upload leaves nothing behind."""
    daemon.configure("[glancetx]\ndrain_timeout = 600")
    daemon.start()
    image_id = create(daemon)
    with uploading(daemon, image_id):
        daemon.signal(signal.SIGTERM)
        until(lambda: refuses(daemon), "the port is closed")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    assert list(daemon.images.iterdir()) == []
    daemon.start()
    assert status(daemon, image_id) == "queued"


def test_drain_timeout(daemon: Daemon) -> None:
    """Transfers which take longer than drain_timeout are ended, not before."""
    daemon.configure("[glancetx]\ndrain_timeout = 2")
    daemon.start()
    with downloading(daemon, filled(daemon)):
        begin = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert time.monotonic() - begin >= 2


# Reloading


@pytest.fixture
def tls(daemon: Daemon) -> CertificateFiles:
    """Certificates in the daemon's folder; it listens with TLS, and its client trusts them."""
    files = prepare_certificates(daemon.folder / "tls", ["127.0.0.1"])
    daemon.configure(f"[glancetx]\ntls_certificate = {files.certificate}\ntls_key = {files.key}")
    daemon.listen = f"ssl:{daemon.port}:interface=127.0.0.1"
    daemon.tls = ssl.create_default_context(cafile=files.ca)
    return files


def certificate_of(daemon: Daemon) -> str:
    """The serial number of the certificate that a new connection gets."""
    connection = daemon.connection()
    connection.connect()
    assert isinstance(connection.sock, ssl.SSLSocket)
    found: Any = connection.sock.getpeercert()
    connection.close()
    return str(found["serialNumber"])


def renew(files: CertificateFiles) -> None:
    files.certificate.unlink()
    prepare_certificates(files.certificate.parent, ["127.0.0.1"])


def hang_up(daemon: Daemon, says: str, times: int = 1) -> None:
    """Send SIGHUP and wait for what the log says of it."""
    daemon.signal(signal.SIGHUP)
    until(lambda: daemon.log.read_text().count(says) >= times, says)


@pytest.mark.parametrize("count", [0, 2])
def test_renewed_certificate(daemon: Daemon, tls: CertificateFiles, systemd: socket.socket, count: int) -> None:
    """After SIGHUP new connections get the renewed certificate; those which exist stay."""
    daemon.start(f"--workers={count}", NOTIFY_SOCKET=name(systemd))
    assert "READY" in hear(systemd)
    kept = daemon.connection()
    kept.request("GET", "/healthcheck")
    assert kept.getresponse().read()
    before = kept.sock
    old = certificate_of(daemon)
    renew(tls)
    assert certificate_of(daemon) == old
    hang_up(daemon, "loaded the certificate", max(1, count))
    seen = {certificate_of(daemon) for _ in range(10)}
    assert len(seen) == 1
    assert seen != {old}
    kept.request("GET", "/healthcheck")
    assert kept.getresponse().status == 200
    assert kept.sock is before
    kept.close()


def test_broken_certificate(daemon: Daemon, tls: CertificateFiles) -> None:
    """A file that is no certificate is told in the log, and the old certificate is still given out."""
    daemon.start()
    old = certificate_of(daemon)
    tls.certificate.write_text("this is none")
    hang_up(daemon, "the old certificate stays in use")
    assert certificate_of(daemon) == old


@pytest.mark.parametrize("count", [0, 2])
def test_changed_option(daemon: Daemon, systemd: socket.socket, count: int) -> None:
    """SIGHUP has mutable options read again."""
    daemon.start(f"--workers={count}", NOTIFY_SOCKET=name(systemd))
    assert "READY" in hear(systemd)
    path = f"/healthcheck?{'x' * 1000}"
    assert daemon.call("GET", path)[0] == 200
    body = json.dumps({"name": "x" * 200, "description": "x" * 2000}).encode()
    assert daemon.call("POST", "/v2/images", body)[0] == 201
    daemon.configure("[glancetx]\nmax_url_length = 256\nmax_json_size = 1024")
    hang_up(daemon, "reloaded", max(1, count))
    assert {daemon.call("GET", path)[0] for _ in range(10)} == {414}
    assert {daemon.call("POST", "/v2/images", body)[0] for _ in range(10)} == {413}


def test_bad_option_at_reload(daemon: Daemon) -> None:
    """A configuration that has become wrong changes nothing; the log tells of it."""
    daemon.start()
    daemon.configure("[glancetx]\nmax_json_size = many")
    hang_up(daemon, "the old state stays")
    assert daemon.answers()


# systemd


@pytest.mark.usefixtures("whole")
def test_tells_systemd(daemon: Daemon, systemd: socket.socket) -> None:
    """READY once requests are answered, RELOADING around a reload, STOPPING when draining begins."""
    daemon.start(NOTIFY_SOCKET=name(systemd))
    ready = hear(systemd)
    assert (ready["READY"], ready["MAINPID"]) == ("1", str(daemon.pid))
    daemon.signal(signal.SIGHUP)
    reloading = hear(systemd)
    assert reloading["RELOADING"] == "1"
    assert int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert hear(systemd)["READY"] == "1"
    daemon.signal(signal.SIGTERM)
    assert hear(systemd)["STOPPING"] == "1"
    assert daemon.wait() == 0


def test_watchdog(daemon: Daemon, systemd: socket.socket) -> None:
    """The watchdog is fed in half its time."""
    daemon.start(NOTIFY_SOCKET=name(systemd), WATCHDOG_USEC="200000")
    states = [hear(systemd) for _ in range(4)]
    assert [state for state in states if "WATCHDOG" in state][1:]


# What goes wrong at the start, and daemons


def run(daemon: Daemon, *arguments: str, general: tuple[str, ...] = ("-n",)) -> subprocess.CompletedProcess[str]:
    """``twistd`` until it ends, or has made a daemon."""
    twistd = Path(sys.executable).parent / "twistd"
    pidfile = f"--pidfile={daemon.folder / 'twistd.pid'}"
    return subprocess.run(
        [str(twistd), *general, pidfile, "glancetx", *arguments],
        cwd=daemon.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def config(daemon: Daemon) -> str:
    return f"--config-file={daemon.folder / 'glance-api.conf'}"


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line it has said on the terminal before it failed."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    lines = [line for line in (done.stderr + done.stdout).splitlines() if "glancetx: " in line]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("count", [0, 2])
def test_port_in_use(daemon: Daemon, count: int) -> None:
    """Somebody else listens there: one line, and status 1."""
    with socket.create_server(("127.0.0.1", daemon.port)):
        line = complaint(run(daemon, config(daemon), f"--listen={daemon.listen}", f"--workers={count}"))
    assert f"127.0.0.1:{daemon.port}" in line
    assert "Address already in use" in line


def test_bad_option(daemon: Daemon) -> None:
    """What is wrong is told in one line that names it."""
    daemon.configure("[glancetx]\nmax_json_size = many")
    assert "max_json_size" in complaint(run(daemon, config(daemon)))


def test_missing_configuration(daemon: Daemon) -> None:
    """A file that cannot be read is named."""
    assert "absent.conf" in complaint(run(daemon, "--config-file=absent.conf"))


def test_bad_argument(daemon: Daemon) -> None:
    """An argument that is none of ours is refused by twistd."""
    done = run(daemon, "--workers=many")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.usefixtures("whole")
def test_database_cannot_be_opened(daemon: Daemon) -> None:
    """The log tells why in one line, and the status is 1."""
    daemon.configure("[database]\nconnection = sqlite:////absent/db.sqlite")
    daemon.start()
    assert daemon.wait() == 1
    log = daemon.log.read_text()
    why = "The database cannot be opened: unable to open database file"
    assert f"the image service cannot start: {why}" in log
    assert "Traceback" not in log


def test_daemon(daemon: Daemon) -> None:
    """Without -n the command returns when connections are accepted or wait to be; the pid file leads to SIGTERM."""
    log = daemon.folder / "daemon.log"
    done = run(daemon, config(daemon), f"--listen={daemon.listen}", general=(f"--logfile={log}",))
    assert done.returncode == 0, done.stderr
    pidfile = daemon.folder / "twistd.pid"
    pid = int(pidfile.read_text())
    try:
        assert daemon.call("GET", "/healthcheck")[0] == 200
    finally:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not lives(pid), "the daemon ends")
    assert not pidfile.exists()


def test_daemon_cannot_listen(daemon: Daemon) -> None:
    """Without -n it is also the command that fails, and it leaves no pid file."""
    log = daemon.folder / "daemon.log"
    with socket.create_server(("127.0.0.1", daemon.port)):
        done = run(daemon, config(daemon), f"--listen={daemon.listen}", general=(f"--logfile={log}",))
    assert done.returncode == 1
    assert "Couldn't listen" in done.stderr
    assert "Address already in use" in log.read_text()
    assert not (daemon.folder / "twistd.pid").exists()
