"""When a transaction of which nothing came is worth another try."""

from __future__ import annotations

import random
from typing import Final

from glancetx.db.connections import Undone
from glancetx.domain.errors import DatabaseUnavailable, OutcomeUnknown

PATIENCE: Final = 20.0
"""Seconds in which a transaction must win against others."""
ABSENCE: Final = 30.0
"""Seconds for which it is worth to wait for a database: about as long as other processes believe that we live."""
SHORTEST: Final = 0.005
LONGEST: Final = 0.5
"""Seconds that the first pause lasts at most, and any pause."""


class Trials:
    """The tries of one transaction, which decides how often it is run.

    *twice*: it may be run again although it may have been committed. *absence*: seconds it waits for a database that
    does not answer.
    """

    def __init__(self, *, twice: bool = False, absence: float = 0.0) -> None:
        self._twice, self._absence = twice, absence
        self._begun: float | None = None
        self._pauses = 0
        self._losses = 0

    def pause_after(self, error: DatabaseUnavailable, now: float) -> float | None:
        """Seconds to wait before the next try; None if there is none. *now*: any clock's seconds.

        A lost connection is replaced once: all that a pool keeps are lost when the database restarts. If the new one
        is lost as well, the client is told to come back later.
        """
        if self._begun is None:
            self._begun = now
        if isinstance(error, OutcomeUnknown) and not self._twice:
            return None
        if isinstance(error, Undone) and not error.at_once:
            return self._pause(now, PATIENCE)
        if isinstance(error, (Undone, OutcomeUnknown)):
            self._losses += 1
            if self._losses == 1:
                return 0.0
        return self._pause(now, self._absence)

    def _pause(self, now: float, patience: float) -> float | None:
        """Ever longer, and by chance, so that those who collided do not meet again."""
        if self._begun is None or now - self._begun >= patience:
            return None
        longest = min(LONGEST, SHORTEST * 2.0**self._pauses)
        self._pauses += 1
        return random.uniform(longest / 4, longest)  # noqa: S311 - jitter, no secret
