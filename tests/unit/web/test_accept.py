"""Tests of choosing the shape of an error (contract row A-004)."""

from __future__ import annotations

import pytest

from glancetx.web.accept import HTML, JSON, liked_best


@pytest.mark.parametrize(
    ("accept", "shape"),
    [
        ("", None),
        (" , ", None),
        ("text/plain", None),
        ("application/xml;q=0.9, image/*", None),
        ("*/*", HTML),
        ("text/*", HTML),
        ("garbage", HTML),
        ("application/json, text/html", HTML),
        ("application/json", JSON),
        ("Application/JSON; q=0.2", JSON),
        ("application/*", JSON),
        ("garbage, application/json", JSON),
        ("application/json, text/html;q=0.5", JSON),
        ("*/*, text/html;q=0", JSON),
        ("*/*;q=0", None),
        ("application/json;q=0.0, */*;q=0", None),
        ("text/html;level=1", None),
        ("text/html;q=2", None),
        ("text/html;q=0.5;x=y", HTML),
    ],
)
def test_shapes(accept: str, shape: str | None) -> None:
    """HTML, JSON or plain text: what is liked best, and named closest."""
    assert liked_best(accept) == shape
