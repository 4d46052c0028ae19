"""Places where a crash test may kill the process. Costs one comparison; does nothing unless the environment asks.

``GLANCETX_FAILPOINT=name`` kills this process with SIGKILL when it first reaches the point of that name. Grep for
``reach(`` to see all of them; `tests/functional/test_crash.py` tries each.
"""

from __future__ import annotations

import os
import signal
from typing import Final

_armed: Final = os.environ.get("GLANCETX_FAILPOINT", "")


def reach(name: str) -> None:
    """Say that this point is reached; does not return if it is the armed one."""
    if name == _armed:
        os.kill(os.getpid(), signal.SIGKILL)
