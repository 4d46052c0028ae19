"""glance-download: data, and some of what is known about it, from the image service of another region (P-012)."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import algorithms_available
from typing import Any, Final
from uuid import UUID

from attrs import evolve, frozen
from zope.interface import implementer

from glancetx.domain.digests import Expectation
from glancetx.domain.errors import SourceUnavailable
from glancetx.domain.image import Image
from glancetx.imports.steps.receive import Receiver
from glancetx.imports.steps.web_download import FETCH
from glancetx.interfaces import IImportStep, ImportJob, StepDone
from glancetx.outgoing.fetch import Fetcher
from glancetx.runtime.threads import Threads
from glancetx.streams import IObserver
from glancetx.streams.digests import Digests

FindEndpoint = Callable[[str, str, str], Awaitable[str | None]]
"""``await find(token, interface, region)``: where the image service of a region is, by the catalog of a token."""

_FORMAT: Final = re.compile(r"[\w.-]{1,20}", re.ASCII)


@frozen(kw_only=True)
class Remote:
    """An image of another region: what is copied of it."""

    size: int
    disk_format: str
    container_format: str
    properties: Mapping[str, str]
    digest: tuple[str, str] | None  # algorithm and hex digits

    def applied(self, image: Image) -> Image:
        return evolve(
            image,
            disk_format=self.disk_format,
            container_format=self.container_format,
            properties={**image.properties, **self.properties},
        )


@implementer(IImportStep)
@frozen
class GlanceDownload:
    """Fetches an image with the token of who asked for it, at the place that the token's catalog names.

    *prefixes*: of the names of properties that come along (C-072). The data must have the digest that it has there.
    """

    fetcher: Fetcher
    receiver: Receiver
    find_endpoint: FindEndpoint | None
    prefixes: Sequence[str]
    hashing: Threads
    name: str = FETCH
    verb: str = "Downloaded"

    async def run(self, job: ImportJob) -> StepDone:
        """:raises SourceUnavailable: if the other region does not give it; and what `Receiver.receive` raises."""
        url, secrets = await self._place(job)
        remote = read_remote(await self.fetcher.read(url, secrets), self.prefixes)

        def observers() -> Sequence[IObserver]:
            if remote.digest is None:
                return ()
            return Digests(self.hashing, (), Expectation([remote.digest])).observers

        done = await self.receiver.receive(
            job, lambda: self.fetcher.open(f"{url}/file", secrets), remote.size, observers=observers
        )
        return evolve(done, change=lambda image: evolve(remote.applied(image), size=remote.size))

    async def _place(self, job: ImportJob) -> tuple[str, Mapping[str, str]]:
        """The image's URL there, and the header that opens it."""
        plan = job.plan
        if self.find_endpoint is None:
            raise SourceUnavailable("This service has no Keystone that could tell where other regions are.")
        if job.token is None:
            raise SourceUnavailable("The process that knew your token has ended before all had come: ask again.")
        interface, region = plan.interface or "public", plan.region or ""
        place = await self.find_endpoint(job.token, interface, region)
        if place is None:
            raise SourceUnavailable(f"{interface} glance endpoint not found for region {region}")
        root = re.sub(r"/v2(\.\d+)?$", "", place.rstrip("/"))
        return f"{root}/v2/images/{UUID(plan.remote_id or '')}", {"X-Auth-Token": job.token}


def read_remote(body: bytes, prefixes: Sequence[str]) -> Remote:
    """What the other service says of its image. :raises SourceUnavailable: if that cannot be imported."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise SourceUnavailable("What the other region answers is not an image.")
    status = document.get("status")
    if status != "active":
        raise SourceUnavailable(f"Source image status should be active instead of {str(status)[:40]}")
    size, formats = document.get("size"), [document.get(name) for name in ("disk_format", "container_format")]
    if type(size) is not int or size < 0:
        raise SourceUnavailable(f"Size attribute of remote image {document.get('id')} could not be determined.")
    if not all(isinstance(each, str) and _FORMAT.fullmatch(each) for each in formats):
        raise SourceUnavailable("The image of the other region has no formats.")
    return Remote(
        size=size,
        disk_format=str(formats[0]),
        container_format=str(formats[1]),
        properties=_properties(document, prefixes),
        digest=_digest(document),
    )


def _properties(document: Mapping[str, Any], prefixes: Sequence[str]) -> Mapping[str, str]:
    own = {"os_hidden", "os_hash_algo", "os_hash_value"}
    return {
        name: value
        for name, value in document.items()
        if name.startswith(tuple(prefixes))
        and isinstance(value, str)
        and name not in own
        and not name.startswith("os_glance")
        and len(name) <= 255
    }


def _digest(document: Mapping[str, Any]) -> tuple[str, str] | None:
    algorithm, value = document.get("os_hash_algo"), document.get("os_hash_value")
    if isinstance(algorithm, str) and isinstance(value, str) and algorithm in algorithms_available:
        return algorithm, value
    return None
