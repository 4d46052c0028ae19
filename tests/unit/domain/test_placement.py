"""Rules that say in which stores images should be."""

from __future__ import annotations

import pytest
from attrs import evolve

from glancetx.domain.errors import ConfigurationError
from glancetx.domain.image import Image
from glancetx.domain.placement import Rule, missing

STORES = ("fast", "cheap", "far")
IMAGE = Image(
    id="x",
    status="active",
    visibility="public",
    properties={"os_distro": "debian"},
)


def lacking(*rules: str, image: Image = IMAGE) -> tuple[str, ...]:
    return missing(image, {"cheap"}, [Rule.parse(rule) for rule in rules], STORES)


def test_named_stores() -> None:
    """All of them, but those that have it; one that does not exist is passed over."""
    assert lacking("visibility=public -> cheap, far,gone") == ("far",)


def test_a_number_of_copies() -> None:
    """The best stores come first; what is there counts."""
    assert lacking("* -> 2") == ("fast",)
    assert lacking("* -> 9") == ("fast", "far")
    assert lacking("* -> 1") == ()


def test_the_first_rule_that_fits_counts() -> None:
    """All conditions have to hold, of fields and of properties."""
    rules = ("visibility=private -> 3", "visibility=public os_distro=debian -> far", "* -> fast")
    assert lacking(*rules) == ("far",)
    assert lacking(*rules, image=evolve(IMAGE, properties={})) == ("fast",)
    assert lacking("owner=me -> fast") == ()


@pytest.mark.parametrize("text", ["", "-> fast", "* ->", "x=y", "visibility public -> fast", "= -> 1"])
def test_what_is_no_rule(text: str) -> None:
    """It is told at the start."""
    with pytest.raises(ConfigurationError, match="replication rule"):
        Rule.parse(text)
