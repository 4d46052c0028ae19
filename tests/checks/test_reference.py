"""What is generated of options and policy rules is as they are: ``python -m tests.checks.reference`` makes it so.

The samples written by hand are accepted by those for whom they are.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from glancetx.access.rules import list_rules
from glancetx.config.loading import load_settings
from glancetx.config.options import GROUPS, list_options
from tests.checks.reference import CONFIG_SAMPLE, CONFIGURATION, POLICY_SAMPLE, sample, with_tables
from tests.needs import program

ALL_SAMPLES = {
    path.stem: re.findall(r"```ini\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    for path in CONFIGURATION.parent.glob("*.md")
}
SAMPLES = ALL_SAMPLES.pop("stores")
TYPES = {"filesystem": "file", "rbd": "rbd", "s3": "s3", "swift": "swift", "vmware": "vmware"}
STALE = "stale: run python -m tests.checks.reference"


def words(text: str) -> list[str]:
    """What is said, however the generator of the day breaks its lines."""
    return text.replace("#", " ").split()


def test_config_sample() -> None:
    """The sample has every option, in words and order of oslo's generator."""
    text = CONFIG_SAMPLE.read_text(encoding="utf-8")
    assert words(text) == words(sample("oslo-config-generator")), STALE
    for group, options in list_options():
        part = text.partition(f"\n[{group}]\n" if group != "DEFAULT" else "[DEFAULT]\n")[2].partition("\n[")[0]
        assert {option.name for option in options} <= set(re.findall(r"^#(\w+) =", part, re.MULTILINE))


def test_policy_sample() -> None:
    """The sample has every rule; none of them is in force in it."""
    text = POLICY_SAMPLE.read_text(encoding="utf-8")
    assert words(text) == words(sample("oslopolicy-sample-generator")), STALE
    assert {rule.name for rule in list_rules()} <= set(re.findall(r'^#"(\w+)":', text, re.MULTILINE))
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == []


def test_documentation() -> None:
    """The tables name every option there is, with its type, default and meaning, and no other."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    assert with_tables(text) == text, STALE
    documented = re.findall(r"^\| `(\w+)`↻? \|", text.partition("## All options")[2], re.MULTILINE)
    assert set(documented) == {option.name for options in GROUPS.values() for option in options}


def test_mentioned() -> None:
    """What the text before the tables calls an option of a group is one."""
    text = CONFIGURATION.read_text(encoding="utf-8").partition("## All options")[0]
    mentioned = re.findall(r"`\[(\w+)\] (\w+)", text)
    assert len(mentioned) >= 4
    known = {(group, option.name) for group, options in GROUPS.items() for option in options}
    assert [pair for pair in mentioned if pair not in known] == []


@pytest.mark.parametrize("shown", [each for each in SAMPLES if not each.startswith("[ref1]")])
def test_samples_of_stores(shown: str, tmp_path: Path) -> None:
    """Each sample of docs/stores.md is accepted: whole, or as the group of a store."""
    group = re.match(r"\[(?!DEFAULT|glance_store)(\w+)\]\n([a-z0-9]+)_", shown)
    whole = shown
    if group is not None:
        backends = f"[DEFAULT]\nenabled_backends = {group[1]}:{TYPES[group[2]]}\n"
        whole = f"{backends}[glance_store]\ndefault_backend = {group[1]}\n{shown}"
    accounts, config = tmp_path / "swift.conf", tmp_path / "glance-api.conf"
    accounts.write_text(next(each for each in SAMPLES if each.startswith("[ref1]")))
    config.write_text(whole.replace("swift.conf", str(accounts)))
    stores = load_settings([config]).stores
    assert stores.default == (group[1] if group else "fast" if stores.multiple else "file")


@pytest.mark.parametrize(
    "shown",
    [each for samples in ALL_SAMPLES.values() for each in samples if not each.startswith("[^")],  # rules of properties
)
def test_samples(shown: str, tmp_path: Path) -> None:
    """Each sample of a configuration in the other docs is accepted, every word of it."""
    config = tmp_path / "glance-api.conf"
    account = "[keystone_authtoken]\nauth_url = https://cloud.example:5000\n"
    config.write_text(account + shown)
    assert load_settings([config]).ignored == ()
    assert re.findall(r"^[^#\n]+ #.*", shown, re.MULTILINE) == []  # that would be a part of the value


def test_unit(tmp_path: Path) -> None:
    """systemd understands every line of the unit."""
    unit = tmp_path / "glancetx.service"
    text = (CONFIG_SAMPLE.parent / unit.name).read_text(encoding="utf-8")
    unit.write_text(text.replace("/usr/bin/twistd", sys.executable))
    done = subprocess.run([program("systemd-analyze"), "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
