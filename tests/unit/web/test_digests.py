"""Digests in fields of structured values."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from glancetx.domain.digests import Expectation, digests_of
from glancetx.domain.errors import DigestMismatch, Invalid
from glancetx.domain.image import Image
from glancetx.web.digests import shown_digest
from glancetx.web.structured import parse_dictionary

MD5, SHA256, SHA512 = (hashlib.new(name, b"x").hexdigest() for name in ("md5", "sha256", "sha512"))


def in_base64(digest: str) -> str:
    return f":{base64.b64encode(bytes.fromhex(digest)).decode()}:"


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("", {}),
        ("sha-256=:eHh4:", {"sha-256": b"xxx"}),
        ("a=:eHh4:,b=1 ,\tc=?1, d, e=1.5", {"a": b"xxx", "b": 1, "c": None, "d": None, "e": None}),
        ('a=tok/en:x, b="a, \\"b\\""', {"a": None, "b": None}),
        ("a=1, b=2, a=3", {"b": 2, "a": 3}),
        ("a=1;x=:eA==:;y;z=-2 ", {"a": 1}),
        ("  a=-12", {"a": -12}),
    ],
)  # fmt: skip
def test_dictionary(text: str, members: dict[str, Any]) -> None:
    """Byte sequences and whole numbers are read, other values are known to be there."""
    assert parse_dictionary(text) == members


@pytest.mark.parametrize(
    "text", ["A=1", "a=", "a=1,", ",a=1", "a=1 b=2", "a=:eHh4", "a=:e:", "a=:!:", "a=(1 2)", 'a="', "a=\xe4"]
)
def test_no_dictionary(text: str) -> None:
    with pytest.raises(ValueError):
        parse_dictionary(text)


@given(st.text(max_size=60) | st.text(alphabet='ab=:;, ?10"\\-.', max_size=60))
def test_any_text(text: str) -> None:
    """It is a dictionary or it is not; no other outcome."""
    with contextlib.suppress(ValueError):
        parse_dictionary(text)


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (None, None),
        ("", None),
        ("((", None),
        ("sha-256=5", None),
        ("sha-512=0", None),
        ("sha-512=1", f"sha-512={in_base64(SHA512)}"),
        ("md5=3, sha-512=10, crc32c=20", f"sha-512={in_base64(SHA512)}"),
        ("md5=10, sha-512=3", f"md5={in_base64(MD5)}"),
    ],
)
def test_shown(wanted: str | None, shown: str | None) -> None:
    """Of what is known the one that is wanted most."""
    image = Image(id="1", checksum=MD5, os_hash_algo="sha512", os_hash_value=SHA512)
    assert shown_digest(image, wanted) == shown
    assert shown_digest(evolve(image, checksum=None, os_hash_algo=None, os_hash_value=None), wanted) is None


def test_expectation() -> None:
    """What was announced is compared, early or late; what was not is no matter."""
    found = {"md5": MD5, "sha256": SHA256, "sha512": SHA512}
    Expectation([("sha256", SHA256)]).check(found)
    Expectation([("sha256", SHA256)], lambda: [("md5", MD5)]).check(found)
    with pytest.raises(DigestMismatch, match=SHA256):
        Expectation([("sha256", "0" * 64)]).check(found)
    with pytest.raises(DigestMismatch, match=MD5):
        Expectation((), lambda: [("md5", "0" * 32)]).check(found)


def test_in_a_document() -> None:
    """The body of an import has them in hex, by any of two names."""
    assert digests_of({"sha-256": SHA256.upper(), "sha512": SHA512}) == {"sha256": SHA256, "sha512": SHA512}
    assert digests_of({"sha-256": SHA256, "sha256": SHA256}) == {"sha256": SHA256}


@pytest.mark.parametrize(
    "document",
    [[], {"sha256": 1}, {"sha256": "0" * 63}, {"sha1": "0" * 40}, {"md5": "g" * 32}, {"md5": MD5, "MD5": "0" * 32}],
)
def test_not_in_a_document(document: Any) -> None:
    """What cannot be verified is refused."""
    with pytest.raises(Invalid):
        digests_of(document)
