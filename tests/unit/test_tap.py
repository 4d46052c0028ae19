"""``twistd glancetx``: what its options mean, and that a bad configuration ends in one line."""

from __future__ import annotations

import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from twisted.python.usage import UsageError

from glancetx.process import CannotStart, client_beside
from glancetx.tap import Options, makeService


def options(*arguments: object) -> Options:
    found = Options()
    found.parseOptions([str(argument) for argument in arguments])
    return found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[glancetx]\nmax_json_size = many", "max_json_size"),
        ("[glancetx]\nmax_json_size = 1", "max_json_size"),
        ("[glancetx]\nworkers = -1", "workers"),
        ("[glancetx]\nlisten = carrier-pigeon:9292", "carrier-pigeon"),
        ("[glancetx]\nlisten = tcp:none", "tcp:none"),
        ("[glancetx]\nlisten = ssl:9292", "no certificate"),
        ("[glancetx]\nlisten = ssl:9292\ntls_certificate = absent.pem", "absent.pem"),
        ("[glancetx]\nlisten = ssl:9292\ntls_certificate = absent.pem\nworkers = 2", "absent.pem"),
        ("[paste_deploy]\nflavor = keystone", "keystone"),
        ("[glance_store]\ndefault_store = swift", "swift"),
        ("no option at all", "glance-api.conf"),
    ],
)
def test_bad_configuration(tmp_path: Path, text: str, said: str) -> None:
    """What is wrong is told in one line that names it; twistd may take it for an Exception like any other."""
    path = tmp_path / "glance-api.conf"
    path.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/db.sqlite\n{text}\n")
    with pytest.raises(CannotStart, match=said) as caught:
        makeService(options("--config-file", path))
    assert isinstance(caught.value, Exception)
    assert str(caught.value.code).startswith("glancetx: ")
    assert "\n" not in str(caught.value.code)


def test_missing_file() -> None:
    """A configuration file that is not there is named."""
    with pytest.raises(CannotStart, match=r"absent\.conf"):
        makeService(options("--config-file", "absent.conf"))


def test_fewer_workers_than_none() -> None:
    """On the command line they are refused as in a file."""
    with pytest.raises(UsageError, match="fewer"):
        options("--workers", "-1")


def test_options_win(tmp_path: Path) -> None:
    """What the command line says goes before the files."""
    path = tmp_path / "x.conf"
    path.write_text(
        textwrap.dedent(
            f"""
            [glancetx]
            workers = 3
            listen = tcp:1
            data_dir = {tmp_path}
            """
        )
    )
    from_file = options("--config-file", path).load()
    assert (from_file.workers, from_file.listen, from_file.data_dir) == (3, ("tcp:1",), tmp_path)
    other = tmp_path / "other"
    more = ("--workers=0", "--listen=tcp:2", "--listen=tcp:3", "--data-dir", other)
    given = options("--config-file", path, *more).load()
    assert (given.workers, given.listen, given.data_dir) == (0, ("tcp:2", "tcp:3"), other)


def test_arguments_of_workers(tmp_path: Path) -> None:
    """Workers are given the same files and addresses, by absolute paths: they may start in another folder."""
    given = options("--config-file=a.conf", "--config-dir=d", "--listen=tcp:1", "--data-dir=x", "--workers=4")
    here = Path.cwd()
    again = [f"--config-file={here}/a.conf", f"--config-dir={here}/d", "--listen=tcp:1", f"--data-dir={here}/x"]
    assert given.arguments() == again


@pytest.mark.parametrize("name", ["venv", "my venv"])
def test_the_client_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The one beside the program that was typed, if it is there; else the one on the path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert client_beside(f"{name}/twistd") == "openstack"
    (tmp_path / name / "openstack").touch()
    assert client_beside(f"{name}/twistd") == shlex.quote(f"{name}/openstack")
    assert client_beside("twistd") == "openstack"


def test_small_start() -> None:
    """What most services never ask for is not loaded before it is: it would be a fifth of the time to start."""
    loading = "import glancetx.app, glancetx.tap, glancetx.operations.schemas as schemas, sys"
    using = "settings = glancetx.tap.Options().load(); schemas.image_schema(settings.images)"
    telling = "print(*{name.partition('.')[0] for name in sys.modules if '.' in name})"
    said = subprocess.run([sys.executable, "-c", f"{loading}; {using}; {telling}"], capture_output=True, check=True)
    loaded = said.stdout.decode().split()
    assert "oslo_config" in loaded
    assert not {"klein", "werkzeug", "jsonschema", "yaml", "netaddr", "rfc3986", "stevedore"} & set(loaded)
