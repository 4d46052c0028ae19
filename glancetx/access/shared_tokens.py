"""What Keystone said of tokens, remembered for all processes in memcached: under digests, and perhaps sealed."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from typing import Any, Final, Protocol

from attrs import asdict, field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from glancetx.domain.access_rules import AccessRule
from glancetx.keystone import TokenFacts

MAC_SIZE: Final = 32
NONCE_SIZE: Final = 12


class Cache(Protocol):
    """Where it is kept: `glancetx.outgoing.memcached.Memcached`."""

    async def get(self, key: str) -> bytes | None: ...

    async def keep(self, key: str, value: bytes, seconds: int) -> None: ...


@frozen
class Remembered:
    """What Keystone said of a token, which is not asked again before *until* (seconds since the epoch)."""

    facts: TokenFacts
    until: float


@frozen
class Seal:
    """How what is kept is protected (``memcache_security_strategy``): not at all, from being changed (``MAC``), or from
    being read as well (``ENCRYPT``). Every token has keys of its own, made of it and the *secret*.
    """

    strategy: str = "None"
    secret: bytes = field(default=b"", repr=False)

    def name(self, token: str) -> str:
        """Under which it is kept; tells nothing of the token."""
        return "glancetx-token-" + self._derive(b"name", token).hex()

    def close(self, token: str, data: bytes) -> bytes:
        if self.strategy == "MAC":
            return hmac.digest(self._derive(b"mac", token), data, "sha256") + data
        if self.strategy == "ENCRYPT":
            nonce = os.urandom(NONCE_SIZE)
            return nonce + AESGCM(self._derive(b"encrypt", token)).encrypt(nonce, data, None)
        return data

    def open(self, token: str, sealed: bytes) -> bytes:
        """:raises ValueError: if it was not closed by us."""
        if self.strategy == "MAC":
            mac, data = sealed[:MAC_SIZE], sealed[MAC_SIZE:]
            if not hmac.compare_digest(mac, hmac.digest(self._derive(b"mac", token), data, "sha256")):
                raise ValueError("another MAC")
            return data
        if self.strategy == "ENCRYPT":
            try:
                return AESGCM(self._derive(b"encrypt", token)).decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], None)
            except InvalidTag as error:
                raise ValueError("another key") from error
        return sealed

    def _derive(self, purpose: bytes, token: str) -> bytes:
        key = hashlib.sha256(self.secret + b"\0" + purpose).digest()
        return hmac.digest(key, token.encode(), "sha256")


@frozen
class SharedTokens:
    """Remembers in *cache*. What cannot be read there counts as not there."""

    cache: Cache
    seal: Seal

    async def get(self, token: str) -> Remembered | None:
        sealed = await self.cache.get(self.seal.name(token))
        if sealed is None:
            return None
        try:
            return _read(json.loads(self.seal.open(token, sealed)))
        except (ValueError, TypeError, KeyError):
            return None

    async def keep(self, token: str, known: Remembered, seconds: int) -> None:
        document = {"until": known.until, "facts": asdict(known.facts)}
        await self.cache.keep(self.seal.name(token), self.seal.close(token, json.dumps(document).encode()), seconds)


def _read(document: Any) -> Remembered:
    values = dict(document["facts"])
    rules = values["access_rules"]
    values["access_rules"] = None if rules is None else tuple(AccessRule(**rule) for rule in rules)
    values["roles"] = tuple(values["roles"])
    return Remembered(TokenFacts(**values), float(document["until"]))
