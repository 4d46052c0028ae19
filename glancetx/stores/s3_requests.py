"""The S3 API as far as a store needs it: where things are, requests that are signed and tried again, their errors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree

from attrs import frozen
from twisted.web.iweb import IBodyProducer

from glancetx.config.store_settings import S3Settings
from glancetx.domain.errors import ConfigurationError, StoreError, StoreFull, StoreUnavailable, StoreWriteDenied
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.client import Answer, HttpClient
from glancetx.outgoing.retries import PASSING, Retries
from glancetx.runtime.threads import Threads
from glancetx.stores.s3_signing import EMPTY, UNSIGNED, Signer
from glancetx.stores.xml import parse

_REGION: Final = re.compile(r"s3[.-](?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?")
_BUCKET_IN_HOST: Final = re.compile(r"(?!.*-s3alias$)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_PASSING: Final = ("RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict", "InternalError")
_FULL: Final = ("EntityTooLarge", "QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "InsufficientCapacity")


@frozen
class Fault:
    """What an error answer says. *code* is S3's name for it, empty if the answer has none."""

    status: int
    code: str = ""


class S3Refusal(StoreError):
    """The endpoint refuses, and it would not help to ask again."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"The S3 endpoint answers {fault.status} {fault.code}".rstrip())
        self.fault = fault


class S3Api:
    """Requests to one endpoint, as one account."""

    def __init__(self, settings: S3Settings, client: HttpClient, retries: Retries, hashing: Threads) -> None:
        host = settings.host if "://" in settings.host else f"http://{settings.host}"
        parts = urlsplit(host)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"s3_store_host = {settings.host}: not a host, nor an http or https URL")
        self.secure = parts.scheme == "https"
        self._scheme, self._netloc, self._path = parts.scheme, parts.netloc, parts.path.rstrip("/")
        at_aws = parts.hostname.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        self._virtual = settings.url_format == "virtual" or (settings.url_format == "auto" and at_aws)
        found = _REGION.fullmatch(parts.hostname)
        self.region = settings.region or (found[1] if found else "")
        self._signer = Signer(settings.access_key, settings.secret_key, self.region or "us-east-1")
        self._client, self._retries, self._hashing = client, retries, hashing
        if settings.url_format == "virtual" and not self._in_host(settings.bucket):
            raise ConfigurationError(f"s3_store_bucket = {settings.bucket}: cannot be part of a host name")

    def _in_host(self, bucket: str) -> bool:
        return bool(_BUCKET_IN_HOST.fullmatch(bucket)) or (not self.secure and "." in bucket)

    def url(self, bucket: str, key: str = "", query: Mapping[str, str] | None = None) -> str:
        """Where an object or, without a key, its bucket is."""
        if self._virtual and self._in_host(bucket):
            netloc, path = f"{bucket}.{self._netloc}", f"{self._path}/{quote(key, safe='/~')}"
        else:
            netloc, path = self._netloc, f"{self._path}/{quote(bucket, safe='')}"
            path += f"/{quote(key, safe='/~')}" if key else ""
        asked = urlencode(query or {}, quote_via=quote, safe="")
        return f"{self._scheme}://{netloc}{path}" + (f"?{asked}" if asked else "")

    async def call(
        self,
        method: str,
        bucket: str,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Sequence[bytes] | None = None,
        accept: Sequence[int] = (),
        whole: bool = True,
        digest: str | None = None,
    ) -> Answer:
        """The answer to a request, tried again if it was a passing fault; its status is a good one, or in *accept*.

        Unless *whole* is false its content was read. *digest* is the body's SHA-256 in hex, if that is known.

        :raises S3Refusal: if it has any other status.
        :raises StoreFull, StoreWriteDenied, StoreUnavailable: as they say.
        """
        url, tried = self.url(bucket, key, query), 0
        if digest is None:
            digest = await self._hashing.run(sha256, body) if body else EMPTY
        chunks = body or (() if method in ("PUT", "POST") else None)
        while True:
            wish: str | None = None
            failure: StoreError
            try:
                signed = self._signer.sign(method, url, headers or {}, digest)
                answer = await self._client.request(method, url, signed, chunks)
                if whole or answer.status >= 300:
                    await answer.read()
            except NoAnswer as error:
                failure = StoreUnavailable(f"The S3 endpoint: {error}")
                failure.__cause__ = error
            else:
                if answer.status < 300 or answer.status in accept:
                    answer.tries += tried
                    return answer
                wish, fault = answer.header("Retry-After"), fault_of(answer)
                failure = refusal(fault)
                if not passing(fault):
                    raise failure
            tried += 1
            if not await self._retries.pause(tried, wish):
                raise failure

    async def stream(self, bucket: str, key: str, headers: Mapping[str, str], body: IBodyProducer) -> None:
        """PUT a body that can be sent only once. :raises: as `call`, and what the body fails with."""
        url = self.url(bucket, key)
        try:
            answer = await self._client.request("PUT", url, self._signer.sign("PUT", url, headers, UNSIGNED), body)
        except NoAnswer as error:
            raise StoreUnavailable(f"The S3 endpoint: {error}") from error
        if answer.status >= 300:
            with suppress(NoAnswer):
                await answer.read()
            raise refusal(fault_of(answer))
        answer.drop()


def document(answer: Answer) -> ElementTree.Element:
    """The XML of an answer. :raises StoreError: if it is none, or says that there was an error after all."""
    try:
        root = parse(answer.content)
    except ElementTree.ParseError as error:
        raise StoreUnavailable("The S3 endpoint gives an answer that cannot be read") from error
    if root.tag == "Error":
        raise refusal(Fault(answer.status, root.findtext("Code") or ""))
    return root


def fault_of(answer: Answer) -> Fault:
    """What an error answer says; of HEAD it has no content."""
    try:
        return Fault(answer.status, parse(answer.content).findtext("Code") or "")
    except ElementTree.ParseError:
        return Fault(answer.status)


def sha256(chunks: Sequence[bytes]) -> str:
    """The digest of all chunks, in hex."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def passing(fault: Fault) -> bool:
    """Whether it may be another time that the same request succeeds."""
    return fault.status in PASSING or fault.code in _PASSING


def refusal(fault: Fault) -> StoreError:
    """The error that means this fault."""
    if fault.status == 507 or fault.code in _FULL:
        return StoreFull("The store has no room left")
    if fault.status in (401, 403):
        return StoreWriteDenied(f"The S3 endpoint refuses the request: {fault.status} {fault.code}".rstrip())
    if (fault.status >= 500 and fault.status != 501) or fault.status in PASSING:
        return StoreUnavailable(f"The S3 endpoint answers {fault.status} {fault.code}".rstrip())
    return S3Refusal(fault)
