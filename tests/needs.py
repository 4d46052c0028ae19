"""What a test does without a program it needs."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def lacking(what: str) -> NoReturn:
    """Skip the test; but fail it where everything has to be there, as in CI."""
    if os.environ.get("GLANCETX_REQUIRE_SERVICES") == "1":
        pytest.fail(f"missing: {what}")
    pytest.skip(f"missing: {what}")


def unable(what: str) -> NoReturn:
    """Skip the test, in CI as well: no package gives a right, or another kernel."""
    pytest.skip(f"missing: {what}")


def program(name: str) -> str:
    """The path of a program; without it the test ends here."""
    return shutil.which(name) or lacking(name)
