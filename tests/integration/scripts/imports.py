"""Staging data, importing it, and following the tasks that do it.

Rows: A-036, A-120, A-130, A-131, A-132, A-133, A-134, A-135, A-136, A-137, A-138, A-141, A-145, A-150, A-151, A-152,
A-153, A-155.
"""

from __future__ import annotations

from typing import Any

from tests.integration.replaying import FRIEND, OWNER, STRANGER, Ask
from tests.integration.scripts.records import CRASH, FORMATS, create, item
from tests.running import DATA

DIRECT = {"method": {"name": "glance-direct"}}
TOLD = {"body": "tells more of the progress"}
REASON = {"body": "tells the reason, and the image is queued again"}


def stage(number: int, data: bytes = b"some bytes", caller: str = OWNER, differs: Any = None, **headers: str) -> Ask:
    sent = {"Content-Type": DATA, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Ask("PUT", f"{item(number)}/stage", body=data, headers=sent, caller=caller, differs=differs or {})


def run(number: int, document: Any = DIRECT, caller: str = OWNER, differs: Any = None, **headers: str) -> Ask:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Ask("POST", f"{item(number)}/import", document, caller=caller, headers=sent, differs=differs or {})


def wait(number: int, differs: Any = None, **values: Any) -> Ask:
    """The image, when its import has ended."""
    until = {"status": "active", "os_glance_import_task": None, **values}
    return Ask("GET", item(number), caller=OWNER, until=until, differs=differs or {})


def refused(number: int, *pairs: tuple[Any, dict[str, str], Any]) -> list[Ask]:
    return [run(number, document, differs=differs, **headers) for document, headers, differs in pairs]


STAGING = [
    create(1, **FORMATS),
    stage(1),
    Ask("GET", item(1), caller=OWNER),
    stage(1),
    Ask("GET", f"{item(1)}/file", caller=OWNER),
    Ask("PUT", f"{item(1)}/file", body=b"x", headers={"Content-Type": DATA}, caller=OWNER),
    create(2),
    stage(2, Content_Type="text/plain"),
    stage(2, X_Openstack_Image_Size="x"),
    stage(2, X_Openstack_Image_Size="11"),
    Ask("GET", item(2), caller=OWNER),
    stage(2, X_Openstack_Image_Size="10"),
    Ask("GET", item(2), caller=OWNER),
    run(2),
    stage(99),
    create(3, visibility="community", **FORMATS),
    stage(3, caller=STRANGER),
    stage(3, caller=FRIEND),
    stage(3, b""),
    Ask("GET", item(3), caller=OWNER),
    Ask("DELETE", item(3), caller=OWNER),
    stage(3),
]

IMPORTING = [
    run(1, caller=STRANGER),
    run(1),
    wait(1),
    Ask("GET", f"{item(1)}/file", caller=OWNER),
    Ask("GET", f"{item(1)}/tasks", caller=OWNER, differs=TOLD),
    Ask("GET", f"{item(1)}/tasks", caller=FRIEND),
    run(1),
    create(10, **FORMATS),
    stage(10),
    run(10, {**DIRECT, "stores": ["cheap", "fast"]}),
    wait(10),
    create(11, **FORMATS),
    stage(11),
    run(11, {**DIRECT, "all_stores": True, "all_stores_must_succeed": False}),
    wait(11),
    create(12, **FORMATS),
    stage(12),
    run(12, X_Image_Meta_Store="cheap"),
    wait(12),
    create(13, **FORMATS),
    run(13),
    stage(13),
    run(13, {**DIRECT, "stores": []}),
    Ask(
        "GET",
        item(13),
        caller=OWNER,
        until={"os_glance_import_task": None},
        differs={"body": "an empty list means the default store"},
    ),
    Ask("GET", f"{item(99)}/tasks", caller=OWNER),
    run(99),
    Ask("GET", "/v2/info/import", caller=OWNER),
]

MISTAKES = [
    create(20, **FORMATS),
    stage(20),  # before anything runs: Glance's SQLite may be locked then
    create(21, disk_format="qcow2", container_format="bare"),
    stage(21, b"QQQQ" * 300),
    run(21),
    *refused(
        20,
        (None, {}, None),
        ({}, {}, None),
        ([], {}, CRASH),
        ("x", {}, None),
        ({"method": {}}, {}, None),
        ({"method": "x"}, {}, CRASH),
        ({"method": None}, {}, CRASH),
        ({"method": {"name": None}}, {}, None),
        ({"method": {"name": ["x"]}}, {}, None),
        ({"method": {"name": "nope"}}, {}, None),
        ({"method": {"name": "web-download", "uri": "http://example.org/"}}, {}, None),
        ({**DIRECT, "all_stores": "yes"}, {}, None),
        ({**DIRECT, "all_stores_must_succeed": 1}, {}, None),
        ({**DIRECT, "stores": ["fast"], "all_stores": True}, {}, None),
        ({**DIRECT, "stores": ["nope"]}, {}, None),
        ({**DIRECT, "stores": [1]}, {}, None),
        (DIRECT, {"X_Image_Meta_Store": "nope"}, None),
        ({**DIRECT, "stores": ["fast"]}, {"X_Image_Meta_Store": "cheap"}, None),
        ({**DIRECT, "all_stores": True}, {"X_Image_Meta_Store": "cheap"}, None),
    ),
    Ask("GET", item(20), caller=OWNER),
    Ask("GET", item(21), caller=OWNER, until={"os_glance_failed_import": "fast"}, differs=REASON),
]

QUERIES = (
    "status=nope", "type=x", "type=api_image_import", "limit=-1", "limit=x", "limit=0", "marker=x",
    "marker=00000000-0000-0000-0000-000000000000", "sort_key=nope", "sort_key=input", "sort_dir=x",
    "status=success&limit=2", "sort_key=id&sort_dir=asc&limit=0", "foo=1&limit=1", "status=&limit=1",
    "status=success&sort_key=created_at&sort_dir=asc&limit=2", "type=import",
)  # fmt: skip

LEGACY = {"import_from_format": "raw", "image_properties": {}}
TASKS = [
    Ask("GET", "/v2/tasks", caller=OWNER),
    Ask("POST", "/v2/tasks", {}, caller=OWNER),
    Ask("DELETE", "/v2/tasks/x", caller=OWNER),
    *(Ask("GET", f"/v2/tasks?{query}") for query in QUERIES),
    Ask("GET", "/v2/tasks/nope"),
    Ask("DELETE", "/v2/tasks/nope"),
    Ask("PUT", "/v2/tasks/nope", {}),
    Ask("DELETE", "/v2/tasks"),
    Ask("POST", "/v2/tasks"),
    Ask("POST", "/v2/tasks", []),
    Ask("POST", "/v2/tasks", {"type": "import"}),
    Ask("POST", "/v2/tasks", {"input": {}}),
    Ask("POST", "/v2/tasks", {"type": "x", "input": {}}),
    Ask("POST", "/v2/tasks", {"type": "import", "input": "x"}),
    Ask("POST", "/v2/tasks", {"type": "api_image_import", "input": {}, "extra": 1}),
    Ask("POST", "/v2/tasks", {"type": "api_image_import", "input": None}, differs=CRASH),
    Ask("POST", "/v2/tasks", {"type": "api_image_import", "input": {"image_id": "x"}}, keep={"task": "id"}),
    Ask("GET", "/v2/tasks/<task>", until={"status": "failure"}, differs={"body": "tells the reason"}),
    Ask("POST", "/v2/tasks", {"type": "import", "input": {}}),
    *(
        Ask("POST", "/v2/tasks", {"type": "import", "input": {**LEGACY, "import_from": source}})
        for source in ("", "ftp://x/", "file:///x", "filesystem:///x", "http://127.0.0.1/", "https://x:22/", "nope")
    ),
    Ask("POST", "/v2/tasks", {"type": "import", "input": {**LEGACY, "import_from": 5}}, differs=CRASH),
    Ask("GET", "/v2/schemas/task"),
    Ask("GET", "/v2/schemas/tasks"),
]

IMPORTS = [*STAGING, *IMPORTING, *MISTAKES, *TASKS]

WEB = {"name": "web-download"}
COPY = {"method": {"name": "copy-image"}}
REMOTE = {"name": "glance-download"}
SOME_ID = "00000000-0000-0000-0000-000000000000"
URLS = (
    "", "nope", "http://", "file:///etc/passwd", "ftp://example.org/", "http://127.0.0.1/", "http://localhost/",
    "http://example.org:22/", "http://169.254.169.254/latest", "http://[::1]/",
)  # fmt: skip

FETCHING = [
    create(1, **FORMATS),
    run(1, {"method": WEB}),
    *(run(1, {"method": {**WEB, "uri": url}}) for url in URLS),
    create(2),
    run(2, {"method": {**WEB, "uri": "http://127.0.0.1/"}}),
    create(3, **FORMATS),
    stage(3),
    run(3, {"method": {**WEB, "uri": "http://127.0.0.1/"}}),
    run(3, {"method": {**REMOTE, "glance_region": "x", "glance_image_id": SOME_ID}}),
    run(3, {**COPY, "stores": ["cheap"]}),
    run(3),
    wait(3),
    run(3, {"method": {**WEB, "uri": "http://127.0.0.1/"}}),
    run(1, {"method": REMOTE}),
    run(1, {"method": {**REMOTE, "glance_region": "x"}}),
    run(1, {"method": {**REMOTE, "glance_region": "x", "glance_image_id": "nope"}}),
    run(3, {**COPY, "stores": ["cheap"]}),
    Ask("POST", f"{item(3)}/import", {**COPY, "stores": ["fast"]}),
    Ask("POST", f"{item(3)}/import", {**COPY, "stores": ["nope"]}),
    Ask("POST", f"{item(3)}/import", {**COPY, "stores": ["cheap"], "all_stores": True}),
    Ask("POST", f"{item(3)}/import", COPY),
    Ask("POST", f"{item(3)}/import", {**COPY, "stores": ["cheap"]}),
    wait(3, stores="fast,cheap", os_glance_importing_to_stores=""),
    Ask("POST", f"{item(3)}/import", {**COPY, "all_stores": True}),
    Ask("GET", f"{item(3)}/file", caller=OWNER),
    Ask("GET", "/v2/info/import", caller=OWNER),
]
