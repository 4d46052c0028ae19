"""The completer: finds out the sizes and hashes that images lack."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from glancetx.db.gaps import Gap, Gaps
from glancetx.services.periodic import PeriodicService
from glancetx.transfer.completion import Completions

INTERVAL: Final = 60.0
PAGE: Final = 1000
PAGES: Final = 10
"""Pages looked at in one run; the next one goes on behind them."""
BUDGET: Final = 30.0
"""Seconds after which a run begins with no other image."""
FIRST_PAUSE: Final = 300.0
LONGEST_PAUSE: Final = 86400.0
"""Seconds before an image is tried again: twice as many each time."""


class Completer(PeriodicService):
    """Goes through all images, again and again. *hashes* False: sizes alone are found out, and no data is read."""

    def __init__(self, reactor: IReactorTime, gaps: Gaps, completions: Completions, *, hashes: bool) -> None:
        super().__init__(reactor, INTERVAL)
        self._gaps, self._completions, self._hashes = gaps, completions, hashes
        self._marker = ""
        self._pauses: dict[str, tuple[float, float]] = {}  # of images in vain: when again, and the pause before that
        self._met: set[str] = set()  # of these, since the first image
        self.completed = 0

    async def run_once(self) -> int:
        """Look at the next images, for a limited time; returns how many were completed."""
        latest, done = self._reactor.seconds() + BUDGET, 0
        for _ in range(PAGES):
            page = await self._gaps.after(self._marker, PAGE)
            for gap in page.gaps:
                if self._reactor.seconds() >= latest:
                    return done
                if gap.size or self._hashes:
                    done += await self._try(gap)
                self._marker = gap.image_id
            self._marker = page.marker
            if not self._marker:
                self._forget_the_completed()
                break
        return done

    def status(self) -> dict[str, Any]:
        return super().status() | {"completed": self.completed, "in_vain": len(self._pauses)}

    def _forget_the_completed(self) -> None:
        self._pauses = {image_id: pause for image_id, pause in self._pauses.items() if image_id in self._met}
        self._met.clear()

    async def _try(self, gap: Gap) -> bool:
        image_id, now = gap.image_id, self._reactor.seconds()
        again, pause = self._pauses.get(image_id, (0.0, FIRST_PAUSE / 2))
        self._met.add(image_id)
        if now < again:
            return False
        try:
            done = await self._completions.complete(gap if self._hashes else Gap(image_id, gap.size, hashes=False))
        except Exception:
            self._log.failure("image {image}: it cannot be completed, to be tried again", image=image_id)
            done = False
        if done:
            self.completed += 1
            self._pauses.pop(image_id, None)
            self._log.info("image {image}: its size or its hashes are known now", image=image_id)
        else:
            pause = min(2 * pause, LONGEST_PAUSE)
            self._pauses[image_id] = (self._reactor.seconds() + pause, pause)
        return done
