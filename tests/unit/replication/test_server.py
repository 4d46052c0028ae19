"""What is told of a service that refuses something."""

from __future__ import annotations

import pytest

from glancetx.replication.server import words_of


@pytest.mark.parametrize(
    "text",
    [
        '{"message": "No such image.<br /><br />\\n\\n\\n", "code": "404 Not Found", "title": "Not Found"}',
        "<html>\n <head>\n  <title>404</title>\n </head>\n <body>\n  No such <b>image</b>.<br />\n </body>\n</html>",
        "No such\nimage.\n",
    ],
)
def test_words(text: str) -> None:
    """One line for people, be it JSON, a page or plain text."""
    assert words_of(text) == "No such image."
