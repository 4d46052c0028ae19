"""A real Keystone under uWSGI, as it is installed from the registry: on SQLite, with Fernet tokens, on loopback only.

It lives in the environment of the real Glance (``GLANCETX_GLANCE_VENV``).
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.services.uwsgi import UwsgiServer, glance_venv

PASSWORD = "secret"
DOMAIN = {"id": "default"}
REGION = "RegionOne"
LIFETIME = 3600  # seconds

CONFIGURATION = """
[DEFAULT]
log_file = {folder}/keystone.log
[database]
connection = sqlite:///{folder}/keystone.sqlite
[fernet_tokens]
key_repository = {folder}/fernet-keys
[credential]
key_repository = {folder}/credential-keys
[identity]
# weak on purpose: a test should not wait for bcrypt
password_hash_rounds = 4
[token]
expiration = {lifetime}
"""

# Of the configuration of an image service: how it asks this Keystone who is calling.
AUTHTOKEN = """
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = glance
password = {password}
user_domain_name = Default
project_name = service
project_domain_name = Default
"""

SERVING = ("--module", "keystone.wsgi.api:application", "--add-header", "Connection: close")


def find_venv() -> Path:
    """Where Keystone is installed; without it the test ends here."""
    return glance_venv("keystone-manage", "uwsgi")


def project(name: str) -> dict[str, Any]:
    """The scope of a project."""
    return {"project": {"name": name, "domain": DOMAIN}}


class RealKeystone(UwsgiServer):
    """One Keystone with its files in *folder*. Its administrator is ``admin`` in the project ``admin``.

    Every password is `PASSWORD`. *users* are made by `add_user`; each has one project, or none.
    """

    def __init__(self, venv: Path, folder: Path) -> None:
        super().__init__(venv, folder, "keystone")
        self.users: dict[str, str | None] = {"admin": "admin"}
        self._lifetime = LIFETIME
        self._admin_token: str | None = None

    @property
    def authentication(self) -> str:
        """Options of an image service that asks it who is calling."""
        return f"[paste_deploy]\nflavor = keystone\n{AUTHTOKEN.format(keystone=self.url, password=PASSWORD)}"

    def make(self) -> None:
        """Make the database, the keys and the administrator."""
        self._configure()
        self._manage("fernet_setup", "--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid()))
        self._manage("credential_setup", "--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid()))
        self._manage("db_sync")
        places = [f"--bootstrap-{each}-url={self.url}/v3" for each in ("public", "internal", "admin")]
        self._manage("bootstrap", f"--bootstrap-password={PASSWORD}", f"--bootstrap-region-id={REGION}", *places)

    def start(self, lifetime: int = LIFETIME) -> None:
        """Start, and wait until it answers. New tokens live for *lifetime* seconds."""
        self._lifetime = lifetime
        self._configure()
        self.serve("--http-socket", SERVING, self._answers)

    def ensure_running(self) -> None:
        """Start it unless it runs as it does by default."""
        if not self.running or self._lifetime != LIFETIME:
            self.stop()
            self.start()

    # What an administrator does

    def add_user(self, name: str, project: str | None, *roles: str) -> None:
        """A user with roles in a project, which is made if it is not there."""
        user = self._create("user", {"name": name, "domain_id": "default", "password": PASSWORD})
        self.users[name] = project
        if project is not None:
            place = f"/projects/{self.project_id(project)}"
            for role in roles:
                self.admin("PUT", f"{place}/users/{user['id']}/roles/{self._role(role)}")

    def assign_elsewhere(self, name: str, scope: str, role: str) -> None:
        """Give a user a role on the ``system`` or on the ``domain``."""
        user = self._find("user", name)
        place = "/system" if scope == "system" else "/domains/default"
        self.admin("PUT", f"{place}/users/{user['id']}/roles/{self._role(role)}")

    def project_id(self, name: str) -> str:
        """The id of a project, which is made if it is not there."""
        found = self._find("project", name) or self._create("project", {"name": name, "domain_id": "default"})
        return str(found["id"])

    def user_id(self, name: str) -> str:
        return str(self._find("user", name)["id"])

    def add_endpoint(self, service_type: str, url: str, region: str = REGION) -> None:
        """Put a service into the catalog."""
        if region != REGION:
            self.admin("PUT", f"/regions/{region}", {"region": {}})
        service = self._create("service", {"type": service_type, "name": service_type})
        for interface in ("public", "internal"):
            place = {"service_id": service["id"], "interface": interface, "url": url, "region_id": region}
            self._create("endpoint", place)

    def add_credential(self, user: str, name: str, rules: list[dict[str, str]] | None = None) -> dict[str, str]:
        """An application credential of a user: its id and secret."""
        wanted: dict[str, Any] = {"name": name} if rules is None else {"name": name, "access_rules": rules}
        path = f"/users/{self.user_id(user)}/application_credentials"
        _, _, made = self.call("POST", path, {"application_credential": wanted}, self.issue(user))
        return {"id": made["application_credential"]["id"], "secret": made["application_credential"]["secret"]}

    # Tokens

    def issue(self, user: str, scope: dict[str, Any] | None = None) -> str:
        """A new token of a user for the user's project, or another scope; ``{}``: no scope at all."""
        if scope is None:
            own = self.users[user]
            scope = {} if own is None else project(own)
        shown = {"user": {"name": user, "domain": DOMAIN, "password": PASSWORD}}
        return self._log_in({"methods": ["password"], "password": shown}, scope or "unscoped")

    def issue_by_credential(self, credential: dict[str, str]) -> str:
        """A new token of an application credential."""
        return self._log_in({"methods": ["application_credential"], "application_credential": credential}, None)

    def _log_in(self, identity: dict[str, Any], scope: Any) -> str:
        wanted = {"identity": identity} if scope is None else {"identity": identity, "scope": scope}
        status, headers, document = self.call("POST", "/auth/tokens", {"auth": wanted})
        assert status == 201, document
        return str(headers["X-Subject-Token"])

    def revoke(self, token: str) -> None:
        """Let a token be unknown from now on."""
        status, _, document = self.call("DELETE", "/auth/tokens", token=self.issue("admin"), subject=token)
        assert status == 204, document

    # How it is asked

    def admin(self, method: str, path: str, document: Any = None) -> Any:
        """What Keystone answers to the administrator; it has to be a success."""
        if self._admin_token is not None:
            status, _, answer = self.call(method, path, document, self._admin_token)
        if self._admin_token is None or status == 401:  # it has ended, perhaps, or was revoked
            self._admin_token = self.issue("admin")
            status, _, answer = self.call(method, path, document, self._admin_token)
        assert status < 300, answer
        return answer

    def call(
        self, method: str, path: str, document: Any = None, token: str | None = None, subject: str | None = None
    ) -> tuple[int, Any, Any]:
        """One request: status, headers and document of the answer."""
        headers = {"Content-Type": "application/json"}
        headers |= {"X-Auth-Token": token} if token else {}
        headers |= {"X-Subject-Token": subject} if subject else {}
        data = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.url}/v3{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                text = reply.read()
                return reply.status, reply.headers, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def _find(self, kind: str, name: str) -> Any:
        found = self.admin("GET", f"/{kind}s?name={name}")[f"{kind}s"]
        return found[0] if found else None

    def _create(self, kind: str, values: dict[str, Any]) -> Any:
        return self.admin("POST", f"/{kind}s", {kind: values})[kind]

    def _role(self, name: str) -> str:
        found = self._find("role", name) or self._create("role", {"name": name})
        return str(found["id"])

    # The process

    def _configure(self) -> None:
        text = CONFIGURATION.format(folder=self.folder, lifetime=self._lifetime)
        (self.folder / "keystone.conf").write_text(text)

    def _manage(self, *arguments: str) -> None:
        self.manage("--config-file", str(self.folder / "keystone.conf"), *arguments)

    def _answers(self) -> bool:
        try:
            return self.call("GET", "")[0] == 200
        except OSError:
            return False
