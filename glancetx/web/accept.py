"""Which of the shapes an error can have the client would like best, by its Accept header (api.md, A-004)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

JSON: Final = "application/json"
HTML: Final = "text/html"
_RANGE: Final = re.compile(r"\s*([a-z0-9!#$&^_.+*-]+)/([a-z0-9!#$&^_.+*-]+)\s*(?:;(.*))?")
_QUALITY: Final = re.compile(r"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*")


def liked_best(accept: str) -> str | None:
    """HTML, JSON, or None for plain text. Who likes both alike gets HTML; and so does who sends what is no such header.

    Of the ranges that fit, the closest one counts; what has parameters fits neither.
    """
    ranges = list(_ranges(accept.lower()))
    if not ranges:
        return HTML if accept.strip(" \t,") else None
    found = [(_liking(name, ranges), name) for name in (HTML, JSON)]
    liking, name = max(found, key=lambda pair: pair[0])
    return name if liking else None


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.split(","):
        match = _RANGE.fullmatch(part)
        if match is not None:
            quality = _QUALITY.fullmatch((match[3] or "q=1").partition(";")[0])
            if quality is not None:
                yield f"{match[1]}/{match[2]}", float(quality[1])
            else:
                yield "with/parameters", 0.0


def _liking(name: str, ranges: list[tuple[str, float]]) -> float:
    for wanted in (name, f"{name.partition('/')[0]}/*", "*/*"):
        if likings := [quality for found, quality in ranges if found == wanted]:
            return max(likings)
    return 0.0
