"""In which stores an image should be: rules of the operator, of which the first one that fits counts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from attrs import frozen

from glancetx.domain.errors import ConfigurationError
from glancetx.domain.image import Image

FIELDS: Final = ("visibility", "owner", "disk_format", "container_format", "name", "status")
_PAIR: Final = re.compile(r"([A-Za-z0-9_.:-]+)=(.*)")


@frozen
class Rule:
    """Images with all these *conditions* should be in all of *stores*; or, without any, in so many *copies*."""

    conditions: Mapping[str, str]
    stores: tuple[str, ...]
    copies: int

    @classmethod
    def parse(cls, text: str) -> Rule:
        """``visibility=public os_distro=debian -> fast,cheap`` or ``* -> 2``: names of fields or properties.

        :raises ConfigurationError: if it is neither.
        """
        left, arrow, right = (part.strip() for part in text.partition("->"))
        if not arrow or not left or not right:
            raise ConfigurationError(f"A replication rule is CONDITIONS -> STORES, unlike {text!r}")
        conditions = {}
        for word in [] if left == "*" else left.split():
            pair = _PAIR.fullmatch(word)
            if pair is None:
                raise ConfigurationError(f"A condition of a replication rule is NAME=VALUE, unlike {word!r}")
            conditions[pair[1]] = pair[2]
        if right.isascii() and right.isdigit():
            return cls(conditions, (), int(right))
        return cls(conditions, tuple(name.strip() for name in right.split(",") if name.strip()), 0)

    def fits(self, image: Image) -> bool:
        return all(_value(image, name) == value for name, value in self.conditions.items())


def _value(image: Image, name: str) -> str | None:
    if name in FIELDS:
        found: str | None = getattr(image, name)
        return found
    return image.properties.get(name)


def missing(image: Image, having: Collection[str], rules: Iterable[Rule], stores: Sequence[str]) -> tuple[str, ...]:
    """The stores that *image* should be in, beside those *having* it; *stores*: all to write to, the best one first."""
    rule = next((rule for rule in rules if rule.fits(image)), None)
    if rule is None:
        return ()
    lacking = [name for name in rule.stores or stores if name in stores and name not in having]
    if rule.stores:
        return tuple(lacking)
    return tuple(lacking[: max(0, rule.copies - len(having))])
