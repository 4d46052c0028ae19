"""What a project uses of what it may have (api.md, A-203)."""

from __future__ import annotations

from glancetx.db.usage import Usages
from glancetx.domain.context import RequestContext
from glancetx.domain.limits import Limits, Usage
from glancetx.interfaces import ILimits


class Consumption:
    """Tells projects how far they are from their limits."""

    def __init__(self, usages: Usages, limits: ILimits) -> None:
        self._usages = usages
        self._limits = limits

    async def of(self, context: RequestContext) -> tuple[Usage, Limits] | None:
        """What the caller's project has, and may have; None if only the options limit it, which nobody is told."""
        limits = await self._limits.limits_of(context.project_id)
        if not limits.unified:
            return None
        return await self._usages.of(context.project_id), limits
