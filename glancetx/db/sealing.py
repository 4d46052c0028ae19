"""URLs of locations, and what has them in it, which may be kept encrypted (``metadata_encryption_key``; D-060..D-063).

The key belongs to an engine, not to the table: it stands at the engine's dialect, where the column's type finds it.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import Any, Final

from attrs import field, frozen
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator

from glancetx.domain.errors import ConfigurationError

BLOCK: Final = 16
KEYS: Final = (16, 24, 32)
PLAIN: Final = ("://", "{")  # one is in every URL, one in all JSON, and none in a ciphertext


@frozen
class Seal:
    """Encrypts as Glance does: URL-safe base64 of a random first block and AES in CBC mode.

    The text is followed by a NUL and then by random bytes without one, up to a whole block.
    """

    _key: bytes = field(repr=False)

    @classmethod
    def of(cls, key: str) -> Seal:
        """:raises ConfigurationError: if AES has no keys of this length."""
        if len(key.encode()) not in KEYS:
            raise ConfigurationError("metadata_encryption_key must have 16, 24 or 32 characters")
        return cls(key.encode())

    def close(self, text: str) -> str:
        """What is kept of *text*."""
        plain = text.encode() + b"\0"
        plain += bytes(1 + byte % 255 for byte in os.urandom(-len(plain) % BLOCK))
        first = os.urandom(BLOCK)
        encryptor = Cipher(algorithms.AES(self._key), modes.CBC(first)).encryptor()
        return base64.urlsafe_b64encode(first + encryptor.update(plain) + encryptor.finalize()).decode()

    def open(self, kept: str) -> str:
        """The text; *kept* itself if it is not encrypted, as some of Glance's paths leave it, or by another key."""
        if any(each in kept for each in PLAIN):
            return kept
        try:
            sealed = base64.urlsafe_b64decode(kept)
            decryptor = Cipher(algorithms.AES(self._key), modes.CBC(sealed[:BLOCK])).decryptor()
            plain = decryptor.update(sealed[BLOCK:]) + decryptor.finalize()
            return plain[: plain.rindex(b"\0")].decode()
        except (ValueError, binascii.Error):
            return kept


def seal_of(dialect: Dialect) -> Seal | None:
    """What the engine of this dialect keeps URLs with, if it does."""
    found: Seal | None = getattr(dialect, "glancetx_seal", None)
    return found


def set_seal(dialect: Dialect, seal: Seal) -> None:
    dialect.glancetx_seal = seal  # type: ignore[attr-defined]


class SealedText(TypeDecorator[str]):
    """Text that is encrypted on its way into the database, if the engine has a key. No two ciphertexts of a text are
    the same: it cannot be looked for.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        seal = seal_of(dialect)
        return value if seal is None or value is None else seal.close(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        seal = seal_of(dialect)
        return value if seal is None or value is None else seal.open(value)
