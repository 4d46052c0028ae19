"""The shortest way to a route leads where Klein's way leads."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from attrs import define, field
from klein import Klein
from twisted.internet.defer import Deferred, succeed
from twisted.web.http_headers import Headers
from werkzeug.exceptions import HTTPException

from glancetx.web.shortcuts import Shortcuts

RULES = (
    ("GET HEAD", "/versions"),
    ("GET HEAD", "/v2/images"),
    ("POST", "/v2/images"),
    ("GET HEAD", "/v2/images/<image_id>"),
    ("PATCH", "/v2/images/<image_id>"),
    ("GET HEAD", "/v2/images/<image_id>/file"),
    ("PUT", "/v2/images/<image_id>/tags/<tag>"),
    ("GET HEAD", "/v2/schemas/image"),
    ("GET HEAD", "/v2/info/<path:rest>"),
)
PARTS = (
    b"v2",
    b"images",
    b"schemas",
    b"image",
    b"info",
    b"5",
    b"",
    b"file",
    b"tags",
    b"a/b",
    b"%",
    b"versions",
    "ü".encode(),
)


@define
class Asked:
    """As much of a request as is looked at."""

    method: bytes
    postpath: list[bytes]
    host: bytes = b"example.org:9292"
    requestHeaders: Headers = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.requestHeaders = Headers({b"host": [self.host]})


def answer(name: str) -> Any:
    def endpoint(request: object, **parts: str) -> Deferred[str]:
        return succeed(name)

    endpoint.__name__ = name
    return endpoint


@pytest.fixture(scope="module")
def both() -> tuple[Shortcuts, Any]:
    shortcuts, klein = Shortcuts(), Klein()
    klein.url_map.merge_slashes = False
    for verbs, path in RULES:
        endpoint = answer(f"{verbs} {path}")
        shortcuts.add(verbs.split(), path, endpoint)
        klein.route(path, methods=verbs.split(), endpoint=endpoint.__name__, strict_slashes=True)(endpoint)
    return shortcuts, klein.url_map


def by_klein(url_map: Any, method: bytes, parts: list[bytes]) -> tuple[str, dict[str, str]] | None:
    path = b"/" + b"/".join(parts)
    try:
        rule, values = url_map.bind("example.org", path_info=path.decode(), default_method=method.decode()).match(
            return_rule=True
        )
    except HTTPException:
        return None
    return rule.endpoint, values


def by_shortcut(shortcuts: Shortcuts, asked: Asked) -> tuple[str, dict[str, str]] | None:
    found = shortcuts.find(asked)
    return None if found is None else (found[0].__name__, found[1])


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PATCH", b"PUT", b"OPTIONS"])
def test_agrees(both: tuple[Shortcuts, Any], method: bytes) -> None:
    """Whatever is found is what Klein finds, with the same variables."""
    shortcuts, url_map = both
    found = 0
    for length in range(1, 5):
        for parts in product(PARTS, repeat=length):
            ours = by_shortcut(shortcuts, Asked(method, list(parts)))
            if ours is not None:
                found += 1
                assert ours == by_klein(url_map, method, list(parts))
    assert (found > 0) is (method not in (b"PUT", b"OPTIONS"))


def test_finds(both: tuple[Shortcuts, Any]) -> None:
    """What most requests ask for is found here; what has two variables, or an unusual one, is not."""
    shortcuts, _ = both
    assert by_shortcut(shortcuts, Asked(b"GET", [b"v2", b"images"])) == ("GET HEAD /v2/images", {})
    shown = by_shortcut(shortcuts, Asked(b"GET", [b"v2", b"images", b"a-1"]))
    assert shown == ("GET HEAD /v2/images/<image_id>", {"image_id": "a-1"})
    for parts in ([b"v2", b"images", b"a", b"tags", b"b"], [b"v2", b"images", b"a/b"], [b"v2", b"images", b""]):
        assert shortcuts.find(Asked(b"GET", parts)) is None


@pytest.mark.parametrize("host", [b"", b"a..b", b"x" * 64, b"[::1]", b"a:b", b"\xff"])
def test_hosts(both: tuple[Shortcuts, Any], host: bytes) -> None:
    """A host that may be refused is looked at by Klein."""
    shortcuts, _ = both
    assert shortcuts.find(Asked(b"GET", [b"v2", b"images"], host)) is None
