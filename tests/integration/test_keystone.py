"""A real Keystone: our client and the fake one are held to it, and a whole service lives with it.

The clients are the real ``openstack`` and ``glance``, with passwords, by way of the catalog.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_twisted
from attrs import evolve, frozen
from twisted.internet.endpoints import serverFromString
from twisted.web.server import Site

from glancetx.config.identity import KEYSTONE_AUTHTOKEN
from glancetx.config.settings import ClientTlsSettings, Credentials, KeystoneSettings
from glancetx.domain.access_rules import AccessRule
from glancetx.domain.errors import IdentityUnavailable
from glancetx.keystone import Keystone
from glancetx.outgoing.exchange import Connections
from glancetx.testing.keystone import FakeKeystone
from glancetx.testing.keystone import project as fake_project
from tests.running import DATA, JSON, Daemon
from tests.services.keystone import DOMAIN, PASSWORD, REGION, RealKeystone, find_venv
from tests.typist import typist

RULE = {"service": "image", "method": "GET", "path": "/v2/images"}
IMAGES = "/v2/images"

# The fake one is like the real one


class Peer(Protocol):
    """A Keystone, real or not. *credential*: an application credential of red, restricted to `RULE`."""

    url: str
    credential: dict[str, str]

    def issue(self, kind: str) -> str:
        """A token: of ``red``, of ``red`` by the credential (``robot``), for the ``system``, ``domain`` or nothing."""

    def revoke(self, token: str) -> None: ...


class FakePeer:
    """The one of the test kit, on a socket."""

    def __init__(self, fake: FakeKeystone, url: str) -> None:
        self.fake, self.url = fake, url
        self.credential = {"id": "robot", "secret": PASSWORD}
        self.revoke = fake.revoke
        fake.catalog = [
            {
                "type": "identity",
                "endpoints": [{"interface": "internal", "region_id": REGION, "url": f"{url}/v3"}],
            }
        ]
        fake.add("glance", fake_project("service"), ["service"])
        fake.add("red", fake_project("red"), ["member", "reader"])
        fake.add("robot", fake_project("red"), ["member", "reader"], [RULE])
        fake.add("system", {"system": {"all": True}}, ["admin", "manager", "member", "reader"])
        fake.add("domain", {"domain": {"id": "default", "name": "Default"}}, ["admin", "manager", "member", "reader"])
        fake.add("nothing")

    def issue(self, kind: str) -> str:
        return self.fake.issue(kind)


class RealPeer:
    """The one of the registry."""

    def __init__(self, keystone: RealKeystone) -> None:
        self.keystone, self.url = keystone, keystone.url
        self.credential = keystone.add_credential("red", f"robot-{time.monotonic_ns()}", [RULE])
        self.revoke = keystone.revoke

    def issue(self, kind: str) -> str:
        ways: dict[str, Callable[[], str]] = {
            "red": lambda: self.keystone.issue("red"),
            "robot": lambda: self.keystone.issue_by_credential(self.credential),
            "system": lambda: self.keystone.issue("admin", {"system": {"all": True}}),
            "domain": lambda: self.keystone.issue("admin", {"domain": DOMAIN}),
            "nothing": lambda: self.keystone.issue("nobody"),
        }
        return ways[kind]()


@pytest_twisted.async_yield_fixture
async def fake_peer() -> AsyncIterator[Peer]:
    from twisted.internet import reactor

    fake = FakeKeystone(time.time)
    port: Any = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Site(fake))
    yield FakePeer(fake, f"http://127.0.0.1:{port.getHost().port}")
    await port.stopListening()


@pytest.fixture(params=["fake", "real"])
def peer(request: pytest.FixtureRequest) -> Peer:
    if request.param == "fake":
        fake: Peer = request.getfixturevalue("fake_peer")
        return fake
    return RealPeer(request.getfixturevalue("keystone"))


@frozen
class Client:
    """Our client of a Keystone."""

    keystone: Keystone
    connections: Connections


def account(url: str, **changes: Any) -> KeystoneSettings:
    """The account ``glance`` at the Keystone of that URL."""
    credentials = Credentials(
        auth_url=url,
        username="glance",
        password=PASSWORD,
        user_domain_name="Default",
        project_name="service",
        project_domain_name="Default",
    )
    return KeystoneSettings(credentials=evolve(credentials, **changes), retries=0)


@pytest_twisted.async_yield_fixture
async def connect() -> AsyncIterator[Callable[..., Keystone]]:
    """Makes clients; their connections are closed in the end."""
    from twisted.internet import reactor

    any_reactor: Any = reactor
    opened: list[Connections] = []

    def connect(settings: KeystoneSettings) -> Keystone:
        opened.append(Connections(any_reactor, ClientTlsSettings(), settings.timeout, settings.retries))
        return Keystone(settings, opened[-1].exchange, any_reactor)

    yield connect
    for each in opened:
        await each.close()


@pytest_twisted.ensureDeferred
async def test_tokens_are_described(peer: Peer, connect: Callable[..., Keystone]) -> None:
    """Each kind of token says whose it is, and for what."""
    client = connect(account(peer.url))
    kinds = ("red", "robot", "system", "domain", "nothing")
    facts = {kind: await client.validate(peer.issue(kind)) for kind in kinds}
    for kind in kinds:
        found = facts[kind]
        assert found is not None
        assert 3500 < found.expires_at - time.time() < 3601
        assert (found.user_id is not None, found.user_domain_id) == (True, "default")
        of_project = kind in ("red", "robot")
        assert (found.project_id is not None, found.project_domain_id) == (
            of_project,
            "default" if of_project else None,
        )
        assert found.domain_id == ("default" if kind == "domain" else None)
        assert found.system_scope == ("all" if kind == "system" else None)
        everything = {"admin", "manager", "member", "reader"}
        assert set(found.roles) == ({"member", "reader"} if of_project else set() if kind == "nothing" else everything)
        assert found.access_rules == ((AccessRule("image", "GET", IMAGES),) if kind == "robot" else None)


@pytest_twisted.ensureDeferred
async def test_what_is_no_token_is_told(peer: Peer, connect: Callable[..., Keystone]) -> None:
    """Nonsense of every kind, one letter more or less, and what was revoked: none is trouble, none is valid."""
    client, token = connect(account(peer.url)), peer.issue("red")
    for text in ("nonsense", "a/b c?d#e", "x" * 5000, "%", "...", token[:-2], f"{token}x"):
        assert await client.validate(text) is None
        assert await client.validate(text, allow_expired=True) is None
    assert await client.validate(token) is not None
    peer.revoke(token)
    assert await client.validate(token) is None


@pytest_twisted.ensureDeferred
async def test_our_own_token_is_replaced(peer: Peer, connect: Callable[..., Keystone]) -> None:
    """If it was revoked, the next request gets a new one."""
    client = connect(account(peer.url))
    first = await client.token()
    peer.revoke(first.text)
    assert await client.validate(peer.issue("red")) is not None
    assert (await client.token()).text != first.text


@pytest_twisted.ensureDeferred
async def test_an_application_credential_is_an_account(peer: Peer, connect: Callable[..., Keystone]) -> None:
    """It logs in like a user."""
    credentials = Credentials(
        auth_url=f"{peer.url}/v3",
        application_credential_id=peer.credential["id"],
        application_credential_secret=peer.credential["secret"],
    )
    assert (await connect(KeystoneSettings(credentials=credentials)).token()).expires_at > time.time()


@pytest_twisted.ensureDeferred
async def test_a_wrong_password_is_trouble(peer: Peer, connect: Callable[..., Keystone]) -> None:
    """Of ours, so it is no verdict about a caller."""
    with pytest.raises(IdentityUnavailable):
        await connect(account(peer.url, password="wrong")).validate("x")


@pytest_twisted.ensureDeferred
async def test_the_catalog_is_read(peer: Peer, connect: Callable[..., Keystone]) -> None:
    """It says where Keystone itself is, and nothing of a service that is not there."""
    client = connect(account(peer.url))
    assert await client.endpoint("identity", "internal", REGION) == f"{peer.url}/v3"
    assert await client.endpoint("identity", "internal", "elsewhere") is None
    assert await client.endpoint("nothing") is None
    theirs = await client.catalog(peer.issue("red"))
    assert theirs is not None
    assert theirs.endpoint("identity", "internal", REGION) == f"{peer.url}/v3"
    assert await client.catalog("nonsense") is None
    assert (await client.request("GET", "/nothing")).status == 404


# A service with Keystone


class Cloud:
    """A daemon that asks Keystone, in whose catalog it is, and clients of several users."""

    def __init__(self, keystone: RealKeystone, folder: Path, options: str = "") -> None:
        self.keystone, self.folder = keystone, folder
        self.daemon = Daemon(folder)
        self.daemon.configure(keystone.authentication)
        self.daemon.configure("[keystone_authtoken]\nhttp_request_max_retries = 0\n")
        self.daemon.configure(options)

    def start(self) -> None:
        self.daemon.start()

    def call(self, method: str, path: str, token: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request with a token."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        status, text = self.daemon.call(method, path, data, X_Auth_Token=token, **headers)
        return status, json.loads(text) if text[:1] == b"{" else text

    def create(self, token: str) -> str:
        status, image = self.call("POST", IMAGES, token, {"disk_format": "raw", "container_format": "bare"})
        assert status == 201, image
        return str(image["id"])

    def run(self, user: str, program: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a client as that user."""
        login = {
            "OS_AUTH_URL": f"{self.keystone.url}/v3",
            "OS_USERNAME": user,
            "OS_PASSWORD": PASSWORD,
            "OS_PROJECT_NAME": self.keystone.users[user] or "",
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": REGION,
            "OS_IDENTITY_API_VERSION": "3",
        }
        settings = {"HOME": str(self.folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        return typist().type([program, *arguments], self.folder, settings | (environ or login), os.devnull)

    def openstack(self, user: str, *arguments: str, **environ: str) -> str:
        """What an ``openstack`` command prints; it has to succeed."""
        done = self.run(user, "openstack", *arguments, **environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, user: str, *arguments: str) -> Any:
        return json.loads(self.openstack(user, *arguments, "-f", "json"))


@pytest.fixture(scope="module")
def made_cloud(made_keystone: RealKeystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    cloud = Cloud(made_keystone, tmp_path_factory.mktemp("cloud"))
    cloud.start()
    made_keystone.ensure_running()
    made_keystone.add_endpoint("image", cloud.daemon.url)
    yield cloud
    cloud.daemon.stop()


@pytest.fixture
def cloud(made_cloud: Cloud, keystone: RealKeystone) -> Cloud:
    """Both run. What others left in the catalogue of images stays there."""
    return made_cloud


def test_two_projects_share_an_image(cloud: Cloud) -> None:
    """Create, list, save, share, accept: with passwords, by the catalog, and each sees what is the project's."""
    data = os.urandom(300_000)
    (cloud.folder / "in.raw").write_bytes(data)
    created = cloud.ask("red", "image", "create", "--file", "in.raw", "--disk-format", "raw", "--shared", "red one")
    red, blue = (cloud.keystone.project_id(name) for name in ("red", "blue"))
    assert (created["status"], created["owner"], created["size"]) == ("active", red, len(data))
    image_id = created["id"]
    assert image_id in [image["ID"] for image in cloud.ask("red", "image", "list")]
    assert image_id not in [image["ID"] for image in cloud.ask("blue", "image", "list")]
    cloud.openstack("red", "image", "add", "project", image_id, blue)
    cloud.openstack("blue", "image", "set", "--accept", "--project", blue, image_id)
    assert image_id in [image["ID"] for image in cloud.ask("blue", "image", "list", "--shared")]
    cloud.openstack("blue", "image", "save", "--file", "out.raw", image_id)
    assert (cloud.folder / "out.raw").read_bytes() == data
    refused = cloud.run("blue", "openstack", "image", "delete", image_id)
    assert (refused.returncode, "403" in refused.stderr) == (1, True)
    cloud.openstack("red", "image", "delete", image_id)


def test_roles_count(cloud: Cloud) -> None:
    """Members may not publish, administrators may; whoever acts for the system may nothing."""
    red, admin = cloud.keystone.issue("red"), cloud.keystone.issue("admin")
    image_id = cloud.create(red)
    publish = [{"op": "replace", "path": "/visibility", "value": "public"}]
    patch = {"Content_Type": "application/openstack-images-v2.1-json-patch"}
    assert cloud.call("PATCH", f"{IMAGES}/{image_id}", red, publish, **patch)[0] == 403
    assert cloud.call("PATCH", f"{IMAGES}/{image_id}", admin, publish, **patch)[0] == 200
    for scope in ({"system": {"all": True}}, {"domain": DOMAIN}):
        assert cloud.call("GET", IMAGES, cloud.keystone.issue("admin", scope))[0] == 403
    assert cloud.call("GET", IMAGES, cloud.keystone.issue("nobody"))[0] == 403


def test_glance_works_with_a_password(cloud: Cloud) -> None:
    """python-glanceclient finds the service in the catalog as well."""
    (cloud.folder / "small.raw").write_bytes(b"x" * 1000)
    what = ("--name", "by glance", "--file", "small.raw", "--disk-format", "raw", "--container-format", "bare")
    done = cloud.run("red", "glance", "image-create", *what)
    assert done.returncode == 0, done.stderr
    listed = cloud.run("red", "glance", "image-list")
    assert (listed.returncode, "by glance" in listed.stdout) == (0, True), listed.stderr


def test_application_credentials(cloud: Cloud) -> None:
    """They log in like passwords; a restricted one may do what its rules say."""
    free = cloud.keystone.add_credential("red", "free")
    environ = {
        "OS_AUTH_TYPE": "v3applicationcredential",
        "OS_AUTH_URL": f"{cloud.keystone.url}/v3",
        "OS_APPLICATION_CREDENTIAL_ID": free["id"],
        "OS_APPLICATION_CREDENTIAL_SECRET": free["secret"],
        "OS_REGION_NAME": REGION,  # others of this Keystone have services that have ended
    }
    cloud.openstack("red", "image", "list", **environ)
    token = cloud.keystone.issue_by_credential(cloud.keystone.add_credential("red", "robot", [RULE]))
    assert cloud.call("GET", IMAGES, token)[0] == 200
    for method, path in [("POST", IMAGES), ("GET", "/v2/schemas/image")]:
        assert cloud.call(method, path, token)[0] == 401
    assert cloud.call("GET", "/v2/schemas/image", token, X_Service_Token="nonsense")[0] == 401
    assert cloud.call("GET", "/v2/schemas/image", token, X_Service_Token=cloud.keystone.issue("nova"))[0] == 200


def test_who_is_unknown_is_sent_to_keystone(cloud: Cloud) -> None:
    """401 with the place to log in, to which clients go."""
    connection = cloud.daemon.connection()
    connection.request("GET", IMAGES, headers={"X-Auth-Token": "unknown", "Accept": JSON})
    response = connection.getresponse()
    assert (response.status, response.getheader("WWW-Authenticate")) == (401, f'Keystone uri="{cloud.keystone.url}"')
    connection.close()


def test_revocation_is_noticed(keystone: RealKeystone, tmp_path: Path) -> None:
    """At once where tokens are not remembered."""
    cloud = Cloud(keystone, tmp_path, "token_cache_time = -1")
    cloud.start()
    try:
        token = keystone.issue("red")
        assert cloud.call("GET", IMAGES, token)[0] == 200
        keystone.revoke(token)
        assert cloud.call("GET", IMAGES, token)[0] == 401
    finally:
        cloud.daemon.stop()


def test_keystone_stops_and_comes_back(cloud: Cloud) -> None:
    """Who is known is served meanwhile; others are told to come again, and their tokens are good then."""
    known, other = cloud.keystone.issue("red"), cloud.keystone.issue("red")
    image_id = cloud.create(known)
    cloud.keystone.stop()
    assert cloud.call("GET", f"{IMAGES}/{image_id}", known)[0] == 200
    for token in (other, "nonsense"):
        connection = cloud.daemon.connection()
        connection.request("GET", IMAGES, headers={"X-Auth-Token": token})
        response = connection.getresponse()
        assert (response.status, response.getheader("WWW-Authenticate")) == (503, None)
        assert int(response.getheader("Retry-After") or 0) > 0
        connection.close()
    cloud.keystone.start()
    assert cloud.call("GET", f"{IMAGES}/{image_id}", other)[0] == 200
    assert cloud.call("GET", IMAGES, "nonsense")[0] == 401


def test_tokens_end(cloud: Cloud, keystone: RealKeystone) -> None:
    """An upload outlives its token, and Keystone itself; a service makes an ended token good."""
    keystone.stop()
    keystone.start(lifetime=10)
    token = keystone.issue("red")
    ends = time.time() + 11  # Keystone counts whole seconds
    image_id = cloud.create(token)
    connection = cloud.daemon.connection()
    connection.putrequest("PUT", f"{IMAGES}/{image_id}/file")
    for name, value in (("X-Auth-Token", token), ("Content-Type", DATA), ("Content-Length", "6")):
        connection.putheader(name, value)
    connection.endheaders(b"abc")
    while time.time() < ends:
        status, shown = cloud.call("GET", f"{IMAGES}/{image_id}", token)
        time.sleep(0.2)
    assert cloud.call("GET", IMAGES, token)[0] == 401
    service = keystone.issue("nova")
    status, shown = cloud.call("GET", f"{IMAGES}/{image_id}", token, X_Service_Token=service)
    assert (status, shown["status"]) == (200, "saving")
    assert cloud.call("GET", IMAGES, token, X_Service_Token=keystone.issue("blue"))[0] == 401
    assert cloud.call("GET", IMAGES, token)[0] == 401
    keystone.stop()
    connection.send(b"def")
    assert connection.getresponse().status == 204
    connection.close()


# Options

DUMP = """
import json
from keystoneauth1 import loading
from keystonemiddleware.auth_token import _opts
found = list(_opts.list_opts()[0][1])
for name in ("password", "v3password", "v3applicationcredential"):
    found += loading.get_auth_plugin_conf_options(loading.get_plugin_loader(name))
def describe(option):
    kind = "String" if option.type is str else type(option.type).__name__
    return kind, option.default, sorted({each.name for each in option.deprecated_opts})
print(json.dumps({option.dest: describe(option) for option in reversed(found)}))
"""


def test_options_are_keystonemiddleware_s() -> None:
    """Every option it has is known here, with the same type and default, and the names of old."""
    done = subprocess.run(
        [str(find_venv() / "bin/python"), "-W", "ignore", "-c", DUMP], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    theirs = {name: tuple(facts[:2]) for name, facts in json.loads(done.stdout).items()}
    ours = {option.dest: (type(option.type).__name__, option.default) for option in KEYSTONE_AUTHTOKEN}
    assert ours == theirs
    for option in KEYSTONE_AUTHTOKEN:
        assert {each.name for each in option.deprecated_opts} >= set(json.loads(done.stdout)[option.dest][2]) - {None}
