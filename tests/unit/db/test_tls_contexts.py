"""Connections to MariaDB have one TLS context, as long as it would be made of the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from glancetx.db.dialects.tls_contexts import connections_of_one_context
from glancetx.standalone.certificates import prepare_certificates


def test_one_context(tmp_path: Path) -> None:
    """It is that of the next connection as well, until an authority's file is another one; each engine has its own."""
    ours, other = (prepare_certificates(tmp_path / name, ["localhost"]).ca for name in ("ours", "other"))
    connect: Any = connections_of_one_context()
    first, second = (connect(ssl_ca=str(ours), defer_connect=True) for _ in range(2))
    assert first.ctx is second.ctx
    assert len(first.ctx.get_ca_certs()) == 1
    other.rename(ours)
    renewed = connect(ssl_ca=str(ours), defer_connect=True)
    assert renewed.ctx is not first.ctx
    assert renewed.ctx.get_ca_certs() != first.ctx.get_ca_certs()
    assert connect(defer_connect=True).ctx is connect(defer_connect=True).ctx is not renewed.ctx
    another: Any = connections_of_one_context()
    assert another(ssl_ca=str(ours), defer_connect=True).ctx is not renewed.ctx


def test_missing_authority(tmp_path: Path) -> None:
    """PyMySQL's own error says so."""
    with pytest.raises(FileNotFoundError):
        connections_of_one_context()(ssl_ca=str(tmp_path / "absent.pem"), defer_connect=True)
