"""What is generated of options and policy rules is as they are: ``python -m tests.checks.reference`` makes it so."""

from __future__ import annotations

import re

from glancetx.access.rules import list_rules
from glancetx.config.options import GROUPS, list_options
from tests.checks.reference import CONFIG_SAMPLE, CONFIGURATION, POLICY_SAMPLE, sample, with_tables

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
