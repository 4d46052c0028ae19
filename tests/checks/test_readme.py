"""README.md is true: its links lead somewhere, and its commands, typed as they are printed, do what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALL = "python3 -m venv venv && venv/bin/pip install --quiet '.[clients]' && "
START = "venv/bin/twistd glancetx"
CLIENTS = (
    "venv/bin/openstack --os-cloud glancetx image create --file README.md --progress my-first-image",
    "venv/bin/openstack --os-cloud glancetx image list",
    "venv/bin/openstack --os-cloud glancetx image save --file copy.md my-first-image",
)
TEST = "python3 -m venv venv && venv/bin/pip install --quiet -e '.[test]' && venv/bin/python -m pytest -n 4"
STOP = "kill $(cat twistd.pid)"
PAGES = ["README.md", "CONTRIBUTING.md", "NEWS.md", "SECURITY.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]


def commands(text: str) -> list[str]:
    """The lines of all blocks of shell commands."""
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def anchors(page: Path) -> set[str]:
    """The names by which the headings of a page can be linked to."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_commands() -> None:
    """Nothing else has to be typed: one command to start, three to see it work, one to test."""
    assert commands(README) == [INSTALL + START, *CLIENTS, TEST]
    assert f"`{STOP}`" in README


@pytest.mark.parametrize("name", PAGES)
def test_links(name: str) -> None:
    """Every file and heading a page links to exists."""
    text = re.sub(r"```.*?```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            page = (ROOT / name).parent / path if path else ROOT / name
            assert page.exists(), f"{name}: {target}"
            assert not anchor or anchor in anchors(page), f"{name}: {target}"


@frozen
class NewUser:
    """Somebody with an empty home, in a checkout where everything is installed. Only the port is not the usual one."""

    checkout: Path
    port: int

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        environ = {
            "HOME": str(self.checkout.parent),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "OS_GLANCE_CONFIG_DIR": str(self.checkout / "none"),  # a Glance may be installed on this machine
            "OS_GLANCETX__LISTEN": f"ssl:{self.port}:interface=127.0.0.1",
        }
        return subprocess.run(
            ["bash", "-c", command], cwd=self.checkout, env=environ, capture_output=True, text=True, timeout=300
        )


@pytest.fixture
def user(tmp_path: Path) -> Iterator[NewUser]:
    checkout = tmp_path / "glancetx"
    checkout.mkdir()
    (checkout / "README.md").write_text(README, encoding="utf-8")
    (checkout / "venv").symlink_to(sys.prefix)
    user = NewUser(checkout, free_port())
    yield user
    if (pid := checkout / "twistd.pid").exists():
        os.kill(int(pid.read_text()), 9)


def test_start(user: NewUser) -> None:
    """The commands of "Start it", one after the other, without a pause."""
    started = user.type(START)
    assert started.returncode == 0, started.stderr
    assert f"serves https://127.0.0.1:{user.port} " in started.stdout
    assert f"{user.checkout.parent}/.local/share/glancetx" in started.stdout
    assert "    venv/bin/openstack --os-cloud glancetx image list\n" in started.stdout
    assert started.stderr == ""
    created, listed, saved = (user.type(command) for command in CLIENTS)
    assert created.returncode == 0, created.stderr
    assert re.search(r"\| name +\| my-first-image ", created.stdout)
    assert re.search(r"\| status +\| active ", created.stdout)
    assert re.search(r"\| my-first-image \| active \|", listed.stdout), listed.stderr
    assert saved.returncode == 0, saved.stderr
    assert (user.checkout / "copy.md").read_text(encoding="utf-8") == README
    assert user.type(STOP).returncode == 0
    deadline = time.monotonic() + 60
    while (user.checkout / "twistd.pid").exists():
        assert time.monotonic() < deadline, "it did not stop"
        time.sleep(0.02)
    assert not re.findall("#error|#critical|Traceback", (user.checkout / "twistd.log").read_text())
