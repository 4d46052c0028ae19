"""What glancetx is measured against, and what needs no image API: nginx and the ideal upload. Each is a `Server`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from attrs import field, frozen

from tests.bench.processes import HOST, ROOT, Process, free_port

# Mozilla's intermediate profile: what TLS 1.2 may use; TLS 1.3 brings its own three.
INTERMEDIATE = ":".join(
    [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "DHE-RSA-AES128-GCM-SHA256",
        "DHE-RSA-AES256-GCM-SHA384",
        "DHE-RSA-CHACHA20-POLY1305",
    ]
)


@frozen(kw_only=True)
class Server:
    """A server that answers on 127.0.0.1; *secure* is its TLS port, *database* an SQLAlchemy URL.

    *first_answer* is how many seconds after its start an image service first answered. *token* is what it is shown by
    its clients; empty if it does not ask who they are.
    """

    name: str
    process: Process
    port: int
    directory: Path
    secure: int | None = None
    database: str = field(default="", repr=False)
    first_answer: float = 0.0
    token: str = field(default="", repr=False)

    def url(self, path: str, tls: bool = False) -> str:
        """The address of *path*, plain or by TLS."""
        return f"https://{HOST}:{self.secure}{path}" if tls else f"http://{HOST}:{self.port}{path}"


@frozen(kw_only=True)
class Certificate:
    """A self-signed certificate and its key, shared by all peers, so that all sign and encrypt alike."""

    certificate: Path
    key: Path


def make_certificate(directory: Path) -> Certificate:
    """An ECDSA P-256 certificate for 127.0.0.1."""
    made = Certificate(certificate=directory / "cert.pem", key=directory / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=IP:{HOST}"),
            *("-keyout", str(made.key), "-out", str(made.certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return made


def start_nginx(directory: Path, certificate: Certificate, processes: int = 2, rate: str = "") -> Server:
    """nginx which serves ``directory/files``: sendfile without TLS, its own OpenSSL with it.

    With a *rate* (``64m`` bytes a second) it is as slow for each who reads, and writes the bytes of every body it has
    sent to ``directory/access.log``, a line each.
    """
    (directory / "files").mkdir(parents=True)
    port, secure = free_port(), free_port()
    scratch = "\n".join(
        f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = directory / "nginx.conf"
    configuration.write_text(f"""\
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
worker_processes {processes};
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 16384; }}
http {{
  {f"limit_rate {rate}; log_format sent '$body_bytes_sent'; access_log {directory}/access.log sent;" if rate else ""}
  {"" if rate else "access_log off;"}
  {scratch}
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  root {directory}/files;
  keepalive_requests 1000000;
  server {{ listen {HOST}:{port} backlog=4096; }}
  server {{
    listen {HOST}:{secure} ssl;
    ssl_certificate {certificate.certificate};
    ssl_certificate_key {certificate.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers {INTERMEDIATE};
    ssl_prefer_server_ciphers off;
    ssl_session_cache shared:SSL:1m;
  }}
}}
""")
    process = Process(["nginx", "-p", str(directory), "-c", str(configuration)], directory / "out.log", directory)
    process.wait_for_port(port)
    return Server(name="nginx", process=process, port=port, secure=secure, directory=directory)


def start_ideal(directory: Path) -> Server:
    """The ideal upload of `tests.bench.ideal`; it stores in ``directory/files``."""
    files = directory / "files"
    files.mkdir(parents=True)
    port = free_port()
    process = Process([sys.executable, "-m", "tests.bench.ideal", str(port), str(files)], directory / "out.log", ROOT)
    process.wait_for_port(port)
    return Server(name="ideal", process=process, port=port, directory=directory)
