"""Reading request headers as text, whatever bytes a client puts into them."""

from __future__ import annotations

from twisted.web.http import Request

from glancetx.interfaces import HeaderReader


def read_header(request: Request, name: str) -> str | None:
    """The last value of that name, or None. Bytes that are not UTF-8 are read as Latin-1, which has a letter for each.

    Twisted's ``getHeader`` of a text raises UnicodeDecodeError instead.
    """
    values = request.requestHeaders.getRawHeaders(name.encode("ascii"))
    if values is None:
        return None
    try:
        return values[-1].decode()
    except UnicodeDecodeError:
        return values[-1].decode("latin-1")


def read_list(request: Request, name: str) -> str | None:
    """All values of that name as one list (RFC 9110, section 5.3), or None. Read as Latin-1, which never fails."""
    values = request.requestHeaders.getRawHeaders(name.encode("ascii"))
    return None if values is None else b", ".join(values).decode("latin-1")


def header_reader(request: Request) -> HeaderReader:
    """`read_header` of *request*."""
    return lambda name: read_header(request, name)
