"""From the query string of a list of metadata definitions to a `MetadefQuery`; unknown parameters are passed over."""

from __future__ import annotations

import re
from typing import Final

from glancetx.config.settings import ImagesSettings
from glancetx.domain.errors import Invalid
from glancetx.domain.metadef import VISIBILITIES, MetadefQuery
from glancetx.web.query import Pairs

_LARGEST: Final = 2**31 - 1  # rows, which no namespace has


def parse_namespace_query(pairs: Pairs, settings: ImagesSettings) -> MetadefQuery:
    """What A-230 lists. :raises Invalid: with the first parameter that breaks a rule."""
    limit = _limit(pairs)
    types = first_value(pairs, "resource_types")
    return MetadefQuery(
        limit=min(settings.limit_param_default if limit is None else limit, settings.api_limit_max),
        marker=first_value(pairs, "marker"),
        sort_key=first_value(pairs, "sort_key") or "created_at",
        ascending=_ascending(pairs),
        visibility=_visibility(pairs),
        resource_types=None if types is None else types.split(","),
    )


def parse_tag_query(pairs: Pairs) -> MetadefQuery:
    """What A-246 lists; without a limit, all tags. :raises Invalid: as above."""
    _visibility(pairs)
    return MetadefQuery(
        limit=_limit(pairs),
        marker=first_value(pairs, "marker"),
        sort_key=first_value(pairs, "sort_key") or "created_at",
        ascending=_ascending(pairs),
    )


def check_object_query(pairs: Pairs) -> None:
    """Objects are not paged, but what asks for it is checked (A-243). :raises Invalid: as above."""
    _visibility(pairs)
    _ascending(pairs)
    if _limit(pairs) == 0:
        raise Invalid("limit param must be positive")


def first_value(pairs: Pairs, name: str) -> str | None:
    """The value of a parameter; of a repeated one, the first."""
    return next((value for key, value in pairs if key == name), None)


def _limit(pairs: Pairs) -> int | None:
    text = first_value(pairs, "limit")
    if text is None:
        return None
    if not re.fullmatch(r"\s*[+-]?\d{1,30}\s*", text, re.ASCII):
        raise Invalid("limit param must be an integer")
    if int(text) < 0:
        raise Invalid("limit param must be positive")
    return min(int(text), _LARGEST)


def _ascending(pairs: Pairs) -> bool:
    direction = first_value(pairs, "sort_dir")
    if direction not in (None, "asc", "desc"):
        raise Invalid(f"Invalid sort direction: {direction}")
    return direction == "asc"


def _visibility(pairs: Pairs) -> str | None:
    visibility = first_value(pairs, "visibility")
    if visibility is not None and visibility not in VISIBILITIES:
        raise Invalid(f"Invalid visibility value: {visibility}")
    return visibility
