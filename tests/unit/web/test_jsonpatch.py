"""Patch bodies become changes, or a clear refusal."""

from __future__ import annotations

from typing import Any

import pytest

from glancetx.domain.change import Change
from glancetx.domain.errors import Invalid, UnsupportedMediaType
from glancetx.web.jsonpatch import NEW, OLD, check_media_type, parse_changes, parse_pointer


def test_new_media_type() -> None:
    """``op``, ``path`` and ``value``."""
    body = [{"op": "add", "path": "/a~1b~0c", "value": "1"}, {"op": "remove", "path": "/x"}]
    assert parse_changes(body, NEW) == [Change("add", ("a/b~c",), "1"), Change("remove", ("x",))]


def test_old_media_type() -> None:
    """The operation's name holds the path; an add must be of something new."""
    body = [{"add": "/x", "value": "1"}, {"replace": "/name", "value": "n"}]
    assert parse_changes(body, OLD) == [Change("add", ("x",), "1", only_new=True), Change("replace", ("name",), "n")]


def test_media_type_parameters() -> None:
    """A charset does no harm."""
    assert check_media_type(f"{NEW}; charset=UTF-8") == NEW


@pytest.mark.parametrize("content_type", [None, "", "application/json", "application/json-patch+json"])
def test_other_media_types(content_type: str | None) -> None:
    """Anything else is refused, and the refusal names both types."""
    with pytest.raises(UnsupportedMediaType) as caught:
        check_media_type(content_type)
    assert set(caught.value.accept_patch) == {NEW, OLD}


@pytest.mark.parametrize(
    "body",
    [
        {},
        "x",
        None,
        [1],
        [[]],
        [{"op": "move", "path": "/a", "value": "1"}],
        [{"op": [], "path": "/a", "value": "1"}],
        [{"path": "/a", "value": "1"}],
        [{"op": "add", "value": "1"}],
        [{"op": "add", "path": "/a"}],
        [{"op": "add", "path": None, "value": "1"}],
        [{"op": "add", "path": "", "value": "1"}],
        [{"op": "add", "path": "a", "value": "1"}],
        [{"op": "add", "path": "/a//b", "value": "1"}],
        [{"op": "add", "path": "/a/", "value": "1"}],
        [{"op": "add", "path": "/a~2", "value": "1"}],
        [{"op": "add", "path": "/a/b", "value": "1"}],
        [{"op": "add", "path": "/tags/-", "value": "1"}],
        [{"op": "add", "path": "/locations", "value": []}],
        [{"op": "replace", "path": "/locations/1", "value": []}],
    ],
)
def test_refused(body: Any) -> None:
    """What is no patch is invalid."""
    with pytest.raises(Invalid):
        parse_changes(body, NEW)


@pytest.mark.parametrize("body", [[{"add": "/a", "replace": "/a", "value": "1"}], [{"foo": "/a"}], [{"replace": "/a"}]])
def test_refused_old(body: Any) -> None:
    """One operation in an object, and a value with it."""
    with pytest.raises(Invalid):
        parse_changes(body, OLD)


def test_pointer_blanks() -> None:
    """Blanks around a part are dropped; the lone slash is the empty name."""
    assert parse_pointer("/ a ") == ("a",)
    assert parse_pointer("/") == ("",)
    assert parse_pointer("//a") == ("a",)
