"""``/v2/info/usage``: what a project uses, and may use (api.md, A-203)."""

from __future__ import annotations

from typing import Any

from glancetx.domain.limits import MIB, Limits, Usage
from glancetx.operations.usage import Consumption
from glancetx.web.routing import Answer, Call, route


class UsageRoom:
    """Shows it."""

    def __init__(self, consumption: Consumption) -> None:
        self._consumption = consumption

    @route("GET", "/v2/info/usage", body=True)
    async def usage(self, call: Call) -> Answer:
        found = await self._consumption.of(call.context)
        return Answer(document={"usage": {} if found is None else usage_document(*found)})


def usage_document(usage: Usage, limits: Limits) -> dict[str, Any]:
    """Sizes in MiB, -1 where there is no limit, as Keystone counts."""

    def pair(used: int, most: int | None, unit: int = 1) -> dict[str, int]:
        return {"usage": used // unit, "limit": -1 if most is None else most // unit}

    return {
        "image_size_total": pair(usage.size_total, limits.size_total, MIB),
        "image_stage_total": pair(usage.stage_total, limits.stage_total, MIB),
        "image_count_total": pair(usage.count_total, limits.count_total),
        "image_count_uploading": pair(usage.count_uploading, limits.count_uploading),
    }
