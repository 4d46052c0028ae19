"""What surrounds every route: cross-origin requests, proxies in front, compression, health.

Rows: A-003, A-007, A-010, A-210.
"""

from __future__ import annotations

from typing import Any

from tests.integration.replaying import OWNER, Ask
from tests.integration.scripts.records import FORMATS, create, item, upload

FRIENDLY, OTHER, STRANGE = "https://ui.example", "http://other.example:81", "https://strange.example"

CORS = """
[cors]
allowed_origin = https://ui.example,http://more.example
"""
ANY_ORIGIN = """
[cors]
allowed_origin = *
allow_credentials = false
expose_headers =
max_age = 10
allow_methods = GET
allow_headers = X-Three
"""


NOTHING = dict.fromkeys(["content-type", "body"], "OPTIONS says nothing of a document")


def crossing(method: str, origin: str | None, path: str = "/v2/images", **headers: str) -> Ask:
    named = {} if origin is None else {"Origin": origin}
    return Ask(method, path, caller=OWNER, headers={**named, **{n.replace("_", "-"): v for n, v in headers.items()}})


def preflight(
    origin: str | None, wanted: str | None = "GET", asked: str | None = None, path: str = "/v2/images"
) -> Ask:
    headers: dict[str, Any] = {}
    if wanted is not None:
        headers["Access_Control_Request_Method"] = wanted
    if asked is not None:
        headers["Access_Control_Request_Headers"] = asked
    return crossing("OPTIONS", origin, path, **headers)


CROSSING = [
    create(1, **FORMATS),
    upload(1, b"data"),
    Ask("OPTIONS", "/v2/images", caller=OWNER),
    Ask("OPTIONS", "/", caller=OWNER),
    Ask("OPTIONS", "/v2/nothing", caller=OWNER),
    Ask("OPTIONS", "/v2/images", headers={"X-Identity-Status": "Invalid"}),
    *(Ask("OPTIONS", path, differs=NOTHING) for path in ("/healthcheck", "/versions")),
    *(
        preflight(origin)
        for origin in (FRIENDLY, OTHER, STRANGE, "http://more.example", "HTTPS://UI.EXAMPLE", "null", "", None)
    ),
    *(preflight(origin, "PATCH") for origin in (FRIENDLY, OTHER)),
    *(preflight(FRIENDLY, wanted) for wanted in ("POST", "HEAD", "TRACE", "patch", "", None)),
    *(
        preflight(origin, "GET", asked)
        for origin in (FRIENDLY, OTHER)
        for asked in (
            "X-Auth-Token",
            "x-auth-token, Content-Type",
            "X-Three",
            "X-Nothing",
            "X-Auth-Token,X-Nothing",
            "",
            "Accept",
        )
    ),
    preflight(FRIENDLY, "PUT", path=f"{item(1)}/file"),
    preflight(FRIENDLY, path="/v2/nothing"),
    *(crossing("GET", origin) for origin in (FRIENDLY, OTHER, STRANGE, "null", "")),
    crossing("GET", FRIENDLY, item(99)),
    crossing("GET", FRIENDLY, f"{item(1)}/file"),
    crossing("POST", FRIENDLY, f"{item(1)}/actions/deactivate"),
    crossing("DELETE", OTHER, item(1)),
    crossing("GET", FRIENDLY, "/versions"),
    crossing("GET", FRIENDLY, "/healthcheck"),
    Ask("GET", "/v2/images", headers={"X-Identity-Status": "Invalid", "Origin": FRIENDLY}),
]

PROXIES = "[oslo_middleware]\nenable_proxy_headers_parsing = true"


def forwarded(path: str = "/", differs: Any = None, **headers: str) -> Ask:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Ask("GET", path, headers=named, differs=differs or {})


FORWARDED = [
    forwarded(),
    forwarded(Forwarded="proto=https;host=other.example"),
    forwarded(Forwarded="for=1.2.3.4;proto=https;host=other.example;by=5.6.7.8"),
    forwarded(Forwarded='host="other.example:81"', differs={"body": "the quotes are not the host's"}),
    forwarded(Forwarded="host=first.example, host=second.example"),
    forwarded(Forwarded="proto=https, host=second.example"),
    forwarded(Forwarded="nonsense"),
    forwarded(Forwarded=""),
    forwarded(Forwarded="HOST=other.example; Proto=https"),
    forwarded(Forwarded="prefix=/image"),
    forwarded(X_Forwarded_Host="other.example"),
    forwarded(X_Forwarded_Host="first.example, second.example", differs={"body": "one host, not two"}),
    forwarded(X_Forwarded_Host="other.example:81"),
    forwarded(X_Forwarded_Prefix="/image"),
    forwarded(X_Forwarded_Prefix="/image/"),
    forwarded(X_Forwarded_Prefix="image", differs={"body": "no path"}),
    forwarded(X_Forwarded_For="1.2.3.4"),
    forwarded(X_Forwarded_Proto="https"),
    forwarded(X_Forwarded_Proto="ftp", differs={"body": "not what we speak"}),
    forwarded(X_Forwarded_Host="other.example", X_Forwarded_Proto="https", X_Forwarded_Prefix="/image"),
    forwarded(X_Forwarded_Host="other.example", Forwarded="host=third.example"),
    forwarded("/v1/images", X_Forwarded_Host="other.example", X_Forwarded_Prefix="/image"),
    Ask("POST", "/v2/images", {}, caller=OWNER, headers={"X-Forwarded-Host": "other.example"}),
    Ask("POST", "/v2/images", {}, caller=OWNER, headers={"X-Forwarded-Prefix": "/x"}, differs={"location": "is there"}),
    Ask("POST", "/v2/images", {}, caller=OWNER, headers={"Forwarded": "proto=https;host=other.example"}),
]

COMPRESSING = "cors http_proxy_to_wsgi versionnegotiation gzip context rootapp"
DOCUMENTS = ("/v2/images", item(1), item(99), "/v2/schemas/image", "/v2/images?limit=0")


def packed(path: str, value: str, **more: Any) -> Ask:
    return Ask("GET", path, caller=OWNER, headers={"Accept-Encoding": value}, **more)


COMPRESSED = [
    create(1, **FORMATS),
    upload(1, b"data" * 1000),
    *(
        packed(path, value)
        for path in DOCUMENTS
        for value in ("gzip", "identity", "deflate, gzip;q=0.5", "*", "x-gzip")
    ),
    *(
        packed(path, value, differs={"content-encoding": "as the client wants it"})
        for path in DOCUMENTS
        for value in ("gzip;q=0", "GZIP")
    ),
    packed(f"{item(1)}/file", "identity"),
    packed(f"{item(1)}/file", "gzip", differs={"content-encoding": "the data of images goes out as it is"}),
    packed("/versions", "gzip", differs={"content-encoding": "compressed like all others"}),
    Ask("POST", "/v2/images", {}, caller=OWNER, headers={"Accept-Encoding": "gzip"}),
    Ask(
        "DELETE", item(1), caller=OWNER, headers={"Accept-Encoding": "gzip"}, differs={"content-encoding": "of nothing"}
    ),
]

PAGE = {"body": "another page"}
ELSEWHERE = dict.fromkeys(["status", "body"], "no health there")

HEALTH = [
    Ask("GET", "/healthcheck", headers={"X-Identity-Status": "Invalid"}),
    *(
        Ask("GET", "/healthcheck", headers={"Accept": kind})
        for kind in ("application/json", "text/plain", "*/*", "image/png")
    ),
    Ask("GET", "/healthcheck", headers={"Accept": "text/html"}, differs=PAGE),
    Ask("HEAD", "/healthcheck"),
    Ask("GET", "/healthcheck?x=y"),
    Ask("GET", "/healthcheck/", differs=ELSEWHERE),
    Ask("GET", "/healthcheck/x", differs=ELSEWHERE),
    *(Ask(method, "/healthcheck", differs=ELSEWHERE) for method in ("POST", "PUT")),
]
