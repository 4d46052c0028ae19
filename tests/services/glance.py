"""A real Glance 33 under uWSGI, as it is installed from the registry: the one to agree with.

``GLANCETX_GLANCE_VENV`` names the virtual environment it is in. Its database and its files lie in a folder of the
test; it listens on loopback only.
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from tests.services.uwsgi import UwsgiServer, glance_venv

# Who calls is believed from the headers which Keystone's middleware would set; everything else is Glance's own.
TRUSTING = "cors http_proxy_to_wsgi versionnegotiation context rootapp"

PASTE = """
[composite:glance-api-replay]
paste.composite_factory = glance.api:root_app_factory
/: api
/healthcheck: healthcheck
[composite:api]
paste.composite_factory = glance.api:pipeline_factory
replay = {pipeline}
[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app
[app:apiversions]
paste.app_factory = glance.api.versions:create_resource
[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory
[app:healthcheck]
paste.app_factory = oslo_middleware:Healthcheck.app_factory
backends = disable_by_file
disable_by_file_path = {folder}/healthcheck_disable
[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory
[filter:cache]
paste.filter_factory = glance.api.middleware.cache:CacheFilter.factory
[filter:cachemanage]
paste.filter_factory = glance.api.middleware.cache_manage:CacheManageFilter.factory
[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
[filter:unauthenticated-context]
paste.filter_factory = glance.api.middleware.context:UnauthenticatedContextMiddleware.factory
[filter:gzip]
paste.filter_factory = glance.api.middleware.gzip:GzipMiddleware.factory
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
delay_auth_decision = true
[filter:cors]
paste.filter_factory = oslo_middleware.cors:filter_factory
oslo_config_project = glance
oslo_config_program = glance-api
oslo_config_file = {folder}/glance-api.conf
[filter:http_proxy_to_wsgi]
paste.filter_factory = oslo_middleware:HTTPProxyToWSGI.factory
"""

SERVING = (
    "--http-raw-body --http-chunked-input --http-auto-chunked --http-timeout 120 --module glance.wsgi.api:application"
)


# Glance looks once whether uWSGI is there, when it is loaded; but that was before.
SERVED = "import uwsgi\nfrom glance.common import wsgi_app\nwsgi_app.uwsgi = uwsgi\n"


def find_venv() -> Path:
    """Where Glance is installed; without it the test ends here."""
    return glance_venv("glance-manage", "uwsgi")


def write_paste(folder: Path, pipeline: str) -> str:
    """Make a file of pipelines in which ours has these filters; returns the options that choose it."""
    file = folder / "glance-api-paste.ini"
    file.write_text(PASTE.format(pipeline=pipeline, folder=folder))
    return f"[paste_deploy]\nflavor = replay\nconfig_file = {file}\n"


class RealGlance(UwsgiServer):
    """One Glance with its files in *folder*. *options* are the text of its glance-api.conf."""

    def __init__(self, venv: Path, folder: Path, options: str, pipeline: str = TRUSTING) -> None:
        super().__init__(venv, folder, "glance")
        self.config = folder / "glance-api.conf"
        self.config.write_text(
            f"[database]\nconnection = sqlite:///{folder}/glance.sqlite\n{write_paste(folder, pipeline)}"
            f"[oslo_concurrency]\nlock_path = {folder}/lock\n{options}\n"
        )

    def start(self, prepared: Path | None = None) -> None:
        """Start, and wait until it answers. *prepared* keeps an empty database from one start to the next."""
        database = self.folder / "glance.sqlite"
        if prepared is not None and prepared.exists():
            shutil.copy(prepared, database)
        else:
            self.manage("--config-file", str(self.config), "db", "sync")
            if prepared is not None:
                shutil.copy(database, prepared)
        served = self.folder / "served.py"
        served.write_text(SERVED)
        self.serve("--http", [*SERVING.split(), "--py-import", str(served)], self._answers)

    def _answers(self) -> bool:
        """The router of uWSGI accepts before Glance can answer, so a request is made."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                connection.sendall(b"GET /versions HTTP/1.0\r\nHost: x\r\n\r\n")
                return connection.recv(12).endswith(b" 200")
        except OSError:
            return False
