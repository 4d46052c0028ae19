"""Signatures of requests to S3 (AWS version 4), computed by botocore; nothing else of botocore is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from glancetx.domain.errors import ConfigurationError

UNSIGNED: Final = "UNSIGNED-PAYLOAD"
EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of no bytes


class Signer:
    """Signs for one account and region.

    :raises ConfigurationError: if botocore is not installed (the extra ``s3``).
    """

    def __init__(self, access_key: str, secret_key: str, region: str) -> None:
        try:
            from botocore.auth import S3SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.credentials import Credentials
        except ImportError as error:
            raise ConfigurationError("S3 stores need botocore: pip install 'glancetx[s3]'") from error

        class Auth(S3SigV4Auth):  # type: ignore[misc]
            """With the digest of a body that was made before; botocore would make it here, in the reactor thread."""

            def payload(self, request: Any) -> str:
                return str(request.context["digest"])

        self._auth = Auth(Credentials(access_key, secret_key), "s3", region)
        self._request = AWSRequest

    def sign(self, method: str, url: str, headers: Mapping[str, str], digest: str) -> dict[str, str]:
        """*headers* and those that prove who sends them. *digest*: the body's SHA-256 in hex, or ``UNSIGNED``."""
        request = self._request(method=method, url=url, headers=dict(headers))
        request.context["digest"] = digest
        self._auth.add_auth(request)
        return {name: str(value) for name, value in request.headers.items()}
