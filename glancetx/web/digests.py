"""Digests in headers and trailers (RFC 9530): what a client says of its upload, and wants to know of a download.

An upload has no coding and no range, so its content and its representation are the same bytes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Final

from glancetx.domain.digests import ANYTHING, SIZES, Expectation
from glancetx.domain.errors import Invalid
from glancetx.domain.image import Image
from glancetx.web.routing import Call
from glancetx.web.structured import parse_dictionary
from glancetx.web.upload import Body

FIELDS: Final = ("repr-digest", "content-digest")
NAMES: Final = {"sha-256": "sha256", "sha-512": "sha512", "md5": "md5"}
"""The algorithms of the RFC's registry that are read, by hashlib's names; all others are ignored."""


def expected_digests(call: Call) -> Expectation:
    """What headers say of the body; and, if ``Trailer`` announces such a field, what will be said behind it.

    :raises Invalid: if a field is malformed, or a digest that is read cannot be one.
    """
    announced = [pair for field in FIELDS for pair in _digests(field, call.header_list(field))]
    body = getattr(call.request, "body", None)
    if isinstance(body, Body) and _named(call.header_list("trailer")) & set(FIELDS):
        return Expectation(announced, lambda: _trailing(body.trailers))
    return Expectation(announced) if announced else ANYTHING


def shown_digest(image: Image, wanted: str | None) -> str | None:
    """The value of ``Repr-Digest`` for a client that sent ``Want-Repr-Digest``; None if there is nothing to say."""
    try:
        members = parse_dictionary(wanted or "")
    except ValueError:
        return None
    known = {"md5": image.checksum, image.os_hash_algo: image.os_hash_value}
    ranked = [
        (preference, name, digest)
        for name, preference in members.items()
        if isinstance(preference, int) and preference > 0 and (digest := known.get(NAMES.get(name)))
    ]
    if not ranked:
        return None
    _, name, digest = max(ranked, key=lambda each: each[0])
    return f"{name}=:{base64.b64encode(bytes.fromhex(digest)).decode()}:"


def _named(text: str | None) -> set[str]:
    return {name.lower() for name in re.split(r"[ \t]*,[ \t]*", (text or "").strip()) if name}


def _trailing(trailers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    for name, value in trailers:
        if (field := name.decode("latin-1")) in FIELDS:
            yield from _digests(field, value.decode("latin-1"))


def _digests(field: str, text: str | None) -> Iterator[tuple[str, str]]:
    """A client that sends a digest wants it to be verified: what looks like none is told, not ignored."""
    if text is None:
        return
    try:
        members = parse_dictionary(text)
    except ValueError as error:
        raise Invalid(f"The {field} field is malformed; it looks like sha-256=:BASE64:") from error
    for name, value in members.items():
        if (algorithm := NAMES.get(name)) is None:
            continue
        if not isinstance(value, bytes) or len(value) != SIZES[algorithm]:
            raise Invalid(f"The {field} field has no {name} digest; it looks like {name}=:BASE64:")
        yield algorithm, value.hex()
