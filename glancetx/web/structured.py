"""Dictionaries of structured fields (RFC 9651, section 3.2), as far as digests need them: no inner lists, no dates."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

_KEY: Final = r"[a-z*][a-z0-9_.*-]*"
_BYTES: Final = r":(?P<{0}bytes>[A-Za-z0-9+/=]*):"
_NUMBER: Final = r"(?P<{0}number>-?\d{{1,15}}(?![\d.]))"
_OTHER: Final = (
    r'-?\d{{1,12}}\.\d{{1,3}}|"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'
    r"|[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*|\?[01]"
)
_PARAMETERS: Final = rf"(?:; *{_KEY}(?:=(?:{_OTHER.format()}|-?\d{{1,15}}|:[A-Za-z0-9+/=]*:))?)*"
_MEMBER: Final = re.compile(
    rf"(?P<key>{_KEY})(?:=(?:{_BYTES.format('')}|{_NUMBER.format('')}|{_OTHER.format()}))?{_PARAMETERS}", re.ASCII
)
_COMMA: Final = re.compile(r"[ \t]*,[ \t]*")

Value = bytes | int | None


def parse_dictionary(text: str) -> dict[str, Value]:
    """Byte sequences and whole numbers by their keys; None for values of other kinds. Of one key the last one counts.

    :raises ValueError: if it is no such dictionary.
    """
    text, at = text.strip(" "), 0
    members: dict[str, Value] = {}
    while at < len(text):
        member = _MEMBER.match(text, at)
        if member is None:
            raise ValueError("not a dictionary")
        members.pop(member["key"], None)
        members[member["key"]] = _value(member)
        at = member.end()
        if at < len(text):
            comma = _COMMA.match(text, at)
            if comma is None or comma.end() == len(text):
                raise ValueError("not a dictionary")
            at = comma.end()
    return members


def _value(member: re.Match[str]) -> Value:
    if member["bytes"] is not None:
        try:
            return base64.b64decode(member["bytes"], validate=True)
        except binascii.Error as error:
            raise ValueError("not base64") from error
    return None if member["number"] is None else int(member["number"])
