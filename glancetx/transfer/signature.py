"""Verifying that the data of an image is what its owner signed, while it flows (api.md, A-101; processes.md, P-024).

The key comes in a certificate, which the caller may read. Keys and hashes are those of OpenStack's cursive; the
library that knows them is not loaded before an image has a signature.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from zope.interface import implementer

from glancetx.domain.context import RequestContext
from glancetx.domain.errors import CertificateRefused
from glancetx.domain.image import Image
from glancetx.domain.signature import Signature, signature_of
from glancetx.interfaces import ICertificates
from glancetx.runtime.threads import Threads
from glancetx.streams import Digest, IObserver

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

PEM: Final = b"-----BEGIN"


class Signatures:
    """Makes what verifies signatures. *certificates* knows the keys; verifying happens in *hashing*."""

    def __init__(self, certificates: ICertificates, hashing: Threads) -> None:
        self._certificates, self._hashing = certificates, hashing

    async def certificate(self, context: RequestContext, image: Image) -> tuple[str, bytes] | None:
        """The certificate that the image's signature names, as its id and what it is; None without a signature.

        :raises SignatureInvalid: if it is not there, or nothing could be verified with it.
        :raises CertificatesUnavailable: if that cannot be found out now.
        """
        signature = signature_of(image)
        if signature is None:
            return None
        try:
            content: bytes = await self._certificates.certificate(signature.certificate, context.token)
        except CertificateRefused as error:
            raise signature.refused(str(error)) from error
        await self._hashing.run(public_key, signature, content)
        return signature.certificate, content

    async def observers(self, context: RequestContext, image: Image) -> tuple[IObserver, ...]:
        """What has to see the data of an upload to *image*: nothing if it has no signature. Raises as `certificate`."""
        found = await self.certificate(context, image)
        return () if found is None else self.observers_with(image, *found)

    def observers_with(self, image: Image, certificate_id: str | None, content: bytes) -> tuple[IObserver, ...]:
        """The same with a certificate that was got before.

        :raises SignatureInvalid: if the image names another one now.
        """
        signature = signature_of(image)
        if signature is None:
            return ()
        if signature.certificate != certificate_id:
            raise signature.refused("The properties of the signature were changed during the import")
        return (SignatureCheck(signature, content, self._hashing),)


@implementer(IObserver)
class SignatureCheck:
    """Fails the transfer with SignatureInvalid, when all bytes were seen, if *signature* is not one of them.

    *certificate* holds the key.
    """

    def __init__(self, signature: Signature, certificate: bytes, threads: Threads) -> None:
        self._signature, self._certificate, self._threads = signature, certificate, threads
        self._digest = Digest(signature.algorithm, threads)

    def observe(self, chunk: bytes) -> Deferred[None] | None:
        return self._digest.observe(chunk)

    async def finish(self) -> None:
        await self._digest.finish()
        digest = bytes.fromhex(self._digest.hexdigest)
        await self._threads.run(verify, self._signature, self._certificate, digest)


def verify(signature: Signature, certificate: bytes, digest: bytes) -> None:
    """:raises SignatureInvalid: if data with this *digest* was not signed so."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa, utils

    key: Any = public_key(signature, certificate)
    made = _decoded(signature)
    method = getattr(hashes, signature.algorithm.upper())()
    hashed = utils.Prehashed(method)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(made, digest, padding.PSS(padding.MGF1(method), padding.PSS.MAX_LENGTH), hashed)
        elif isinstance(key, dsa.DSAPublicKey):
            key.verify(made, digest, hashed)
        else:
            key.verify(made, digest, ec.ECDSA(hashed))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
        raise signature.invalid() from error


def public_key(signature: Signature, certificate: bytes) -> object:
    """The key to verify with. :raises SignatureInvalid: if there is none that fits, or something cannot be read."""
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

    signature.check()
    _decoded(signature)
    if not _curve_is_there(signature.key_type):
        raise signature.refused(f"Invalid signature key type: {signature.key_type}")
    kinds = {"RSA-PSS": rsa.RSAPublicKey, "DSA": dsa.DSAPublicKey}
    kind: type[object] = kinds.get(signature.key_type, ec.EllipticCurvePublicKey)
    try:
        key = _parsed(certificate).public_key()
    except Exception as error:  # there are many ways in which it can be none
        raise signature.refused("Invalid certificate format") from error
    if not isinstance(key, kind):
        raise signature.refused(f"Invalid public key type for signature key type: {signature.key_type}")
    return key


def _curve_is_there(key_type: str) -> bool:
    """Newer libraries lack the binary curves."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return not key_type.startswith("ECC_") or hasattr(ec, key_type.removeprefix("ECC_"))


def _parsed(content: bytes) -> Certificate:
    from cryptography import x509

    if PEM in content:
        return x509.load_pem_x509_certificate(content)
    return x509.load_der_x509_certificate(content)


def _decoded(signature: Signature) -> bytes:
    try:
        made = base64.b64decode(signature.text)
    except (ValueError, binascii.Error) as error:
        raise signature.refused("The signature data was not properly encoded using base64") from error
    if not made:
        raise signature.refused("Error occurred while creating the verifier")
    return made
