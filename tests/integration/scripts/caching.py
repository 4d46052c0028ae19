"""The image cache: what goes through it, its API, and the paths it had before.

Rows: A-001, A-003, A-113, A-220, A-221, A-222, A-223, A-224, A-225, A-226, A-227.
"""

from __future__ import annotations

from typing import Any

from tests.integration.replaying import ADMIN, OWNER, STRANGER, Ask, image_id
from tests.integration.scripts.records import CRASH, FORMATS, create, item, upload
from tests.services.glance import TRUSTING

PIPELINE = TRUSTING.replace("rootapp", "cache cachemanage rootapp")
UNMANAGED = TRUSTING.replace("rootapp", "cache rootapp")
OPTIONS = """image_cache_dir = {folder}/cache
worker_self_reference_url = http://node-1.example
image_cache_max_size = 10
"""
SQLITE = OPTIONS + "image_cache_driver = sqlite"
TARGET = "x-image-cache-clear-target"
NOBODY = "/v2/cache/not-an-image"
OTHERS = {"allow": "PUT and DELETE are of an image called clean"}
UNROUTED = dict.fromkeys(["status", "message", "allow"], "404 there, for the path has no such method")


def cache(number: int) -> str:
    return f"/v2/cache/{image_id(number)}"


def nodes(number: int, **more: Any) -> Ask:
    return Ask("GET", f"/v2/cache/nodes/{image_id(number)}", **more)


def old(kind: str, number: int) -> str:
    return f"/v2/{kind}_images/{image_id(number)}"


def download(number: int, caller: str = OWNER, **headers: str) -> Ask:
    return Ask("GET", f"{item(number)}/file", headers=headers, caller=caller)


def cached(*numbers: int) -> Ask:
    """The list, when just these images are cached and nothing is queued."""
    ids = sorted(image_id(number) for number in numbers)

    def fits(images: Any) -> bool:
        return sorted(image["image_id"] for image in images) == ids

    return Ask("GET", "/v2/cache", until={"cached_images": fits, "queued_images": []})


def clear(target: str, **more: Any) -> Ask:
    return Ask("DELETE", "/v2/cache", headers={TARGET: target}, **more)


IMAGES = [
    *(create(number, **FORMATS) for number in range(1, 5)),
    *(upload(number, b"data %d" % number) for number in range(1, 4)),
]

FORBIDDEN = [
    Ask(method, path, caller=caller)
    for caller in (OWNER, STRANGER)
    for method, path in (
        ("GET", "/v2/cache"),
        ("DELETE", "/v2/cache"),
        ("PUT", cache(1)),
        ("DELETE", cache(1)),
        ("PUT", cache(99)),
        ("DELETE", cache(99)),
        ("GET", f"/v2/cache/nodes/{image_id(1)}"),
        ("GET", f"/v2/cache/nodes/{image_id(99)}"),
        ("GET", "/v2/cached_images"),
        ("DELETE", "/v2/cached_images"),
        ("DELETE", old("cached", 1)),
        ("GET", "/v2/queued_images"),
        ("DELETE", "/v2/queued_images"),
        ("PUT", old("queued", 1)),
        ("DELETE", old("queued", 1)),
    )
]

METHODS = [
    Ask("POST", "/v2/cache"),
    Ask("PUT", "/v2/cache"),
    Ask("GET", cache(1)),
    Ask("POST", cache(1)),
    Ask("GET", "/v2/cache/clean", differs=OTHERS),
    Ask("GET", "/v2/cache/prune", differs=OTHERS),
    Ask("PUT", f"/v2/cache/nodes/{image_id(1)}"),
    Ask("GET", "/v2/cache/nodes"),
    Ask("GET", "/v2/cache/"),
    Ask("GET", "/v2/cache/nodes/"),
    Ask("GET", f"/v2/cache/nodes/{image_id(1)}/x"),
    Ask("GET", "/v2/cache", body=b"{}"),
    nodes(1, body=b"{}"),
]

THROUGH = [
    Ask("GET", "/v2/cache"),
    nodes(1),
    download(1),
    cached(1),
    nodes(1),
    nodes(99),
    download(1),
    download(1, STRANGER),
    download(1, "reader"),
    download(2, Range="bytes=0-2"),
    download(4),
    cached(1),
    download(1, Range="bytes=0-2"),
    Ask("DELETE", item(1), caller=OWNER),
    cached(),
    download(1),
]

QUEUE = [
    Ask("PUT", cache(2)),
    cached(2),
    Ask("PUT", cache(2)),
    cached(2),
    Ask("PUT", cache(4)),
    Ask("PUT", cache(99)),
    Ask("PUT", NOBODY),
    Ask("PUT", NOBODY, body=b"{}", differs=CRASH),
    Ask("PUT", cache(3)),
    cached(2, 3),
    Ask("DELETE", cache(2)),
    Ask("DELETE", cache(2)),
    Ask("DELETE", cache(99)),
    Ask("DELETE", NOBODY),
    cached(3),
]

CLEARING = [
    clear("nonsense"),
    clear("queue"),
    cached(3),
    clear("Cache"),
    cached(),
    Ask("PUT", cache(2)),
    cached(2),
    clear(""),
    Ask("DELETE", "/v2/cache", body=b"{}", differs=CRASH),
    cached(),
]

OLD = [
    Ask("GET", "/v2/cached_images"),
    Ask("GET", "/v2/queued_images"),
    Ask("PUT", old("queued", 4)),
    Ask("GET", "/v2/queued_images", until={"queued_images": [image_id(4)]}),
    Ask("DELETE", old("queued", 4)),
    Ask("DELETE", old("queued", 4)),
    Ask("GET", "/v2/queued_images"),
    Ask("DELETE", "/v2/queued_images"),
    Ask("DELETE", old("cached", 2)),
    download(2),
    cached(2),
    Ask("DELETE", old("cached", 99)),
    Ask("DELETE", "/v2/cached_images"),
    Ask("DELETE", "/v2/cached_images"),
    Ask("POST", "/v2/cached_images", differs=UNROUTED),
    Ask("GET", old("cached", 2), differs=UNROUTED),
    Ask("POST", "/v2/queued_images", differs=UNROUTED),
    Ask("GET", old("queued", 2), differs=UNROUTED),
    cached(),
]

CLEANING = [
    download(2),
    cached(2),
    download(3),
    cached(2, 3),
    Ask("POST", "/v2/cache/clean"),
    Ask("POST", "/v2/cache/clean", caller=OWNER),
    Ask("POST", "/v2/cache/prune", caller=OWNER),
    Ask("POST", "/v2/cache/prune"),
    Ask("POST", "/v2/cache/prune"),
    cached(3),
]

DEACTIVATED = [
    Ask("POST", f"{item(3)}/actions/deactivate"),
    download(3),
    download(3, ADMIN),
    Ask("POST", f"{item(3)}/actions/reactivate"),
    download(3),
]

VERSIONS = [
    Ask("GET", "/versions"),
    *(Ask("GET", f"/v2.{minor}/schemas/member") for minor in (14, 16, 18)),
]

CACHING = [*VERSIONS, *IMAGES, *FORBIDDEN, *METHODS, *THROUGH, *QUEUE, *CLEARING, *OLD, *CLEANING, *DEACTIVATED]
# Without a directory for it.
WITHOUT = [
    *IMAGES,
    *VERSIONS,
    *(step for step in FORBIDDEN if step.method != "DELETE" or step.path == "/v2/cache"),
    *(Ask("DELETE", cache(99), caller=caller, differs=CRASH) for caller in (OWNER, ADMIN)),
    *(Ask(step.method, step.path) for step in FORBIDDEN if step.path != cache(99) or step.method != "DELETE"),
    *METHODS,
]
