"""What surrounds every route: pages of other origins, proxies in front, compression, health."""

from __future__ import annotations

import gzip
import http.client
import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from glancetx.config.settings import CorsSettings, HealthSettings, MiddlewareSettings
from tests.running import Api, Started, settings_in

ORIGIN = "https://ui.example"


@pytest_twisted.ensureDeferred
async def test_options(api: Api) -> None:
    """Browsers may ask for anything; where no page is allowed, they hear nothing."""
    reply = await api.request("OPTIONS", "/v2/images", Origin=ORIGIN, Access_Control_Request_Method="GET")
    assert (reply.status, reply.body, reply.header("access-control-allow-origin")) == (200, b"", None)


@pytest_twisted.ensureDeferred
async def test_cross_origin(start: Started, tmp_path: Path) -> None:
    """A page that is allowed reads answers, errors too; others do not."""
    cors = MiddlewareSettings(cors=CorsSettings(allowed_origin=(ORIGIN,)))
    api = await start(settings_in(tmp_path, middleware=cors))
    preflight = await api.request("OPTIONS", "/v2/images", Origin=ORIGIN, Access_Control_Request_Method="PATCH")
    assert preflight.header("access-control-allow-methods") == "PATCH"
    for path in ("/v2/images", "/v2/images/nothing"):
        reply = await api.request("GET", path, Origin=ORIGIN)
        assert reply.header("access-control-allow-origin") == ORIGIN
        assert reply.header("vary") == "Origin"
        assert (await api.request("GET", path, Origin="https://evil.example")).header("vary") is None


@pytest_twisted.ensureDeferred
async def test_behind_a_proxy(start: Started, tmp_path: Path) -> None:
    """Links are those the client needs, if proxies are believed."""
    for believing, link in ((False, "http://127.0.0.1"), (True, "https://images.example/here/v2/images/")):
        (tmp_path / str(believing)).mkdir()
        settings = settings_in(tmp_path / str(believing), middleware=MiddlewareSettings(proxy_headers=believing))
        api = await start(settings)
        headers = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "images.example", "X_Forwarded_Prefix": "/here"}
        reply = await api.request("POST", "/v2/images", b"{}", **headers)
        assert (reply.header("location") or "").startswith(link)


def get(api: Api, path: str) -> http.client.HTTPResponse:
    """Ask for gzip, with a client that leaves it as it comes; the body is in *data*."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    response = connection.getresponse()
    response.data = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


@pytest_twisted.ensureDeferred
async def test_compressed(start: Started, tmp_path: Path) -> None:
    """Documents are compressed for who asks; the data of images is not."""
    api = await start(settings_in(tmp_path, middleware=MiddlewareSettings(gzip=True)))
    image_id = await api.create()
    await api.upload(image_id, b"data" * 1000)
    reply: Any = await deferToThread(get, api, f"/v2/images/{image_id}")
    assert (reply.headers["content-encoding"], reply.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert int(reply.headers["content-length"]) == len(reply.data)
    assert json.loads(gzip.decompress(reply.data))["id"] == image_id
    data: Any = await deferToThread(get, api, f"/v2/images/{image_id}/file")
    assert (data.headers["content-encoding"], len(data.data)) == (None, 4000)


@pytest_twisted.ensureDeferred
async def test_health(start: Started, tmp_path: Path) -> None:
    """A file that is there, or one that is missing, takes the service out of the balance."""
    down, needed = tmp_path / "down", tmp_path / "needed"
    needed.touch()
    health = HealthSettings(disabled_by=down, enabled_by=(needed,))
    api = await start(settings_in(tmp_path, middleware=MiddlewareSettings(health=health)))
    assert (await api.request("GET", "/healthcheck")).json == {"detailed": False, "reasons": ["OK", "OK"]}
    assert (await api.request("HEAD", "/healthcheck")).status == 204
    down.touch()
    reply = await api.request("GET", "/healthcheck", Accept="text/plain")
    assert (reply.status, reply.body) == (503, b"DISABLED BY FILE\nOK")
    down.unlink()
    needed.unlink()
    reply = await api.request("GET", "/healthcheck", Accept="text/html")
    assert reply.status == 503
    assert b"FILE PATH MISSING" in reply.body
    assert (await api.request("HEAD", "/healthcheck")).status == 503


@pytest.mark.parametrize(
    ("network", "proxied", "status"),
    [("127.0.0.0/8", False, 200), ("10.0.0.0/8", False, 404), ("127.0.0.0/8", True, 404)],
)
@pytest_twisted.ensureDeferred
async def test_health_is_not_for_everybody(
    start: Started, tmp_path: Path, network: str, proxied: bool, status: int
) -> None:
    """It can be kept from other networks, and from what came through a proxy."""
    health = HealthSettings(sources=(ip_network(network),), ignore_proxied=True, detailed=True)
    api = await start(settings_in(tmp_path, middleware=MiddlewareSettings(health=health)))
    headers = {"X_Forwarded_For": "1.2.3.4"} if proxied else {}
    reply = await api.request("GET", "/healthcheck", **headers)
    assert reply.status == status
    if status == 200:
        assert reply.json["reasons"] == [{"class": "HealthcheckResult", "details": "", "reason": "OK"}]
