"""Keystone v3 as we use it: our own token, other people's tokens, the catalog. Who may what is not decided here."""

from __future__ import annotations

from glancetx.keystone.client import Keystone
from glancetx.keystone.documents import Catalog, Malformed, OwnToken, TokenFacts

__all__ = ["Catalog", "Keystone", "Malformed", "OwnToken", "TokenFacts"]
