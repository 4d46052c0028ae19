"""A real Barbican, as it is installed from the registry: on SQLite, with its own crypto, asking a real Keystone.

``GLANCETX_BARBICAN_VENV`` names the virtual environment it is in, with the released client.
"""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.ports import free_port
from tests.services.keystone import PASSWORD, RealKeystone
from tests.services.programs import environment

CONFIGURATION = """
[DEFAULT]
host_href = {url}
db_auto_create = true
log_file = {folder}/barbican.log
[database]
connection = sqlite:///{folder}/barbican.sqlite
[queue]
enable = false
[secretstore]
enabled_secretstore_plugins = store_crypto
[crypto]
enabled_crypto_plugins = simple_crypto
[keystone_authtoken]
auth_type = password
auth_url = {keystone}
www_authenticate_uri = {keystone}
username = glance
password = {password}
user_domain_name = Default
project_name = service
project_domain_name = Default
"""

PASTE = """
[composite:main]
use = egg:Paste#urlmap
/: versions
/v1: api
[pipeline:api]
pipeline = authtoken context microversion apiapp
[pipeline:versions]
pipeline = microversion versionapp
[app:versionapp]
paste.app_factory = barbican.api.app:create_version_app
[app:apiapp]
paste.app_factory = barbican.api.app:create_main_app
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
[filter:context]
paste.filter_factory = barbican.api.middleware.context:ContextMiddleware.factory
[filter:microversion]
paste.filter_factory = barbican.api.middleware.microversion:MicroversionMiddleware.factory
"""

SERVE = """
import sys
from wsgiref.simple_server import make_server
from barbican.common import config
config.CONF(["--config-file", sys.argv[1]], project="barbican")
from barbican.plugin.crypto import simple_crypto  # which reads no file that is named here
simple_crypto.CONF.set_override("kek", ["YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY="], "simple_crypto_plugin")
from paste import deploy
make_server("127.0.0.1", int(sys.argv[3]), deploy.loadapp("config:" + sys.argv[2])).serve_forever()
"""

STORE = """
import sys
from barbicanclient import client
from keystoneauth1 import session
from keystoneauth1.identity import Token
keystone, token, project, endpoint = sys.argv[1:]
auth = Token(keystone + "/v3", token=token, project_id=project)
secrets = client.Client(session=session.Session(auth=auth), endpoint=endpoint).secrets
secret = secrets.create(name="signer", secret_type="certificate", payload=sys.stdin.read())
print(secret.store().rpartition("/")[2])
"""


class RealBarbican:
    """One Barbican with its files in *folder*, for the users of *keystone*."""

    def __init__(self, folder: Path, keystone: RealKeystone) -> None:
        self._python = environment("GLANCETX_BARBICAN_VENV", "barbican-venv", "barbican-manage") / "python"
        self._folder, self._keystone = folder, keystone
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        values = {"url": self.url, "folder": folder, "keystone": keystone.url, "password": PASSWORD}
        (folder / "barbican.conf").write_text(CONFIGURATION.format(**values))
        (folder / "paste.ini").write_text(PASTE)

    def start(self) -> None:
        command = [str(self._python), "-c", SERVE, str(self._folder / "barbican.conf")]
        command += [str(self._folder / "paste.ini"), str(self._port)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=_plain(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 300
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def store(self, user: str, certificate: bytes) -> str:
        """Let *user* store a certificate with the released client; its UUID."""
        project = self._keystone.project_id(self._keystone.users[user] or "")
        command = [str(self._python), "-c", STORE, self._keystone.url, self._keystone.issue(user), project, self.url]
        done = subprocess.run(command, input=certificate, env=_plain(), capture_output=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/v1/secrets", timeout=30)
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False
        return True


def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OS_"))}
