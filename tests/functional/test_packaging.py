"""The wheel and the source distribution: built from a copy of the checkout, installed, and used by ``twistd``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.running import Daemon

CHECKOUT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist", "*.sqlite", "*.pid")
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def run(*command: object, folder: Path) -> str:
    """The output of *command*; it must not fail."""
    done = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def build(kind: str, source: Path, target: Path) -> Path:
    """The archive of this *kind*, wheel or sdist, by the setuptools of this interpreter; nothing is downloaded."""
    said = run(sys.executable, "-c", BUILD, f"build_{kind}", target, folder=source)
    return target / said.splitlines()[-1]


def install(archive: Path, folder: Path) -> Path:
    """The interpreter of a new environment with only *archive* in it; the packages of ours are seen behind it."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    (own,) = folder.glob("lib/python*/site-packages")
    theirs = sysconfig.get_path("purelib")
    (own / "behind.pth").write_text(f"{theirs}\n")  # as a path only: an editable glancetx there stays unseen
    run(python, "-m", "pip", "install", *options, "--ignore-installed", archive, folder=folder)
    return python


def expected() -> set[str]:
    """What of the checkout a wheel must hold."""
    files = [path for path in (CHECKOUT / "glancetx").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(CHECKOUT)) for path in files} | {"twisted/plugins/glancetx_plugin.py"}


def check_wheel(wheel: Path) -> None:
    """It holds every file of the package, and none of the tests or of anything else."""
    names = set(zipfile.ZipFile(wheel).namelist())
    content = {name for name in names if ".dist-info/" not in name}
    assert content == expected()
    assert "glancetx/py.typed" in names
    assert any(name.startswith("glancetx/db/migrations/versions/") for name in names)


def check_installed(python: Path, daemon: Daemon) -> None:
    """twistd of the new environment knows glancetx, which is the installed one, and serves."""
    where = run(python, "-c", "import glancetx; print(glancetx.__file__)", folder=daemon.folder)
    assert Path(where.strip()).is_relative_to(python.parents[1])
    twistd = [python, "-c", "from twisted.scripts.twistd import run; run()"]
    assert " glancetx " in run(*twistd, "--help", folder=daemon.folder)
    daemon.command, daemon.whole = [str(word) for word in twistd], True
    daemon.start()
    assert daemon.answers(), daemon.log.read_text()
    manage = python.parent / "glancetx-manage"
    config = daemon.folder / "glance-api.conf"
    loaded = run(python, manage, "--config-file", config, "db", "load_metadefs", folder=daemon.folder)
    assert loaded.count("Loaded OS::") == len(list((CHECKOUT / "etc/metadefs").glob("*.json")))


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_package(tmp_path: Path, daemon: Daemon, kind: str) -> None:
    """What is built holds what it must, and works where it is installed."""
    pytest.importorskip("pip")
    source = tmp_path / "source"
    shutil.copytree(CHECKOUT, source, ignore=NOT_COPIED)
    archive = build(kind, source, tmp_path)
    if kind == "wheel":
        check_wheel(archive)
    else:
        with tarfile.open(archive) as contents:
            contents.extractall(tmp_path / "unpacked", filter="data")
        (unpacked,) = (tmp_path / "unpacked").iterdir()
        check_wheel(build("wheel", unpacked, tmp_path))
    check_installed(install(archive, tmp_path / "venv"), daemon)
