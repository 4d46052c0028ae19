"""How much projects may have, by the options: the same for all of them (config.md, C-130)."""

from __future__ import annotations

from zope.interface import implementer

from glancetx.config.settings import ImagesSettings
from glancetx.domain.limits import UNLIMITED, Limits
from glancetx.interfaces import ILimits


@implementer(ILimits)
class OptionLimits:
    """``user_storage_quota``; 0 is no limit."""

    def __init__(self, settings: ImagesSettings) -> None:
        quota = settings.user_storage_quota
        self._limits = Limits(size_total=quota) if quota > 0 else UNLIMITED

    async def limits_of(self, project_id: str | None) -> Limits:
        return self._limits
