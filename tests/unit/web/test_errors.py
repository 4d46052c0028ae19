"""Every domain error has a status, and its text reaches the client in the shape it accepts."""

from __future__ import annotations

import inspect
import json

import pytest

from glancetx.domain import errors
from glancetx.web.errors import TABLE, Problem, problem_of


def test_every_error_has_a_status() -> None:
    """No domain error can reach a client as a 500 for want of a row."""
    kinds = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.ImageServiceError)
    ]
    roots = {errors.ImageServiceError, errors.StoreError}
    for kind in kinds:
        assert kind in roots or any(parent in TABLE for parent in kind.__mro__), kind


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ImageNotFound("x"), 404),
        (errors.ImageLocked("x"), 403),
        (errors.SizeMismatch(1, 2), 400),
        (errors.StatusConflict("x", "queued", "active"), 409),
        (errors.NoData("x"), 404),
    ],
)
def test_most_special_row_wins(error: Exception, status: int) -> None:
    """A subclass has its parent's row unless it has its own."""
    problem = problem_of(error, "GET")
    assert problem is not None
    assert problem.status == status


def test_unknown_errors_have_none() -> None:
    """A defect of ours is not explained to the client."""
    assert problem_of(KeyError("secret"), "GET") is None


def test_json_body() -> None:
    """The JSON shape, with the toolkit's break in the text."""
    content_type, body = Problem(404, "No such thing").body("application/json")
    assert content_type == "application/json"
    assert json.loads(body) == {
        "message": "No such thing<br /><br />\n\n\n",
        "code": "404 Not Found",
        "title": "Not Found",
    }


def test_html_body_is_escaped() -> None:
    """What the client sent cannot become markup."""
    content_type, body = Problem(400, "<script>").body("text/html,*/*")
    assert content_type.startswith("text/html")
    assert b"<script>" not in body


def test_text_body() -> None:
    """Without an Accept header the body is plain text."""
    content_type, body = Problem(403, "Not yours").body("")
    assert content_type.startswith("text/plain")
    assert body.startswith(b"403 Forbidden\n\nNot yours")
