"""The entry point of ``python tests/bench``: puts the checkout on the path, so that `tests.bench` is importable."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    importlib.import_module("tests.bench.program").main()
