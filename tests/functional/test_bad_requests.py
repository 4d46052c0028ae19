"""Malformed requests of every kind get their 4xx in Glance's form, and the log shows no traceback.

On our Site, and but for those that are no HTTP on sites of twisted.web, with streaming requests and with spooled ones.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import field, frozen
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.web.server import Request, Site
from zope.interface import provider

from glancetx.web.request import ImageRequest
from tests.running import Api, Started, settings_in

IMAGES = "/v2/images"
NEW = "application/openstack-images-v2.1-json-patch"
OLD = "application/openstack-images-v2.0-json-patch"
ABSENT = "11111111-2222-3333-4444-555555555555"


@frozen
class Bad:
    """One request and the statuses it may get. ``{id}`` in *path* is a queued image, ``{full}`` one with ten bytes."""

    name: str
    status: int | tuple[int, ...]
    method: str = "GET"
    path: str = IMAGES
    body: bytes = b""
    headers: tuple[str, ...] = ()
    raw: bytes | None = field(default=None)
    host: str = "x"

    def wire(self, ids: dict[str, str]) -> bytes:
        """The request as bytes."""
        if self.raw is not None:
            return self.raw
        path = self.path
        for key, value in ids.items():
            path = path.replace(f"{{{key}}}", value)
        lines = [
            f"{self.method} {path} HTTP/1.1",
            f"Host: {self.host}",
            "Accept: application/json",
            "Connection: close",
        ]
        lines += [f"Content-Length: {len(self.body)}"] if self.body else []
        return "\r\n".join([*lines, *self.headers, "", ""]).encode("latin-1") + self.body


def post(name: str, body: Any, status: int = 400) -> Bad:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Bad(f"create: {name}", status, "POST", body=data)


def patch(name: str, body: Any, status: int = 400, media_type: str = NEW) -> Bad:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Bad(f"patch: {name}", status, "PATCH", f"{IMAGES}/{{id}}", data, (f"Content-Type: {media_type}",))


def operation(name: str, status: int = 400, **members: Any) -> Bad:
    return patch(name, [members], status)


def query(text: str) -> Bad:
    return Bad(f"list: {text}", 400, path=f"{IMAGES}?{text}")


def part(name: str, header: str, status: int | tuple[int, ...]) -> Bad:
    return Bad(f"range: {name}", status, path=f"{IMAGES}/{{full}}/file", headers=(f"Range: {header}",))


def upload(name: str, status: int, *headers: str, path: str = f"{IMAGES}/{{id}}/file", body: bytes = b"abc") -> Bad:
    return Bad(f"upload: {name}", status, "PUT", path, body, headers)


def raw(name: str, text: str | bytes, status: int | tuple[int, ...] = 400) -> Bad:
    return Bad(f"wire: {name}", status, raw=text if isinstance(text, bytes) else text.encode("latin-1"))


DATA = "Content-Type: application/octet-stream"
HEAD = "PUT /v2/images/x/file HTTP/1.1\r\nHost: x\r\n"

TABLE = [
    # JSON
    post("no body", b""),
    post("not JSON", b"{"),
    post("half a string", b'{"name": "'),
    post("a list", []),
    post("a string", "x"),
    post("a number", 5),
    post("null", None),
    post("not UTF-8", b'{"name": "\xff\xfe"}'),
    post("NaN", b'{"min_ram": NaN}'),
    post("Infinity", b'{"min_ram": Infinity}'),
    post("a huge exponent", b'{"min_ram": 1e999}'),
    post("too deep", b'{"a":' * 500 + b"1" + b"}" * 500),
    post("a lone surrogate", b'{"name": "\\ud800"}'),
    post("trailing data", b'{"name": "x"} x'),
    post("too large", b'{"name": "' + b"x" * 2_000_000 + b'"}', 413),
    # values
    post("name of a wrong type", {"name": 1}),
    post("name too long", {"name": "x" * 256}),
    post("name with a 4-byte character", {"name": "\U0001f600"}),
    post("name with a NUL", {"name": "a\0b"}),
    post("id is no UUID", {"id": "abc"}),
    post("id is a number", {"id": 1}),
    post("unknown disk format", {"disk_format": "floppy"}),
    post("unknown container format", {"container_format": "box"}),
    post("unknown visibility", {"visibility": "secret"}),
    post("protected is a string", {"protected": "true"}),
    post("negative min_disk", {"min_disk": -1}),
    post("huge min_ram", {"min_ram": 2**31}),
    post("fractional min_ram", {"min_ram": 1.5}),
    post("tags are a string", {"tags": "a"}),
    post("a tag is a number", {"tags": [1]}),
    post("a tag is too long", {"tags": ["x" * 256]}),
    post("too many tags", {"tags": [str(number) for number in range(129)]}, 413),
    post("too many properties", {f"p{number}": "x" for number in range(129)}, 413),
    post("a property is a number", {"x": 1}),
    post("a property is a list", {"x": []}),
    post("a property name is too long", {"x" * 256: "1"}),
    post("status is read-only", {"status": "active"}, 403),
    post("checksum is read-only", {"checksum": "x"}, 403),
    post("locations are reserved", {"locations": []}, 403),
    post("os_glance is reserved", {"os_glance_x": "1"}, 403),
    # patches
    patch("wrong media type", [], 415, "application/json"),
    patch("no media type", [], 415, ""),
    patch("not JSON", b"[{"),
    patch("an object", {}),
    patch("a number in the list", [1]),
    patch("old: two verbs", [{"add": "/a", "remove": "/b"}], media_type=OLD),
    patch("old: no verb", [{"value": "x"}], media_type=OLD),
    operation("no op", path="/name", value="x"),
    operation("unknown op", op="copy", path="/name", value="x"),
    operation("no path", op="add", value="x"),
    operation("no value", op="add", path="/name"),
    operation("relative path", op="add", path="name", value="x"),
    operation("deep path", op="add", path="/a/b", value="x"),
    operation("bad escape", op="add", path="/a~3", value="x"),
    operation("path is a number", op="add", path=5, value="x"),
    operation("op is an object", op={}, path="/a", value="x"),
    operation("wrong type", op="replace", path="/name", value=5),
    operation("null property", op="add", path="/x", value=None),
    operation("missing property", 409, op="replace", path="/nothing", value="x"),
    operation("read-only", 403, op="replace", path="/size", value=5),
    operation("base attribute removed", 403, op="remove", path="/name"),
    operation("long property name", op="add", path="/" + "x" * 256, value="1"),
    # lists
    *map(query, ("limit=-1", "limit=x", "limit=", "marker=nope", "sort_key=foo", "sort_dir=foo", "sort=name:up")),
    *map(query, ("sort=name&sort_key=id", "name=neq:a", "created_at=x", "visibility=x", "protected=x", "os_hidden=x")),
    *map(
        query, ("size_min=x", "foo_min=1", "changes-since=1", "name=%FF", "name=%00", "name=in:%22a", "member_status=x")
    ),
    # ids and paths
    Bad("unknown image", 404, path=f"{IMAGES}/{ABSENT}"),
    Bad("id is no UUID", 404, path=f"{IMAGES}/..%2f..%2fetc%2fpasswd"),
    Bad("id in other case", 404, path=f"{IMAGES}/{ABSENT.upper()}"),
    Bad("id is not UTF-8", (400, 404), path=f"{IMAGES}/%ff"),
    Bad("id with a NUL", (400, 404), path=f"{IMAGES}/a%00b"),
    Bad("very long id", (404, 414), path=f"{IMAGES}/" + "a" * 5000),
    Bad("unknown path", 404, path="/v2/nothing"),
    Bad("trailing slash", 404, path=f"{IMAGES}/"),
    Bad("wrong method", 405, "PUT"),
    Bad("unknown method", (405, 501), "BREW"),
    Bad("body with show", 400, path=f"{IMAGES}/{{id}}", body=b"x"),
    Bad("body with delete", 400, "DELETE", f"{IMAGES}/{{id}}", b"x"),
    Bad("request id too long", 400, headers=("X-Openstack-Request-Id: req-" + "x" * 100,)),
    Bad("request id with blanks", 400, headers=("X-Openstack-Request-Id: a b",)),
    Bad("request id that is not UTF-8", 400, headers=("X-Openstack-Request-Id: req-\xff",)),
    Bad("path that is not UTF-8", 400, path="/v2/%c3%28"),
    Bad("version that is not UTF-8", 400, path="/%ff/images"),
    Bad("a letter cut in two by a slash", 400, path="/v2/%c3/%a9"),
    Bad("empty parts", 404, path="/v2/images//"),
    Bad("parent folders", 404, path=f"{IMAGES}/../../etc/passwd"),
    Bad("cookies that are not UTF-8", 404, path="/v2/nothing", headers=("Cookie: \xff=\xff; ;=; a; =b",)),
    Bad("Accept that is not UTF-8", 404, path="/v2/nothing", headers=("Accept: application/json, \xff",)),
    Bad("headers that are not UTF-8", 404, path="/v2/nothing", headers=("X-A: \xff", "X-\x41: \x80\x81")),
    Bad("name of another host", 400, host="a..b"),
    Bad("host with a long label", 400, host="a" * 64),
    # data
    upload("no type", 415),
    upload("wrong type", 415, "Content-Type: text/plain"),
    upload("type that is not UTF-8", 415, "Content-Type: \xff"),
    upload("type with bytes after it", 415, DATA + "\xff"),
    upload("announced size is not UTF-8", 400, DATA, "X-Openstack-Image-Size: \xff"),
    upload("unknown image", 404, DATA, path=f"{IMAGES}/{ABSENT}/file"),
    upload("data is there already", 409, DATA, path=f"{IMAGES}/{{full}}/file"),
    upload("announced size is no number", 400, DATA, "X-Openstack-Image-Size: x"),
    upload("announced size is negative", 400, DATA, "X-Openstack-Image-Size: -3"),
    upload("announced size is wrong", 400, DATA, "X-Openstack-Image-Size: 4"),
    upload("more than the cap is announced", 413, DATA, f"X-Openstack-Image-Size: {2**50}"),
    part("beyond the end", "bytes=10-", 416),
    part("backwards", "bytes=5-2", 416),
    part("no numbers", "bytes=a-b", 416),
    part("not UTF-8", "bytes=\xff-", 416),
    part("nothing at all", "bytes=-", 416),
    part("the last zero bytes", "bytes=-0", 416),
    part("too many", "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 10, 2)) + ",0-0" * 40, (400, 416)),
    # the wire
    raw("path in bytes that are not UTF-8", "GET /v2/\xff HTTP/1.1\r\nHost: x\r\n\r\n"),
    raw("query in bytes that are not UTF-8", "GET /v2/images?name=\xff HTTP/1.1\r\nHost: x\r\n\r\n"),
    raw("method in bytes that are not UTF-8", "G\xff /v2/images HTTP/1.1\r\nHost: x\r\n\r\n"),
    raw("header name in bytes that are not UTF-8", "GET /v2/images HTTP/1.1\r\nHost: x\r\n\xff: a\r\n\r\n"),
    raw("Host in bytes that are not UTF-8", "GET /v2/images HTTP/1.1\r\nHost: \xff\r\n\r\n"),
    raw("two blanks", "GET  /v2/images HTTP/1.1\r\nHost: x\r\n\r\n"),
    raw("relative target", "GET v2/images HTTP/1.1\r\nHost: x\r\n\r\n"),
    raw("another scheme", "GET ftp://x/v2/images HTTP/1.1\r\nHost: x\r\n\r\n"),
    raw("a tunnel", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
    raw("bare line feeds", "GET /v2/images HTTP/1.1\nHost: x\n\n"),
    raw("impossible expectation", f"{HEAD}Content-Length: 3\r\nExpect: wonders\r\n\r\n", 417),
    raw("no version", "GET /v2/images\r\nHost: x\r\n\r\n"),
    raw("HTTP/2 in clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
    raw("version 3", "GET /v2/images HTTP/3.0\r\nHost: x\r\n\r\n", (400, 505)),
    raw("TLS to a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    raw("no Host", "GET /v2/images HTTP/1.1\r\n\r\n"),
    raw("two Hosts", "GET /v2/images HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    raw("both lengths", f"{HEAD}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    raw("two lengths", f"{HEAD}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
    raw("length with a sign", f"{HEAD}Content-Length: +3\r\n\r\nabc"),
    raw("negative length", f"{HEAD}Content-Length: -3\r\n\r\nabc"),
    raw("hexadecimal length", f"{HEAD}Content-Length: 0x3\r\n\r\nabc"),
    raw("length list", f"{HEAD}Content-Length: 3, 3\r\n\r\nabc"),
    raw("unknown coding", f"{HEAD}Transfer-Encoding: gzip\r\n\r\n", (400, 501)),
    raw("coding list", f"{HEAD}Transfer-Encoding: chunked, identity\r\n\r\n", (400, 501)),
    raw("blank before colon", "GET /v2/images HTTP/1.1\r\nHost: x\r\nAccept : x\r\n\r\n"),
    raw("folded header", "GET /v2/images HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"),
    raw("NUL in a header", "GET /v2/images HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n"),
    raw("no colon", "GET /v2/images HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n"),
    raw("too many headers", "GET / HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 2000 + "\r\n", 431),
    raw("headers too large", f"GET / HTTP/1.1\r\nHost: x\r\nA: {'b' * 100_000}\r\n\r\n", 431),
    raw("URL too long", f"GET /{'a' * 40_000} HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    raw(
        "bad chunk size",
        f"POST {IMAGES} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    ),
]


def ask(port: int, wire: bytes) -> bytes:
    """Send bytes and return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(wire)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


@pytest.fixture
def failures() -> Iterator[list[str]]:
    """What was logged as an error or with a traceback while the test ran."""
    seen: list[str] = []

    @provider(ILogObserver)
    def observe(event: Any) -> None:
        if event.get("log_failure") is not None or event["log_level"].name in ("error", "critical"):
            seen.append(str(event.get("log_failure") or event))

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


@pytest_twisted.async_yield_fixture
async def asked(start: Started, tmp_path: Path) -> AsyncIterator[tuple[Api, dict[str, str]]]:
    """A service with one queued image and one that has data."""
    api = await start(settings_in(tmp_path))
    full = await api.create()
    await api.upload(full, b"0123456789")
    yield api, {"id": await api.create(), "full": full}


def check_form(answer: bytes, expected: int | tuple[int, ...]) -> None:
    """The status is an expected one, the body Glance's document, and the request has an id."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    allowed = (expected,) if isinstance(expected, int) else expected
    assert status in allowed, answer[:500]
    assert b"Traceback" not in answer
    headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")[1:])}
    assert headers[b"content-type"] == b"application/json", answer[:500]
    assert headers[b"x-openstack-request-id"].startswith(b"req-")
    assert int(headers[b"content-length"]) == len(body)
    document = json.loads(body)
    assert set(document) == {"message", "code", "title"}
    assert document["code"] == f"{status} {document['title']}"


def test_table_is_large_enough() -> None:
    """At least sixty different requests, of which sixty are HTTP."""
    assert len({bad.name for bad in TABLE}) == len(TABLE)
    assert sum(bad.raw is None for bad in TABLE) >= 60


@pytest_twisted.async_yield_fixture(params=["ours", "streaming", "spooled"])
async def site(request: pytest.FixtureRequest, asked: tuple[Api, dict[str, str]]) -> AsyncIterator[tuple[str, int]]:
    """The kind of a Site, and its port: ours, or one of twisted.web with our requests, or with its own."""
    from twisted.internet import reactor

    service, kind = asked[0].service, request.param
    if kind == "ours":
        yield kind, asked[0].port
        return
    site = Site(service.resource(), requestFactory=ImageRequest if kind == "streaming" else Request)
    site.startFactory = site.stopFactory = lambda: None  # type: ignore[method-assign]
    site.log = lambda request: None  # type: ignore[method-assign]
    port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(site)
    yield kind, port.getHost().port
    await maybeDeferred(port.stopListening)


@pytest_twisted.ensureDeferred
async def test_bad_requests(asked: tuple[Api, dict[str, str]], site: tuple[str, int], failures: list[str]) -> None:
    """Each gets its answer, the service goes on, and nothing of it is an error of ours."""
    (api, ids), (kind, port) = asked, site
    for bad in TABLE:
        if bad.raw is not None and kind != "ours":
            continue
        answer = await deferToThread(ask, port, bad.wire(ids))
        try:
            check_form(answer, bad.status)
        except Exception as error:
            raise AssertionError(f"{bad.name}: {error!r} {answer[:500]!r}") from error
        assert failures == [], bad.name
    assert (await api.show(ids["id"]))["status"] == "queued"
    assert (await api.request("GET", f"{IMAGES}/{ids['full']}/file")).body == b"0123456789"
