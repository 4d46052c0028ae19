"""The head of a request - request line and headers - parsed to the letter of RFC 9112, or refused.

Where the RFC lets a recipient be lenient and two recipients could then disagree about where a request ends, this one
refuses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from attrs import define
from twisted.web.http_headers import Headers

from glancetx.config.settings import HttpSettings

_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t")) + b"\x7f"
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")
_TARGET: Final = re.compile(rb"[!-~]+")
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?#]+)([/?].*)?")
_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")
_MAX_LENGTH_DIGITS: Final = 18
_LONGEST_KEPT: Final = 64  # names of headers that are not looked at again


class BadRequest(Exception):
    """Refuse the request with *status*; the text is for the client. The connection cannot be used any more."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


Fields = dict[bytes, list[bytes]]


@define(kw_only=True)
class Head:
    """*length* of the body: 0 without one, None if it is chunked. *target* is in origin form, or ``*``.

    *headers* are the values of each name, which is written as in Twisted's `Headers`.
    """

    method: bytes
    target: bytes
    version: bytes
    headers: Fields
    length: int | None
    persistent: bool
    expects_continue: bool


def check_partial(received: bytearray, since: int, settings: HttpSettings) -> None:
    """Refuse what can never become a good head, given what came so far; *since* is where the news begins."""
    if received[0] not in _TOKEN and received[0] not in b"\r":
        raise BadRequest(400, "The request line is malformed.")
    if _BARE_LF.search(received, since):
        raise BadRequest(400, "Lines must end with CR LF.")
    line_end = received.find(b"\r\n", 0, settings.max_url_length + 64)
    if line_end < 0 and len(received) > settings.max_url_length + 64:
        raise BadRequest(414, "The URL is too long.")
    if len(received) > settings.max_header_size:
        raise BadRequest(431, "The headers are too large.")


def parse_head(block: bytes, settings: HttpSettings) -> Head:
    """Parse everything before the empty line.

    :raises BadRequest: if it is malformed, ambiguous, too large, or of another version of HTTP.
    """
    lines = block.split(b"\r\n")
    if len(block) - len(block.translate(None, _CONTROLS)) != 2 * (len(lines) - 1):  # others than those between lines
        raise BadRequest(400, "The headers have control characters.")
    method, target, version = _request_line(lines[0], settings)
    if len(block) > settings.max_header_size or len(lines) - 1 > settings.max_header_count:
        raise BadRequest(431, "The headers are too many or too large.")
    headers: Fields = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon:
            raise BadRequest(400, "A header is malformed.")
        known = _name(name) if len(name) <= _LONGEST_KEPT else _form(name)
        headers.setdefault(known, []).append(value.strip(b" \t"))
    target = _origin_form(target, method, headers)
    _check_host(headers.get(b"Host", ()), version)
    expectation = _expectation(headers.get(b"Expect", ()), version)
    length = _length(headers, version)
    return Head(
        method=method,
        target=target,
        version=version,
        headers=headers,
        length=length,
        persistent=version == b"HTTP/1.1" and not _asks_to_close(headers.get(b"Connection", ())),
        expects_continue=expectation and length != 0,
    )


def _request_line(line: bytes, settings: HttpSettings) -> tuple[bytes, bytes, bytes]:
    parts = line.split(b" ")
    if len(parts) != 3 or not _is_token(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise BadRequest(400, "The request line is malformed.")
    method, target, version = parts
    if len(target) > settings.max_url_length:
        raise BadRequest(414, "The URL is too long.")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        if not _VERSION.fullmatch(version):
            raise BadRequest(400, "The request line is malformed.")
        raise BadRequest(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    return method, target, version


def _is_token(text: bytes) -> bool:
    return bool(text) and not text.translate(None, _TOKEN)


def _form(name: bytes) -> bytes:
    """*name* as Twisted writes it. A folded line begins with a blank, and so has no valid name."""
    if not _is_token(name):
        raise BadRequest(400, "A header is malformed.")
    ((form, _),) = Headers({name: [b""]}).getAllRawHeaders()
    return form


_name: Final = lru_cache(maxsize=1024)(_form)


def _origin_form(target: bytes, method: bytes, headers: Fields) -> bytes:
    """The path and query. The authority of an absolute target replaces the Host header (RFC 9112, 3.2.2)."""
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise BadRequest(400, "The request target is malformed.")
    authority, rest = absolute[1], absolute[2] or b"/"
    if len(headers.get(b"Host", ())) == 1:
        headers[b"Host"] = [authority]
    return rest if rest.startswith(b"/") else b"/" + rest


def _check_host(hosts: Sequence[bytes], version: bytes) -> None:
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        raise BadRequest(400, "Exactly one Host header is needed.")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise BadRequest(400, "The Host header is malformed.")


def _expectation(values: Sequence[bytes], version: bytes) -> bool:
    """Whether the client waits for ``100 Continue``; HTTP/1.0 knows no expectations (RFC 9110, 10.1.1)."""
    if not values or version == b"HTTP/1.0":
        return False
    if len(values) > 1 or values[0].lower() != b"100-continue":
        raise BadRequest(417, "The only expectation that can be met is 100-continue.")
    return True


def _length(headers: Fields, version: bytes) -> int | None:
    lengths, codings = headers.get(b"Content-Length", ()), headers.get(b"Transfer-Encoding", ())
    if codings:
        if lengths or version == b"HTTP/1.0" or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise BadRequest(400, "The framing of the body is ambiguous, or its transfer coding is unknown.")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > _MAX_LENGTH_DIGITS:
        raise BadRequest(400, "The Content-Length is malformed.")
    return int(lengths[0])


def _asks_to_close(values: Sequence[bytes]) -> bool:
    return any(token.strip().lower() == b"close" for value in values for token in value.split(b","))
