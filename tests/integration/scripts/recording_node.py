"""twistd, as a node of its own name, whose background services run often and write down each run and each step of it.

The environment says the name (``NODE``), the file (``RECORD``) and the seconds between two runs (``EVERY``). A line is:
when, the process, the service, what. A step is of the moment when it was looked whether the service is permitted to:
who falls asleep right behind that does it late, and has claims for it.
"""

from __future__ import annotations

import os
import random
import socket
import time
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.scripts.twistd import run

from glancetx.services import auditor, placer, replicator, scrubber

STEP = 0.05  # seconds
NODE, EVERY = os.environ["NODE"], float(os.environ["EVERY"])
RECORD = os.open(os.environ["RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(service: Any, what: str, at: float | None = None) -> None:
    at = time.monotonic() if at is None else at
    os.write(RECORD, f"{at:.4f} {os.getpid()} {service.name_of_work} {what}\n".encode())


def recorded(kind: Any) -> None:
    """Have each run of this service do what it does, and then take its time."""
    work = kind.run_once

    async def run_once(self: Any) -> Any:
        permitted, looked = self.permitted, 0.0

        def look() -> bool:
            nonlocal looked
            looked = time.monotonic()
            return bool(permitted())

        self.permitted = look
        note(self, "begin")
        try:
            done = await work(self)
            for _ in range(random.randrange(12)):
                await deferLater(self._reactor, STEP)
                note(self, "step", looked)
        except CancelledError:
            note(self, "cancelled")
            raise
        except Exception:  # of the database; the next run tries again
            note(self, "failed")
            raise
        finally:
            if self.permitted is look:
                self.permitted = permitted
        note(self, "end")
        return done

    kind.run_once = run_once


if __name__ == "__main__":
    socket.gethostname = lambda: NODE  # else one node would see that the process of the other one is gone
    for module in (auditor, placer, replicator):
        vars(module)["INTERVAL"] = EVERY
    for kind in (auditor.Auditor, placer.Placer, replicator.Replicator, scrubber.Scrubber):
        recorded(kind)
    run()
