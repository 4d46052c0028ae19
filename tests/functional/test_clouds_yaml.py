"""The embedded default with the real clients, on Twisted's ``ssl:`` endpoint: what the first start wrote suffices."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
import yaml
from attrs import frozen
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread

from glancetx.access.account_files import AccountFiles
from glancetx.app import ImageService
from glancetx.config.loading import load_settings
from glancetx.standalone.endpoint import endpoint_url
from glancetx.standalone.first_start import FirstStart, prepare
from glancetx.web.site import ImageSite
from tests.ports import free_port

# Twisted's own endpoint still speaks to pyOpenSSL in its old way.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

BIN = Path(sys.executable).parent
DATA = os.urandom(300_000)


@frozen
class Home:
    """A user's home with nothing in it but what the first start made, and a service that runs."""

    folder: Path
    first: FirstStart
    endpoint: str

    async def run(self, program: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a client as this user would."""
        command = [str(BIN / program), *arguments]
        settings = {"HOME": str(self.folder), "PATH": os.environ["PATH"], **environ}
        return await deferToThread(
            subprocess.run, command, env=settings, cwd=self.folder, capture_output=True, text=True, timeout=300
        )

    async def openstack(self, *arguments: str, **environ: str) -> str:
        """The output of a command that succeeds."""
        result = await self.run("openstack", "--os-cloud", "glancetx", "image", *arguments, **environ)
        assert result.returncode == 0, result.stderr
        return result.stdout


@pytest_twisted.async_yield_fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    from twisted.internet import reactor

    environ = {"HOME": str(tmp_path), "OS_GLANCE_CONFIG_DIR": str(tmp_path / "none")}
    settings = load_settings(listen=[f"ssl:{free_port()}:interface=127.0.0.1"], environ=environ)
    assert settings.data_dir is not None
    endpoint = endpoint_url(settings.listen[0])
    first = prepare(settings.data_dir, endpoint, environ)
    service = ImageService(settings, reactor)
    service.startService()
    await service.started
    listen = f"{settings.listen[0]}:privateKey={first.key}:certKey={first.certificate}"
    site = cast(Any, ImageSite(service.resource(), settings.http, cast(Any, reactor)))
    port = await serverFromString(reactor, listen).listen(site)
    yield Home(tmp_path, first, endpoint)
    await port.stopListening()
    await service.stopService()


@pytest_twisted.ensureDeferred
async def test_an_image_goes_in_and_out(home: Home) -> None:
    """Create with data, list, show, save, delete, by ``openstack --os-cloud glancetx`` and nothing else."""
    (home.folder / "in.raw").write_bytes(DATA)
    created = await home.openstack(
        "create", "--file", "in.raw", "--disk-format", "raw", "--progress", "-f", "yaml", "first image"
    )
    facts = yaml.safe_load(created)
    assert (facts["status"], facts["size"], facts["owner"]) == ("active", len(DATA), "admin")
    assert yaml.safe_load(await home.openstack("list", "-f", "yaml")) == [
        {"ID": facts["id"], "Name": "first image", "Status": "active"}
    ]
    await home.openstack("save", "--file", "out.raw", "first image")
    assert (home.folder / "out.raw").read_bytes() == DATA
    await home.openstack("delete", "first image")
    assert yaml.safe_load(await home.openstack("list", "-f", "yaml")) == []


@pytest_twisted.ensureDeferred
async def test_a_wrong_password_is_told_as_such(home: Home) -> None:
    """The client shows a 401 and no more."""
    clouds = home.folder / "wrong.yaml"
    document = yaml.safe_load((home.first.clouds_file or Path()).read_text())
    document["clouds"]["glancetx"]["auth"]["password"] = "wrong"
    clouds.write_text(yaml.safe_dump(document))
    command = ("openstack", "--os-cloud", "glancetx", "image", "list")
    result = await home.run(*command, OS_CLIENT_CONFIG_FILE=str(clouds))
    assert result.returncode == 1
    assert "401" in result.stderr


@pytest_twisted.ensureDeferred
async def test_glance_works_with_a_token(home: Home) -> None:
    """python-glanceclient knows no HTTP Basic; a static token serves it."""
    token = AccountFiles(home.first.certificate.parents[1] / "accounts").add_token("admin")
    options = ("--os-image-url", home.endpoint, "--os-auth-token", token, "--os-cacert", str(home.first.ca))
    (home.folder / "in.raw").write_bytes(DATA)
    formats = ("--disk-format", "raw", "--container-format", "bare")
    created = await home.run(
        "glance", *options, "image-create", *formats, "--name", "x", "--file", "in.raw", "--progress"
    )
    assert created.returncode == 0, created.stderr
    listed = await home.run("glance", *options, "image-list")
    assert (listed.returncode, " x " in listed.stdout) == (0, True), listed.stderr


@pytest.mark.parametrize("name", ["member", "reader"])
@pytest_twisted.ensureDeferred
async def test_a_user_without_rights_cannot_make_images_public(home: Home, name: str) -> None:
    """The policy's defaults hold for built-in users: members create their own, readers none."""
    AccountFiles(home.first.certificate.parents[1] / "accounts").add_user(name, "secret", roles={"reader", name})
    clouds = home.folder / "other.yaml"
    document = yaml.safe_load((home.first.clouds_file or Path()).read_text())
    document["clouds"]["glancetx"]["auth"] |= {"username": name, "password": "secret"}
    clouds.write_text(yaml.safe_dump(document))
    create = ("openstack", "--os-cloud", "glancetx", "image", "create", "x")
    settings = {"OS_CLIENT_CONFIG_FILE": str(clouds)}
    assert (await home.run(*create, **settings)).returncode == (0 if name == "member" else 1)
    refused = await home.run(*create, "--public", **settings)
    assert refused.returncode == 1
    assert "403" in refused.stderr
