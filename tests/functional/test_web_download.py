"""Imports of what lies on web servers: within bounds, gone on with when a server breaks off, and never from inside.

Contract rows P-011.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IResolutionReceiver

from glancetx.config.settings import DownloadSettings, ImagesSettings, ImportSettings, Settings
from glancetx.domain.addresses import FetchRules
from glancetx.domain.importing import WEB_DOWNLOAD
from glancetx.standalone.certificates import CertificateFiles, prepare_certificates
from glancetx.testing.fakes import until
from tests.functional.test_import import FixedLimits, ended, nothing_staged, staged, start_import, two_stores
from tests.hostile import HOSTILE_URLS
from tests.running import Api, Started, settings_in
from tests.services.proxy import proxying
from tests.services.source import Source, serving

CONTENT = os.urandom(700_000)
QUICK = DownloadSettings(fetch_retries=1)


@pytest.fixture(scope="module")
def source() -> Iterator[Source]:
    with serving(CONTENT) as found:
        yield found


def web_settings(folder: Path, source: Source, base: Settings | None = None, **changes: Any) -> Settings:
    """May fetch from this source, by its address, and nothing else that is inside."""
    settings = base or settings_in(folder)
    rules = FetchRules(allowed_hosts=("127.0.0.1",), allowed_ports=(source.port,))
    imports = ImportSettings(methods=("glance-direct", WEB_DOWNLOAD), staging=folder / "staging")
    return evolve(settings, **{"imports": imports, "fetch": rules, "downloads": QUICK, **changes})


def asking(url: str, **more: Any) -> dict[str, Any]:
    return {"method": {"name": WEB_DOWNLOAD, "uri": url}, **more}


async def fetched(api: Api, url: str, **more: Any) -> tuple[str, Any, Any]:
    """The id of a new image, its task when it has ended, and the image then."""
    image_id = await api.create()
    reply = await start_import(api, image_id, asking(url, **more))
    assert reply.status == 202, reply.body
    return image_id, await ended(api, image_id), await api.show(image_id)


async def check_active(api: Api, image_id: str, task: Any, image: Any) -> None:
    assert task["status"] == "success", task
    assert (image["status"], image["size"]) == ("active", len(CONTENT))
    assert image["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == CONTENT
    await nothing_staged(api)


async def check_failed(api: Api, task: Any, image: Any) -> None:
    assert task["status"] == "failure", task
    assert (image["status"], image["size"], image["checksum"]) == ("queued", None, None)
    assert "os_glance_import_task" not in image
    assert api.stored() == []
    await nothing_staged(api)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "chunked",
        "close",
        "cut=300000",
        "cutonce=300000&notag=",
        "cutonce=300000&noranges=",
        "cutonce=300000&changed=",
        "to=/x",
        "to=/x%3Fto=/y&status=307",
    ],
)
@pytest_twisted.ensureDeferred
async def test_fetched(start: Started, tmp_path: Path, source: Source, query: str) -> None:
    """However the server sends it, wherever it breaks off once, and wherever it leads."""
    api = await start(web_settings(tmp_path, source))
    number = len(source.requests)
    await check_active(api, *await fetched(api, f"{source.url}/image?{query}"))
    if query.startswith("cut="):
        ranged = source.requests[number + 1][1]
        assert (ranged["range"], ranged["if-range"]) == ("bytes=300000-", '"one"')
    if query.startswith("cutonce"):  # it cannot be gone on with, so it began anew
        assert "range" not in source.requests[-1][1]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("status=404", "status 404"),
        ("status=500", "status 500"),
        ("status=302", "redirection to nowhere"),
        ("cuts=1000", "broke off"),
        ("hang=", "no answer in time"),
        ("lie=10", "broke off"),
        ("to=http://127.0.0.2/", "not allowed"),
        ("to=http://127.0.0.1:1/", "port 1 is not allowed"),
        ("to=file:///etc/passwd", "scheme"),
        ("to=http://[::ffff:127.0.0.1]/", "not allowed"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_not_fetched(start: Started, tmp_path: Path, source: Source, query: str, reason: str) -> None:
    """The task tells why; the image is queued again, and nothing is kept."""
    downloads = evolve(QUICK, fetch_stall=1.0) if query in ("hang=", "lie=10") else QUICK
    api = await start(web_settings(tmp_path, source, downloads=downloads))
    _, task, image = await fetched(api, f"{source.url}/image?{query}")
    await check_failed(api, task, image)
    assert reason in task["message"]


@pytest_twisted.ensureDeferred
async def test_redirected_for_ever(start: Started, tmp_path: Path, source: Source) -> None:
    """So many redirections, and no more."""
    api = await start(web_settings(tmp_path, source, downloads=evolve(QUICK, fetch_max_redirects=2)))
    number = len(source.requests)
    _, task, image = await fetched(api, f"{source.url}/image?to=/image%3Fto=/image%253Fto=/x")
    await check_failed(api, task, image)
    assert "by redirections" in task["message"]
    assert len(source.requests) == number + 3


@pytest.mark.parametrize(
    ("query", "changes", "reason"),
    [
        ("", {"images": ImagesSettings(image_size_cap=600_000)}, "too large"),
        ("chunked=", {"images": ImagesSettings(image_size_cap=600_000)}, "too large"),
        ("endless=", {"images": ImagesSettings(image_size_cap=9_000_000)}, "too large"),
        ("rate=100000", {"downloads": evolve(QUICK, fetch_timeout=0.5)}, "within 0.5 seconds"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_bounds(
    start: Started, tmp_path: Path, source: Source, query: str, changes: dict[str, Any], reason: str
) -> None:
    """Too much, or for too long."""
    api = await start(web_settings(tmp_path, source, **changes))
    _, task, image = await fetched(api, f"{source.url}/image?{query}")
    await check_failed(api, task, image)
    assert reason in task["message"] or "larger" in task["message"], task["message"]


@pytest_twisted.ensureDeferred
async def test_quota(start: Started, tmp_path: Path, source: Source) -> None:
    """What comes counts while it comes, once for each store."""
    settings = web_settings(tmp_path, source, two_stores(tmp_path))
    api = await start(settings, limits=FixedLimits(size_total=1_000_000))
    image_id = await api.create()
    assert (await start_import(api, image_id, asking(f"{source.url}/x", all_stores=True))).status == 202
    task = await ended(api, image_id)
    assert task["status"] == "failure"
    assert (await api.show(image_id))["os_glance_failed_import"] == "cheap,fast"
    assert (await start_import(api, image_id, asking(f"{source.url}/x"))).status == 202
    assert (await ended(api, image_id))["status"] == "success"
    assert (await api.show(image_id))["os_glance_failed_import"] == "cheap"


@pytest_twisted.ensureDeferred
async def test_stores(start: Started, tmp_path: Path, source: Source) -> None:
    """All that are wanted have it, from one fetch."""
    api = await start(web_settings(tmp_path, source, two_stores(tmp_path)))
    number = len(source.requests)
    image_id, task, image = await fetched(api, f"{source.url}/x", all_stores=True)
    await check_active(api, image_id, task, image)
    assert image["stores"] == "fast,cheap"
    assert len(source.requests) == number + 1


@pytest_twisted.ensureDeferred
async def test_deleted_meanwhile(start: Started, tmp_path: Path, source: Source) -> None:
    """Deleting the image ends the fetch."""
    from twisted.internet import reactor

    api = await start(web_settings(tmp_path, source))
    image_id = await api.create()
    await start_import(api, image_id, asking(f"{source.url}/x?rate=50000"))
    await until(reactor, lambda: staged(api) != [])
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 204
    await nothing_staged(api)


@pytest.mark.parametrize(
    "uri", [None, "", "http://localhost:{port}/", "file:///etc/passwd", "http://127.0.0.1/", "http://nope.invalid/", 5]
)
@pytest_twisted.ensureDeferred
async def test_refused_at_once(start: Started, tmp_path: Path, source: Source, uri: Any) -> None:
    """What may not be fetched is no import."""
    api = await start(web_settings(tmp_path, source))
    image_id = await api.create()
    body = asking(uri.format(port=source.port) if isinstance(uri, str) else uri)
    reply = await start_import(api, image_id, body)
    assert reply.status == 400, reply.body
    assert (await api.show(image_id))["status"] == "queued"


@pytest_twisted.ensureDeferred
async def test_needs_a_queued_image(start: Started, tmp_path: Path, source: Source) -> None:
    api = await start(web_settings(tmp_path, source))
    image_id = await api.create()
    await api.request("PUT", f"/v2/images/{image_id}/stage", b"x", Content_Type="application/octet-stream")
    reply = await start_import(api, image_id, asking(source.url))
    assert (reply.status, "queued" in reply.json["message"]) == (409, True)


@pytest_twisted.ensureDeferred
async def test_hostile(start: Started, tmp_path: Path) -> None:
    """No way to write an inside address reaches it, at once or by a redirection; a canary listens there."""
    with serving(b"secret") as canary, serving(b"x") as source:
        rules = FetchRules(allowed_ports=())
        settings = web_settings(tmp_path, source, fetch=rules)
        api = await start(settings)
        image_id = await api.create()
        assert len(HOSTILE_URLS) >= 60
        for url in HOSTILE_URLS:
            reply = await start_import(api, image_id, asking(url.format(port=canary.port)))
            assert reply.status == 400, url
        assert canary.requests == []


class Changing:
    """A resolver whose answers for a name change from one time to the next."""

    def __init__(self, answers: list[list[str]]) -> None:
        self.answers, self.asked = answers, 0

    def resolveHostName(self, receiver: IResolutionReceiver, name: str, portNumber: int = 0, **more: Any) -> Any:
        found = [name]
        if name.endswith(".example"):
            found = self.answers[min(self.asked, len(self.answers) - 1)]
            self.asked += 1
        receiver.resolutionBegan(None)  # type: ignore[arg-type]
        for address in found:
            receiver.addressResolved(IPv4Address("TCP", address, portNumber))
        receiver.resolutionComplete()
        return receiver


@pytest_twisted.ensureDeferred
async def test_names_that_change(start: Started, tmp_path: Path) -> None:
    """A name that is public when it is judged and inside when it is connected to is judged again, and not connected."""
    from twisted.internet import reactor

    loop: Any = reactor
    before = loop.nameResolver
    with serving(b"secret") as canary:
        api = await start(web_settings(tmp_path, canary, fetch=FetchRules(allowed_ports=())))
        resolver = Changing([["8.8.8.8"], ["127.0.0.1"]])
        loop.installNameResolver(resolver)
        try:
            _, task, image = await fetched(api, f"http://rebind.example:{canary.port}/")
            await check_failed(api, task, image)
            assert "public internet" in task["message"]
            assert resolver.asked == 2
            resolver.answers, resolver.asked = [["8.8.8.8", "127.0.0.1"]], 0
            image_id = await api.create()
            reply = await start_import(api, image_id, asking(f"http://both.example:{canary.port}/"))
            assert reply.status == 400
        finally:
            loop.installNameResolver(before)
        assert resolver.asked == 1
        assert canary.requests == []
    await Deferred.fromCoroutine(nothing_staged(api))


@pytest_twisted.ensureDeferred
async def test_authorities(start: Started, tmp_path: Path) -> None:
    """A server is trusted if it is one of those in the file, and else not; nothing is sent to it then."""
    files = prepare_certificates(tmp_path / "tls", ["127.0.0.1"])
    with serving(CONTENT, server_context(files)) as source:
        trusting = evolve(QUICK, fetch_cafile=files.ca)
        api = await start(web_settings(tmp_path, source, downloads=trusting))
        await check_active(api, *await fetched(api, f"{source.url}/x"))
        number = len(source.requests)
        other = await start(web_settings(tmp_path, source))
        _, task, _ = await fetched(other, f"{source.url}/x")
        assert task["status"] == "failure"
        assert len(source.requests) == number


@pytest.mark.parametrize("secure", [False, True])
@pytest_twisted.ensureDeferred
async def test_by_proxy(start: Started, tmp_path: Path, secure: bool) -> None:
    """The proxy is asked for all of it; where requests may go is judged before."""
    files = prepare_certificates(tmp_path / "tls", ["127.0.0.1"])
    with serving(CONTENT, server_context(files) if secure else None) as source, proxying() as proxy:
        by_proxy = evolve(QUICK, fetch_cafile=files.ca, fetch_proxy=f"http://me:secret@127.0.0.1:{proxy.port}")
        api = await start(web_settings(tmp_path, source, downloads=by_proxy))
        await check_active(api, *await fetched(api, f"{source.url}/x"))
        asked = f"CONNECT 127.0.0.1:{source.port}" if secure else f"GET {source.url}/x"
        assert proxy.requests == [(asked, "Basic bWU6c2VjcmV0")]
        assert "proxy-authorization" not in source.requests[-1][1]
        image_id = await api.create()
        for url in ("http://10.0.0.1/", "http://127.0.0.2/", "https://127.0.0.1/"):
            assert (await start_import(api, image_id, asking(url))).status == 400
        assert len(proxy.requests) == 1


def server_context(files: CertificateFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context
