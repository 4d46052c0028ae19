"""The one table from domain errors to HTTP statuses, and the three shapes of an error body (api.md, A-004).

The shapes are those of the WSGI toolkit Glance uses: JSON, HTML or plain text by the Accept header.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final

from attrs import field, frozen
from twisted.internet.defer import CancelledError

from glancetx.domain import errors
from glancetx.web.accept import HTML, JSON, liked_best

TITLES: Final = {416: "Request Range Not Satisfiable", 413: "Request Entity Too Large"}
USUAL_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"})
BREAK: Final = "<br /><br />\n"


@frozen
class Problem:
    """What goes wrong, as HTTP: a status, a text, and headers."""

    status: int
    explanation: str
    detail: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    raw_text: str | None = field(default=None)  # replaces explanation and detail where the toolkit words it itself

    @property
    def title(self) -> str:
        return TITLES.get(self.status) or HTTPStatus(self.status).phrase

    @property
    def text(self) -> str:
        return f"{self.explanation}{BREAK}{self.detail}\n\n" if self.raw_text is None else self.raw_text

    def body(self, accept: str) -> tuple[str, bytes]:
        """Content type and body for a client which accepts *accept*."""
        line = f"{self.status} {self.title}"
        shape = liked_best(accept)
        if shape == HTML:
            text = BREAK.join(html.escape(part) for part in self.text.split(BREAK))
            page = (
                f"<html>\n <head>\n  <title>{line}</title>\n </head>\n <body>\n  <h1>{line}</h1>\n"
                f"  {text}\n </body>\n</html>"
            )
            return "text/html; charset=UTF-8", page.encode()
        if shape == JSON:
            document = {"message": self.text, "code": line, "title": self.title}
            return JSON, json.dumps(document).encode()
        text = self.text.replace("\n", " ").replace("<br />", "\n")
        return "text/plain; charset=UTF-8", f"{line}\n\n{text}".encode()


def _plain(status: int) -> Callable[[errors.ImageServiceError], Problem]:
    return lambda error: Problem(status, str(error))


def _detailed(status: int, explanation: str) -> Callable[[errors.ImageServiceError], Problem]:
    return lambda error: Problem(status, explanation, str(error))


def _unauthorized(error: errors.ImageServiceError) -> Problem:
    assert isinstance(error, errors.NotAuthenticated)
    return Problem(401, str(error), headers=(("WWW-Authenticate", error.challenge),) if error.challenge else ())


def _media_type(error: errors.ImageServiceError) -> Problem:
    accept = getattr(error, "accept_patch", ())
    headers = (("Accept-Patch", ", ".join(sorted(accept))),) if accept else ()
    given = getattr(error, "given", "application/octet-stream")
    wording = f"The request media type {given} is not supported by this server.\n<br /><br />\n"
    return Problem(415, str(error), headers=headers, raw_text=f"{wording}{error}")


def _range(error: errors.ImageServiceError) -> Problem:
    assert isinstance(error, errors.RangeNotSatisfiable)
    return Problem(
        416, "The Range requested is not available.", str(error), (("Content-Range", f"bytes */{error.size}"),)
    )


def _elsewhere(error: errors.ImageServiceError) -> Problem:
    assert isinstance(error, errors.NodeRefused)
    known = error.status in HTTPStatus.__members__.values()
    return Problem(error.status if known and error.status >= 400 else 502, str(error))


def _later(error: errors.ImageServiceError) -> Problem:
    return Problem(503, str(error), headers=(("Retry-After", "5"),))


TABLE: Final[dict[type[errors.ImageServiceError], Callable[[errors.ImageServiceError], Problem]]] = {
    errors.NotAuthenticated: _unauthorized,
    errors.Forbidden: _plain(403),
    errors.AttributeForbidden: _detailed(403, "Access was denied to this resource."),
    errors.NotFound: _plain(404),
    errors.ImageExists: _plain(409),
    errors.Invalid: _plain(400),
    errors.InvalidTransition: _plain(409),
    errors.StatusConflict: _plain(409),
    errors.Conflict: _plain(409),
    errors.AttributeConflict: _detailed(409, "There was a conflict when trying to complete your request."),
    errors.ImageGone: _plain(410),
    errors.UnsupportedMediaType: _media_type,
    errors.FormatMismatch: _media_type,
    errors.LimitExceeded: _plain(413),
    errors.ImageTooLarge: lambda error: Problem(413, f"The incoming image is too large: {error}"),
    errors.StorageQuotaFull: lambda error: Problem(413, f"Image exceeds the storage quota: {error}"),
    errors.RangeNotSatisfiable: _range,
    errors.TooSlow: _plain(408),
    errors.ClientVanished: _plain(400),
    errors.SourceUnavailable: _plain(502),
    errors.DataNotFound: _plain(404),
    errors.DataInUse: _plain(409),
    errors.StoreFull: _plain(413),
    errors.StoreWriteDenied: _later,
    errors.StoreReadOnly: _plain(410),
    errors.StoreUnavailable: _later,
    errors.DataCorrupt: _later,
    errors.UnknownStore: _plain(400),
    errors.DatabaseUnavailable: _later,
    errors.CoordinationUnavailable: _later,
    errors.LimitsUnavailable: _later,
    errors.IdentityUnavailable: _later,
    errors.CertificatesUnavailable: _later,
    errors.NodeUnavailable: _plain(504),
    errors.NodeRefused: _elsewhere,
    errors.NotReady: _later,
}


class Refusal(Exception):
    """Raised by a room that knows the whole answer by itself."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


class NoRoute(Exception):
    """Nothing answers a request: there is nothing, or not by its method but by *allowed* ones."""

    def __init__(self, allowed: Iterable[str] | None = None) -> None:
        super().__init__()
        self.allowed = None if allowed is None else sorted(set(allowed))


def problem_of(error: BaseException, method: str) -> Problem | None:
    """What to tell the client about *error*; None if it is a defect of ours, which is logged and shown as 500."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            assert isinstance(error, errors.ImageServiceError)
            return TABLE[kind](error)
    if isinstance(error, Refusal):
        return error.problem
    if isinstance(error, NoRoute):
        return _nothing_there(method) if error.allowed is None else _method_not_allowed(method, error.allowed)
    if isinstance(error, CancelledError):
        return Problem(503, "The service is stopping.", headers=(("Retry-After", "5"),))
    return None


def _method_not_allowed(method: str, allowed: Iterable[str]) -> Problem:
    text = f"The method {method} is not allowed for this resource. {BREAK}"
    return Problem(405, "", headers=(("Allow", ", ".join(allowed)),), raw_text=text)


def _nothing_there(method: str) -> Problem:
    """Where there is nothing, methods that nobody has are not even looked for (A-007)."""
    if method in USUAL_METHODS:
        return Problem(404, "The resource could not be found.")
    text = f"\nThe request method {method} is not implemented for this server. {BREAK}"
    return Problem(501, "", raw_text=text)


INTERNAL: Final = Problem(500, "The server has either erred or is incapable of performing the requested operation.")
