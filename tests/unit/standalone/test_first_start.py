"""The first start: what is made, repeated starts, starts that were killed, and how clients find the service."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bcrypt
import pytest
import yaml
from keystoneauth1.http_basic import HTTPBasicAuth
from openstack.config import OpenStackConfig

from glancetx.access.account_files import AccountFiles
from glancetx.access.accounts import User
from glancetx.domain.errors import ConfigurationError
from glancetx.standalone.first_start import FirstStart, prepare

ENDPOINT = "https://127.0.0.1:9292"
STEPS = (
    "first_start.ca_key",
    "first_start.ca_certificate",
    "first_start.server_key",
    "first_start.server_certificate",
    "first_start.clouds",
    "first_start.tokens",
    "first_start.accounts",
    "first_start.link",
)
PREPARE = """
import os, sys; from pathlib import Path; from glancetx.standalone.first_start import prepare
prepare(Path(sys.argv[1]), "https://127.0.0.1:9292")
"""


class Place:
    """A home with a data directory, which is not there yet."""

    def __init__(self, home: Path) -> None:
        self.data = home / "share" / "glancetx"
        self.config = home / ".config"
        self.environ = {"HOME": str(home)}

    def prepare(self, endpoint: str = ENDPOINT, now: datetime | None = None) -> FirstStart:
        return prepare(self.data, endpoint, self.environ, now)

    def cloud(self) -> dict[str, object]:
        return dict(yaml.safe_load((self.data / "clouds.yaml").read_text())["clouds"]["glancetx"])

    def password(self) -> str:
        return str(self.cloud()["auth"]["password"])  # type: ignore[index]

    def check_complete(self) -> None:
        accounts = AccountFiles(self.data / "accounts").read()
        roles = frozenset({"admin", "member", "reader"})
        assert accounts.users == {"admin": User(name="admin", project="admin", roles=roles)}
        assert bcrypt.checkpw(self.password().encode(), accounts.passwords["admin"])
        assert accounts.tokens == {}
        assert sorted(path.name for path in (self.data / "tls").iterdir() if path.name[0] != ".") == [
            "ca.key",
            "ca.pem",
            "server.key",
            "server.pem",
        ]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_everything_is_made(place: Place) -> None:
    """Certificate, administrator and clouds.yaml, in a folder that only the owner sees."""
    first = place.prepare()
    place.check_complete()
    assert first.created
    assert first.clouds_file == place.data / "clouds.yaml"
    assert all(path.is_file() for path in (first.certificate, first.key, first.ca))
    assert stat.S_IMODE(place.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(first.clouds_file.stat().st_mode) == 0o600


def test_passwords_are_long_and_differ(place: Place, tmp_path: Path) -> None:
    """Two servers never have the same."""
    place.prepare()
    other = Place(tmp_path / "other")
    other.prepare()
    assert len(place.password()) >= 32
    assert place.password() != other.password()


def test_a_second_start_changes_nothing(place: Place) -> None:
    """Files stay what they are to the byte."""
    place.prepare()
    before = {path: path.read_bytes() for path in place.data.rglob("*") if path.is_file()}
    assert not place.prepare().created
    assert before == {path: path.read_bytes() for path in place.data.rglob("*") if path.is_file()}


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_start_is_continued(place: Place, step: str) -> None:
    """Killed after any step, the next start completes it; a password that was written stays valid."""
    environ = {**place.environ, "PATH": os.environ["PATH"], "GLANCETX_FAILPOINT": step}
    killed = subprocess.run([sys.executable, "-c", PREPARE, str(place.data)], env=environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    written = place.password() if (place.data / "clouds.yaml").exists() else None
    place.prepare()
    place.check_complete()
    assert written in (None, place.password())


def test_starts_at_the_same_time_agree(place: Place) -> None:
    """One makes everything, the others wait for it and find it."""
    command = [sys.executable, "-c", PREPARE, str(place.data)]
    starts = [subprocess.Popen(command, env={**place.environ, "PATH": os.environ["PATH"]}) for _ in range(3)]
    assert [start.wait() for start in starts] == [0, 0, 0]
    place.check_complete()


@pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK60Warning")
def test_the_real_client_finds_the_cloud(place: Place) -> None:
    """openstacksdk reads the file and builds the plugin that sends the administrator's password."""
    first = place.prepare()
    config = OpenStackConfig(config_files=[str(first.clouds_file)], load_envvars=False)
    region = config.get_one("glancetx")
    session = region.get_session()
    assert region.get_endpoint("image") == ENDPOINT
    assert session.verify == str(first.ca)
    assert isinstance(session.auth, HTTPBasicAuth)
    assert session.auth.get_endpoint(session) == ENDPOINT
    assert (session.auth.username, session.auth.password) == ("admin", place.password())


def test_a_new_port_goes_into_clouds_yaml(place: Place) -> None:
    """With the password as it was."""
    place.prepare()
    password = place.password()
    place.prepare("https://127.0.0.1:9999")
    assert place.cloud()["image_endpoint_override"] == "https://127.0.0.1:9999"
    assert place.password() == password


def test_a_changed_clouds_yaml_is_left_alone(place: Place) -> None:
    """What somebody wrote stays, also if it is no YAML any more."""
    place.prepare()
    clouds = place.data / "clouds.yaml"
    for text in (clouds.read_text() + "# mine\n", "[", "clouds: {glancetx: {}}\n"):
        clouds.write_text(text)
        place.prepare("https://127.0.0.1:9999")
        assert clouds.read_text() == text


def test_a_removed_clouds_yaml_does_not_come_back(place: Place) -> None:
    """Its password is known to nobody now; the accounts stay."""
    place.prepare()
    hashed = (place.data / "accounts" / "htpasswd").read_text()
    (place.data / "clouds.yaml").unlink()
    again = place.prepare()
    assert again.clouds_file is None
    assert "There is no clouds.yaml" in again.message
    assert (place.data / "accounts" / "htpasswd").read_text() == hashed


def test_accounts_that_exist_are_left_alone(place: Place) -> None:
    """Who added users before the first start wants no other administrator."""
    AccountFiles(place.data / "accounts").add_user("alice", "secret")
    first = place.prepare()
    assert not first.created
    assert set(AccountFiles(place.data / "accounts").read().users) == {"alice"}


def test_a_clouds_yaml_without_our_cloud_is_not_used(place: Place) -> None:
    """It is not overwritten either; the message tells what to do."""
    place.data.mkdir(parents=True)
    (place.data / "clouds.yaml").write_text("clouds: {}\n")
    with pytest.raises(ConfigurationError, match="move it away"):
        place.prepare()


def test_the_certificate_is_renewed_at_a_later_start(place: Place) -> None:
    """A month before its end."""
    first = place.prepare()
    before = first.certificate.read_bytes()
    again = place.prepare(now=datetime.now(UTC) + timedelta(days=380))
    assert again.certificate.read_bytes() != before
    assert not again.created


def test_a_directory_that_others_write_to_is_refused(place: Place) -> None:
    """Somebody could replace keys and accounts there."""
    place.data.mkdir(parents=True)
    place.data.chmod(0o777)
    (place.data / "x").touch()
    with pytest.raises(ConfigurationError, match="chmod 700"):
        place.prepare()


def test_an_empty_directory_becomes_the_owner_s(place: Place) -> None:
    """As systemd makes them, or somebody's mkdir."""
    place.data.mkdir(parents=True)
    place.data.chmod(0o775)
    place.prepare()
    assert stat.S_IMODE(place.data.stat().st_mode) == 0o700


def test_an_impossible_directory_is_named(place: Place) -> None:
    """The error names it."""
    place.data.parent.mkdir()
    place.data.write_text("a file")
    with pytest.raises(ConfigurationError, match=str(place.data)):
        place.prepare()


def test_clients_are_led_to_the_file(place: Place, tmp_path: Path) -> None:
    """A user without a clouds.yaml gets a link, so that the next command just works."""
    first = place.prepare()
    link = place.config / "openstack" / "clouds.yaml"
    assert link.readlink() == first.clouds_file
    assert "openstack --os-cloud glancetx" in first.message
    assert "export" not in first.message
    assert "export" not in place.prepare().message
    assert f"need the authority {first.ca}" in first.message
    plain = prepare(tmp_path / "plain", "http://127.0.0.1:9292", {"HOME": str(tmp_path / "nobody")})
    assert "authority" not in plain.message


def test_the_configuration_home_is_respected(place: Place, tmp_path: Path) -> None:
    """XDG_CONFIG_HOME is where the clients look."""
    place.environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    place.prepare()
    assert (tmp_path / "xdg" / "openstack" / "clouds.yaml").is_symlink()
    assert not place.config.exists()


@pytest.mark.parametrize("name", ["clouds.yaml", "clouds.yml", "clouds.json"])
def test_a_user_s_own_file_is_not_touched(place: Place, name: str) -> None:
    """Nor hidden by another one; the message tells what to type instead."""
    own = place.config / "openstack" / name
    own.parent.mkdir(parents=True)
    own.write_text("{}")
    first = place.prepare()
    assert f"export OS_CLIENT_CONFIG_FILE={first.clouds_file}" in first.message
    assert [path.name for path in own.parent.iterdir()] == [name]
    assert own.read_text() == "{}"


def test_a_dangling_link_is_not_touched(place: Place) -> None:
    """It may belong to something that is only not mounted now."""
    link = place.config / "openstack" / "clouds.yaml"
    link.parent.mkdir(parents=True)
    link.symlink_to("elsewhere/clouds.yaml")
    assert "export" in place.prepare().message
    assert str(link.readlink()) == "elsewhere/clouds.yaml"


def test_a_service_without_a_home_makes_no_link(place: Place) -> None:
    """As under systemd."""
    place.environ = {}
    assert "export OS_CLIENT_CONFIG_FILE" in place.prepare().message


def test_a_file_chosen_by_the_environment_comes_first(place: Place) -> None:
    """If it is ours, nothing is to be done; if not, the message tells."""
    place.environ["OS_CLIENT_CONFIG_FILE"] = str(place.data / "clouds.yaml")
    assert "export" not in place.prepare().message
    assert not place.config.exists()
    other = place.data / "other.yaml"
    other.write_text("{}")
    place.environ["OS_CLIENT_CONFIG_FILE"] = str(other)
    assert "export" in place.prepare().message


def test_no_secret_is_shown(place: Place) -> None:
    """The message and the record can be printed anywhere."""
    first = place.prepare()
    assert place.password() not in repr(first)
    assert ENDPOINT in first.message
    assert str(place.data) in first.message
