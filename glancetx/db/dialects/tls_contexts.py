"""TLS of PyMySQL, whose connections make a context each: 26 ms, most of it to read the system's authorities.

That happens without any parameter for TLS as well: whether the server offers it is known later.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # an extra
    from pymysql.connections import Connection

FILES: Final = ("ca", "capath", "cert", "key")


def connections_of_one_context() -> type[Connection[Any]]:
    """A class of PyMySQL's connections which have one context, until a file changes of which it was made."""
    from pymysql.connections import Connection

    class Connected(Connection):
        made: tuple[object, SSLContext] | None = None

        def _create_ssl_ctx(self, sslp: Any) -> SSLContext:
            told = _told(sslp) if isinstance(sslp, Mapping) else sslp
            made = Connected.made
            if made is None or made[0] != told:
                context = super()._create_ssl_ctx(sslp)  # type: ignore[misc]
                made = Connected.made = told, context
            return made[1]

    return Connected


def _told(options: Mapping[str, Any]) -> object:
    """What a context depends on: *options*, and what is to be seen of the files they name."""
    seen = []
    for name in FILES:
        with suppress(FileNotFoundError):  # PyMySQL says so in its own words
            found = os.stat(options[name]) if options.get(name) else None
            seen.append(found and (found.st_ino, found.st_size, found.st_mtime_ns))
    return dict(options), seen
