"""From where a service listens to the URL under which its clients on this machine reach it."""

from __future__ import annotations

import re
from typing import Final

from glancetx.domain.errors import ConfigurationError

_FIELDS: Final = re.compile(r"(?:[^:\\]|\\.)+")
ANYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read here, not bound


def endpoint_url(listen: str) -> str:
    """The URL of a Twisted endpoint string: ``ssl:9292:interface=127.0.0.1`` is ``https://127.0.0.1:9292``.

    :raises ConfigurationError: if it is not of a kind that clients reach by a URL (tcp, tcp6, ssl, tls).
    """
    kind, *fields = [re.sub(r"\\(.)", r"\1", field) for field in _FIELDS.findall(listen)] or [""]
    named = dict(field.split("=", 1) for field in fields if "=" in field)
    port = named.get("port") or next((field for field in fields if "=" not in field), "")
    if kind not in ("tcp", "tcp4", "tcp6", "ssl", "tls") or not port.isdigit():
        raise ConfigurationError(
            f"cannot listen on {listen} first: clients reach tcp, tcp6, ssl and tls endpoints by a URL"
        )
    host = ANYWHERE.get(named.get("interface", ""), named.get("interface", ""))
    scheme = "https" if kind in ("ssl", "tls") else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
