"""The source keeps its form: style, types, who imports whom. The tools have their settings in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize("command", ["ruff check --quiet .", "ruff format --check --quiet .", "mypy", "lint-imports"])
def test_source(command: str) -> None:
    """The tool has nothing to say."""
    program, *arguments = command.split()
    result = subprocess.run([str(BIN / program), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
