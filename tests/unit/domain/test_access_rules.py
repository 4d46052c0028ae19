"""Access rules of application credentials: which requests they name."""

from __future__ import annotations

import pytest

from glancetx.domain.access_rules import AccessRule, any_allows


@pytest.mark.parametrize(
    ("pattern", "path", "allowed"),
    [
        ("/v2/images", "/v2/images", True),
        ("/v2/images", "/v2/images/x", False),
        ("/v2/images", "/v2/imagesx", False),
        ("/v2/images/*", "/v2/images/x", True),
        ("/v2/images/*", "/v2/images/", False),
        ("/v2/images/*", "/v2/images/x/file", False),
        ("/v2/images/{image_id}/file", "/v2/images/x/file", True),
        ("/v2/images/{image_id}/file", "/v2/images/x/y/file", False),
        ("/v2/images/**", "/v2/images/x/file", True),
        ("/v2/images/**", "/v2/images/", True),
        ("**", "/v2/images/x\n", True),
        ("/v2/*/x*", "/v2/images/xyz", True),
        ("/v2.images", "/v2/images", False),
        ("/v2/images/a|/v2/b", "/v2/images/a", False),
        ("/v2/images/{", "/v2/images/{", True),
        ("/v2/images/*", "/v2/images/x\n", True),
        ("/v2/images/x", "/v2/images/x\n", False),
        ("", "/v2/images", False),
    ],
)
def test_paths(pattern: str, path: str, allowed: bool) -> None:
    """A star is one segment, two are any number; everything else is meant literally."""
    assert AccessRule("image", "GET", pattern).allows("GET", path) is allowed


def test_the_method_counts() -> None:
    """A rule is about one method, and no rule about none."""
    rules = [AccessRule("image", "GET", "/a"), AccessRule("image", "PUT", "/b")]
    assert any_allows(rules, "PUT", "/b")
    assert not any_allows(rules, "PUT", "/a")
    assert not any_allows((), "GET", "/a")
