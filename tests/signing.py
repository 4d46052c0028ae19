"""Keys that sign images, and the certificates that hold them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.x509.oid import NameOID

HASHES: dict[str, Any] = {
    "SHA-224": hashes.SHA224,
    "SHA-256": hashes.SHA256,
    "SHA-384": hashes.SHA384,
    "SHA-512": hashes.SHA512,
}
CURVES = [
    name for name in ("SECT571K1", "SECT409K1", "SECT571R1", "SECT409R1", "SECP521R1", "SECP384R1") if hasattr(ec, name)
]
KEY_TYPES = ["RSA-PSS", "DSA", *(f"ECC_{name}" for name in CURVES)]


def make_key(key_type: str) -> Any:
    """A private key of that type."""
    if key_type == "RSA-PSS":
        return rsa.generate_private_key(65537, 2048)
    if key_type == "DSA":
        return dsa.generate_private_key(2048)
    return ec.generate_private_key(getattr(ec, key_type.removeprefix("ECC_"))())


def certificate(key: Any) -> bytes:
    """A certificate that the key has signed itself, in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer of images")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=30))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def sign(key: Any, data: bytes, hash_method: str = "SHA-256") -> str:
    """The signature, as it stands in a property of an image."""
    method = HASHES[hash_method]()
    if isinstance(key, rsa.RSAPrivateKey):
        made = key.sign(data, padding.PSS(padding.MGF1(method), padding.PSS.MAX_LENGTH), method)
    elif isinstance(key, dsa.DSAPrivateKey):
        made = key.sign(data, method)
    else:
        made = key.sign(data, ec.ECDSA(method))
    return base64.b64encode(made).decode()


def properties(
    key: Any, key_type: str, data: bytes, certificate_id: str, hash_method: str = "SHA-256"
) -> dict[str, str]:
    """What an image with that data says of its signature."""
    return {
        "img_signature": sign(key, data, hash_method),
        "img_signature_hash_method": hash_method,
        "img_signature_key_type": key_type,
        "img_signature_certificate_uuid": certificate_id,
    }
