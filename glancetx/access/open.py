"""Callers of whom nothing is known: where nobody is asked (C-090, C-097), and where nobody was found."""

from __future__ import annotations

from typing import Final

from zope.interface import implementer

from glancetx.domain.context import RequestContext, service_context
from glancetx.domain.errors import NotAuthenticated
from glancetx.interfaces import HeaderReader, IAuthenticator

# What Glance says, by way of its WSGI toolkit.
UNVERIFIED: Final = (
    "This server could not verify that you are authorized to access the document you requested. Either you supplied "
    "the wrong credentials (e.g., bad password), or your browser does not understand how to supply the credentials "
    "required."
)


def stranger(request_id: str, challenge: str, *, allowed: bool) -> RequestContext:
    """The context of a caller without valid credentials: one who may read, if that is *allowed* (C-012).

    :raises NotAuthenticated: if it is not.
    """
    if not allowed:
        raise NotAuthenticated(challenge, UNVERIFIED)
    return RequestContext(request_id=request_id, read_only=True)


@implementer(IAuthenticator)
class OpenAuthenticator:
    """Everybody is an administrator without a user and without a project, whatever headers they send."""

    challenge = ""  # never shown: nobody is turned away

    async def identify(self, header: HeaderReader, request_id: str) -> RequestContext:
        """An administrator's context. Its role is ``admin``, so that the default rules let it pass."""
        return service_context(request_id)
