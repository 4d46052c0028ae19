"""A simulated vCenter: govmomi's simulator behind `vcsim.go`, built once from Debian's Go packages."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from glancetx.standalone.certificates import CertificateFiles, prepare_certificates
from tests.needs import lacking, program
from tests.running import free_port
from tests.services.programs import Processes

SOURCE = Path(__file__).with_name("vcsim.go")
DESCRIPTION = SOURCE.with_suffix(".wsdl")
GOPATH = Path("/usr/share/gocode")
DATACENTER = "DC0"
USER, PASSWORD = "administrator@vsphere.local", "secret-of-vcenter"


@frozen
class Vcenter:
    """Where it is, and who it is. *folder* has its datastores, with their files."""

    host: str
    files: CertificateFiles
    folder: Path

    @property
    def port_443(self) -> bool:
        """Whether Glance can use it, which knows no other port."""
        return ":" not in self.host

    def names(self, folder: str) -> list[str]:
        """The files in that directory of all datastores."""
        return sorted(path.name for path in self.folder.rglob(f"{folder}/*"))

    def place(self, folder: str, name: str) -> Path:
        """Where a file of a datastore really is."""
        (found,) = self.folder.rglob(f"{folder}/{name}")
        return found


def start_vcsim(processes: Processes, name: str = "vcsim") -> Vcenter:
    """A vCenter with one datacenter and two datastores, all of them empty."""
    binary = build()
    folder = processes.folder / name
    (folder / "data").mkdir(parents=True)
    host = free_host()
    files = prepare_certificates(folder / "tls", [host.partition(":")[0]])
    listen = host if ":" in host else f"{host}:443"
    command: list[str | Path] = [binary, "-listen", listen, "-user", USER, "-password", PASSWORD]
    command += ["-cert", files.certificate, "-key", files.key]
    processes.start(name, command, answers(host, files), {"TMPDIR": str(folder / "data")})
    return Vcenter(host, files, folder / "data")


def free_host() -> str:
    """An address of loopback whose port 443 is free: Glance knows no other port. Who may not have it gets another."""
    for _ in range(100):
        host = ".".join(["127", *(str(random.randrange(1, 255)) for _ in range(3))])
        try:
            with socket.socket() as tried:
                tried.bind((host, 443))
        except PermissionError:
            break
        except OSError:
            continue
        return host
    return f"127.0.0.1:{free_port()}"


def build() -> Path:
    """The program; building it takes a quarter of a minute, and is done once for each version of its source."""
    found = hashlib.sha256(SOURCE.read_bytes() + DESCRIPTION.read_bytes()).hexdigest()[:12]
    cache = Path.home() / ".cache" / "glancetx"
    binary = cache / f"vcsim-{found}"
    if binary.exists():
        return binary
    go = program("go")
    if not (GOPATH / "src/github.com/vmware/govmomi/simulator").exists():
        lacking("golang-github-vmware-govmomi-dev")
    cache.mkdir(parents=True, exist_ok=True)
    made = cache / f"{binary.name}.{os.getpid()}"
    environ = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": str(GOPATH),
        "GOFLAGS": "",
        "GOCACHE": str(cache / "go-build"),
    }
    command = [go, "build", "-ldflags", "-s -w", "-o", str(made), str(SOURCE)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    made.rename(binary)
    return binary


def answers(host: str, files: CertificateFiles) -> Callable[[], bool]:
    context = ssl.create_default_context(cafile=str(files.ca))

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"https://{host}/about", timeout=5, context=context) as reply:
                return int(reply.status) == 200
        except (OSError, urllib.error.URLError):
            return False

    return ready
