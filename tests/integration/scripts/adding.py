"""The locations API: places of data that are added to queued images.

Rows: A-190, A-192, A-193, P-050, P-051, P-053.
"""

from __future__ import annotations

import hashlib
from typing import Any

from attrs import evolve

from tests.integration.replaying import ADMIN, OWNER, STRANGER, Ask
from tests.integration.scripts.records import FORMATS, create, item
from tests.services.pages import CONTENT

SHARED = {"visibility": "community", **FORMATS}
VENDOR = {"X-Roles": "admin,member,reader,service"}
GOOD, BAD = hashlib.sha256(CONTENT).hexdigest(), "0" * 64
REASON = {"body": "tells the reason"}
CLEAN = {"body": "the location that was refused does not stay"}
UNLOCATED = {"body": "nor does one that cannot be read"}
SPACES = {"status": "hashes have no blanks", "message": "nor does it fail later", "content-type": "it is an error"}


def sha256(value: str) -> dict[str, Any]:
    return {"validation_data": {"os_hash_algo": "sha256", "os_hash_value": value}}


def post(number: int, url: Any = "http://127.0.0.1:{port}/image", caller: str = OWNER, **more: Any) -> Ask:
    headers, differs = more.pop("headers", {}), more.pop("differs", {})
    return Ask(
        "POST", f"{item(number)}/locations", {"url": url} | more, caller=caller, headers=headers, differs=differs
    )


def raw(number: int, body: bytes) -> Ask:
    return Ask("POST", f"{item(number)}/locations", body=body, caller=OWNER)


def wait(number: int, differs: Any = None, **values: Any) -> Ask:
    """The image, when its task has ended."""
    until = {"os_glance_import_task": None, **values}
    return Ask("GET", item(number), caller=OWNER, until=until, differs=differs or {})


def tasks(number: int, differs: Any = None) -> Ask:
    return Ask("GET", f"{item(number)}/tasks", caller=OWNER, differs=differs or {})


REFUSED = [
    create(1, **FORMATS),
    *(raw(1, body) for body in (b"", b"null", b'"x"', b"[]", b"{", b"{}", b"5")),
    *(raw(99, body) for body in (b"{}", b'{"url": "http://127.0.0.1/"}')),
    *(post(1, url) for url in (5, None, "", "x", "file:///etc/passwd", "rbd://a/b/c/d", "ftp://x/y", "HTTP://x/")),
    *(post(1, url) for url in ("http://", "http://10.0.0.1/", "http://127.0.0.1:1/", "http://nothing.invalid/")),
    *(
        post(1, validation_data=data)
        for data in (
            None,
            "x",
            {"os_hash_algo": "sha512"},
            {"os_hash_value": "0" * 128},
            {"os_hash_algo": "sha384", "os_hash_value": "0" * 96},
            {"os_hash_algo": "sha256", "os_hash_value": "0" * 62},
            {"os_hash_algo": "sha256", "os_hash_value": "0" * 63},
            {"os_hash_algo": "sha256", "os_hash_value": "x" * 64},
            {"os_hash_algo": "sha256", "os_hash_value": ""},
            {"os_hash_algo": "sha256", "os_hash_value": "0" * 129},
            {"os_hash_algo": "sha256", "os_hash_value": 5},
            {"checksum": "0" * 32},
        )
    ),
    post(1, caller=STRANGER),
    post(1, caller="service"),
    post(1, headers={"X-Roles": "reader"}),
    post(1, "file:///etc/passwd", ADMIN),
    create(2, **SHARED),
    post(2, caller=STRANGER),
    Ask("PUT", f"{item(1)}/locations", caller=OWNER, differs={"allow": "GET as well"}),
    wait(1),
    tasks(1),
]

ADDED = [
    post(1),
    wait(1, status="active"),
    tasks(1),
    *(Ask("GET", f"{item(1)}/locations", caller=caller) for caller in (OWNER, ADMIN, "service")),
    post(1),
    post(1, caller=STRANGER),
    Ask("GET", f"{item(1)}/file", caller=OWNER),
    post(2, caller=ADMIN, metadata={"a": "b"}),
    wait(2, status="active"),
    create(3, **FORMATS),
    post(3, **sha256(GOOD), more=1),
    wait(3, status="active"),
    tasks(3),
    create(4, **FORMATS),
    post(4, caller=ADMIN, **sha256(BAD)),
    wait(4, CLEAN),
    create(5, **FORMATS),
    post(5, **sha256(BAD)),
    wait(5, CLEAN),
    tasks(5, REASON),
]

MISSING = [
    *(
        step
        for number, page in enumerate(("missing", "empty"), 6)
        for step in (
            create(number, **FORMATS),
            post(number, f"http://127.0.0.1:{{port}}/{page}"),
            wait(number),
            tasks(number, REASON),
        )
    ),
    create(8, **FORMATS),
    post(8, "http://127.0.0.1:{port}/unreadable", **sha256(GOOD)),
    wait(8, UNLOCATED),
    create(9),
    post(9),
    wait(9, UNLOCATED),
    *(
        step
        for number, url in enumerate(("file:///etc/passwd", "nothing://x", "x", ""), 10)
        for step in (create(number, **FORMATS), post(number, url, ADMIN, headers=VENDOR), wait(number))
    ),
    Ask("DELETE", item(1), caller=OWNER),
    Ask("DELETE", item(4), caller=OWNER),
    post(1),
]

# Where hashes are not computed.
BELIEVING = "do_secure_hash = false"
BELIEVED = [
    create(1, **FORMATS),
    post(1),
    wait(1, status="active"),
    create(2, **FORMATS),
    post(2, **sha256(BAD)),
    wait(2, status="active"),
    tasks(2),
]

ADDING = [*REFUSED, *ADDED, *MISSING]


def at(port: int, script: list[Ask]) -> list[Ask]:
    """The script for pages on that port."""
    return [_at(port, step) for step in script]


def _at(port: int, step: Ask) -> Ask:
    if not isinstance(step.document, dict) or not isinstance(step.document.get("url"), str):
        return step
    return evolve(step, document=step.document | {"url": step.document["url"].replace("{port}", str(port))})
