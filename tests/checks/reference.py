"""Writes what is generated of the options and policy rules: samples in etc/, the tables of docs/configuration.md.

``python -m tests.checks.reference`` after an option or a rule has changed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg, types

from glancetx.config.options import GROUPS
from glancetx.config.store_options import ALL, BACKEND, DRIVERS

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "docs/configuration.md"
CONFIG_SAMPLE = ROOT / "etc/glance-api.conf.sample"
POLICY_SAMPLE = ROOT / "etc/policy.yaml.sample"
BEGIN, END = "<!-- options: written by python -m tests.checks.reference -->\n", "<!-- end of options -->\n"
KINDS = {
    types.Boolean: "true or false",
    types.Integer: "number",
    types.Float: "number",
    types.List: "list",
    types.Dict: "`key:value` list",
}


def sample(program: str) -> str:
    """What one of oslo's generators says of us."""
    command = [str(Path(sys.executable).parent / program), "--namespace", "glancetx"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


def tables() -> str:
    """All options, group by group; those of stores, which may stand in several groups, by kind of store."""
    stores = {option.name for option in [*ALL, *BACKEND]}
    parts = []
    for group, options in GROUPS.items():
        own = [option for option in options if option.name not in stores]
        if own:
            parts.append(table(f"`[{group}]`", own))
    parts.append(table("Every store", BACKEND))
    parts += [table(f"Stores of type `{kind}`", options) for kind, options in DRIVERS.items()]
    return "\n".join(parts)


def table(title: str, options: Sequence[cfg.Opt]) -> str:
    rows = "".join(f"| {' | '.join(row(option))} |\n" for option in options)
    return f"### {title}\n\n| option | type | default | meaning |\n|---|---|---|---|\n{rows}"


def row(option: cfg.Opt) -> Iterator[str]:
    yield f"`{option.name}`" + ("\N{CLOCKWISE OPEN CIRCLE ARROW}" if option.mutable else "")
    yield kind(option)
    yield default(option)
    yield re.sub(r"(?<!\\)\|", r"\\|", " ".join((option.help or "").split()))


def kind(option: cfg.Opt) -> str:
    type_ = option.type
    if choices := getattr(type_, "choices", None):
        return ", ".join(f"`{choice}`" for choice in choices)
    name = next((text for known, text in KINDS.items() if isinstance(type_, known)), "text")
    limits = [
        f"{words} {limit}"
        for words, limit in (("at least", getattr(type_, "min", None)), ("at most", getattr(type_, "max", None)))
        if limit is not None
    ]
    return ", ".join([name, *limits, *["may be repeated"] * bool(option.multi)])


def default(option: cfg.Opt) -> str:
    value: Any = option.default
    if value is None or value == "" or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`{','.join(map(str, value))}`"
    return f"`{value}`"


def with_tables(text: str) -> str:
    """The document with the tables of now."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{CONFIGURATION} has no place for the tables"
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def main() -> None:
    CONFIG_SAMPLE.write_text(sample("oslo-config-generator"), encoding="utf-8")
    POLICY_SAMPLE.write_text(sample("oslopolicy-sample-generator"), encoding="utf-8")
    CONFIGURATION.write_text(with_tables(CONFIGURATION.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
