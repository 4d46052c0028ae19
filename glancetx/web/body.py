"""Reading the body of a request: as a producer, under any Site, or as one small JSON document."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from twisted.internet.interfaces import IConsumer
from twisted.web.client import FileBodyProducer
from twisted.web.http import Request
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from glancetx.config.settings import HttpSettings
from glancetx.domain.errors import Invalid, LimitExceeded

_SPOOLED_PORTION: Final = 256 * 1024
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_MALFORMED: Final = "Malformed JSON in request body."


def body_of(request: Request) -> IBodyProducer:
    """The body of any request of twisted.web: as it arrives if the request streams, else what was spooled."""
    body = getattr(request, "body", None)
    if body is not None and IBodyProducer.providedBy(body):
        return body
    return spooled(request)


def spooled(request: Request) -> IBodyProducer:
    """A body that Twisted has read into a file already; it closes the file when it ends or is stopped."""
    return _Spooled(request.content, readSize=_SPOOLED_PORTION)


class _Spooled(FileBodyProducer):
    """Can be stopped before it was started."""

    _task: Any = None

    def stopProducing(self) -> None:
        if self._task is None:
            self._inputFile.close()
        else:
            super().stopProducing()


async def read_json(request: Request, settings: HttpSettings) -> Any:
    """The JSON document in the body. Cancelling stops reading.

    :raises LimitExceeded: if it has more than *max_json_size* bytes; no more than these are read.
    :raises Invalid: if it is missing, not strict JSON in UTF-8, or deeper than *max_json_depth*.
    """
    body = body_of(request)
    if body.length is not UNKNOWN_LENGTH and body.length > settings.max_json_size:
        raise _too_large(settings.max_json_size)
    collected = _Collected(settings.max_json_size)
    await body.startProducing(collected)
    if not collected.data:
        raise Invalid("Body expected in request.")
    return parse_json(bytes(collected.data), settings.max_json_depth)


def _too_large(limit: int) -> LimitExceeded:
    return LimitExceeded(f"The request body has more than {limit} bytes.")


@implementer(IConsumer)
class _Collected:
    """Keeps what is written; ends the transfer by an error as soon as it is too much."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self._limit = limit

    def write(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > self._limit:
            raise _too_large(self._limit)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing to do: this never pauses."""

    def unregisterProducer(self) -> None:
        """Nothing to do."""


def parse_json(data: bytes, max_depth: int) -> Any:
    """One JSON text, strictly (RFC 8259): UTF-8, no lone surrogates, no NaN or infinity, at most *max_depth* deep.

    :raises Invalid: in all other cases.
    """
    try:
        text = data.decode("utf-8-sig")
        document = _decode(text)
        if _SURROGATE.search(data):
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Invalid(_MALFORMED) from None
    if _deeper_than(max_depth, document):
        raise Invalid(f"The JSON in the request body is nested more than {max_depth} levels deep.")
    return document


def _refuse_number(name: str) -> Any:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


_decode: Final = json.JSONDecoder(parse_constant=_refuse_number, parse_float=_finite).decode
"""Made once: `json.loads` makes a decoder each time."""


def _deeper_than(limit: int, document: Any) -> bool:
    level = [document]
    for _ in range(limit + 1):
        level = [value for value in level if isinstance(value, dict | list)]
        if not level:
            return False
        level = [child for value in level for child in (value.values() if isinstance(value, dict) else value)]
    return True
