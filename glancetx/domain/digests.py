"""What whoever sends an image's bytes says their digests are. No bytes here: who sees them computes, and asks us."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from glancetx.domain.errors import DigestMismatch, Invalid

Announced = Iterable[tuple[str, str]]
"""Pairs of an algorithm, by hashlib's name, and a digest in lower case hex."""

SIZES: Final = {"md5": 16, "sha256": 32, "sha512": 64}
"""The algorithms that can be expected, with the bytes of their digests."""


class Expectation:
    """Digests that data must have. *later* is asked when all data was seen, for what was announced by then.

    *algorithms* names what has to be computed; if there is a *later*, that is everything it could ask for.
    """

    def __init__(self, announced: Announced = (), later: Callable[[], Announced] | None = None) -> None:
        self._announced = tuple(announced)
        self._later = later
        self.algorithms = tuple(SIZES) if later else tuple(dict.fromkeys(name for name, _ in self._announced))

    def check(self, found: Mapping[str, str]) -> None:
        """Compare with the digests that were *found*. :raises DigestMismatch: if one is another.

        :raises Invalid: if what was announced later is no digest.
        """
        later = self._later() if self._later else ()
        for name, digest in (*self._announced, *later):
            if found[name] != digest:
                raise DigestMismatch(name, digest, found[name])


ANYTHING: Final = Expectation()


def digests_of(document: object) -> dict[str, str]:
    """The digests in a JSON object of hex digits by algorithm, such as ``{"sha256": "9f86..."}``.

    Names may be written like those of RFC 9530, too. What cannot be verified is refused rather than passed over.

    :raises Invalid: if it is anything else, or an algorithm is unknown.
    """
    if not isinstance(document, dict):
        raise Invalid("'expected_digests' must be an object of hexadecimal digests by algorithm")
    digests: dict[str, str] = {}
    for name, value in document.items():
        algorithm = name.lower().replace("sha-", "sha")
        if algorithm not in SIZES:
            raise Invalid(f"'expected_digests': no algorithm {name}; there are {', '.join(SIZES)}")
        if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{SIZES[algorithm] * 2}}}", value):
            raise Invalid(f"'expected_digests': no {algorithm} digest in hexadecimal digits")
        if digests.setdefault(algorithm, value.lower()) != value.lower():
            raise Invalid(f"'expected_digests': two values for {algorithm}")
    return digests
