"""The signature an image says it has, in four of its properties; without one of them it has none (as in Glance)."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

from glancetx.domain.errors import SignatureInvalid
from glancetx.domain.image import Image

HASHES: Final = {"SHA-224": "sha224", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
"""The hash methods, by hashlib's names."""

CURVES: Final = ("SECT571K1", "SECT409K1", "SECT571R1", "SECT409R1", "SECP521R1", "SECP384R1")
KEY_TYPES: Final = ("RSA-PSS", "DSA", *(f"ECC_{curve}" for curve in CURVES))


@frozen(kw_only=True)
class Signature:
    """What an image says: its data, hashed by *hash_method*, was signed with the key of *certificate* (an id)."""

    image_id: str
    text: str = field(repr=False)  # in base64
    hash_method: str
    key_type: str
    certificate: str

    @property
    def algorithm(self) -> str:
        """hashlib's name of the hash. :raises SignatureInvalid: if it is none that is known."""
        if self.hash_method not in HASHES:
            raise self.refused(f"Invalid signature hash method: {self.hash_method}")
        return HASHES[self.hash_method]

    def check(self) -> None:
        """:raises SignatureInvalid: if hash or key are of no kind that is known."""
        if self.algorithm and self.key_type not in KEY_TYPES:
            raise self.refused(f"Invalid signature key type: {self.key_type}")

    def invalid(self) -> SignatureInvalid:
        """The error if the data was not signed so."""
        return SignatureInvalid(self.image_id, "Signature verification failed")

    def refused(self, reason: str) -> SignatureInvalid:
        """The error, in Glance's words."""
        return SignatureInvalid(self.image_id, f"Signature verification for the image failed: {reason}.")


def signature_of(image: Image) -> Signature | None:
    """The signature in the image's properties, None if there is none."""
    values = [
        image.properties.get(f"img_signature{name}") for name in ("", "_hash_method", "_key_type", "_certificate_uuid")
    ]
    text, hash_method, key_type, certificate = values
    if text is None or hash_method is None or key_type is None or certificate is None:
        return None
    return Signature(image_id=image.id, text=text, hash_method=hash_method, key_type=key_type, certificate=certificate)
