"""Edges that rows of the contract name in passing, or leave to whoever tries them (api.md).

Rows: A-002, A-004, A-007, A-008, A-009, A-013, A-014, A-016, A-027, A-028, A-029, A-030, A-031, A-034, A-060, A-061,
A-062, A-063, A-064, A-065, A-066, A-067, A-068, A-069, A-070, A-071, A-077, A-089, A-095, A-097, A-098, A-100, A-101,
A-102, A-103, A-105, A-110, A-120, A-160, A-161, A-162, A-163, A-164, A-165, A-170, A-171, A-172, A-175.
"""

from __future__ import annotations

from typing import Any

from tests.integration.replaying import ADMIN, FRIEND, OWNER, STRANGER, Ask, image_id
from tests.integration.scripts.imports import run, stage
from tests.integration.scripts.records import (
    CRASH,
    FORMATS,
    OLD_PATCH,
    add,
    create,
    item,
    patch,
    post,
    remove,
    replace,
    upload,
)
from tests.running import DATA

READER, OTHER = {"X-Roles": "reader"}, {"X-Roles": "other"}
EMOJI = "\U0001f600"


def get(path: str, caller: str = OWNER, **more: Any) -> Ask:
    return Ask("GET", path, caller=caller, **more)


ADDRESSES = (
    "//v2/images?limit=0",
    "/v2//images?limit=0",
    "/V2/images",
    "/v2/images/x/y",
    "/v20/images",
    "/v2/schemas/images.json",
    "/v2.17/",
)
METHODS = [
    Ask(method, path)
    for method in ("FROB", "get", "PUT")
    for path in ("/v2/images", "/v2/nothing", item(1), "/v2/info/usage", f"{item(1)}/tasks", f"{item(1)}/import", "/")
]
TASTES = (
    "", "APPLICATION/JSON", "application/*", "text/html;q=0, application/json", "application/json, text/html",
    "application/json, text/html;q=0.5", "text/*", "*/*;q=0", "application/json;q=0", "garbage", "text/html;level=1",
    "*/*, text/html;q=0", "image/png, application/json;q=0.1", "application/xml",
)  # fmt: skip
ASKING = [
    *(get(path) for path in ADDRESSES),
    *METHODS,
    *(get(item(99), headers={"Accept": taste}) for taste in TASTES),
]

INTEGERS = (b"5.0", b"1e1", b"-0.0", b"5.5", b"true", b"null", b"99999999999999999999", b"2147483647", b"1e300")
BODIES = [
    *(post(None, body=b'{"min_ram": %s}' % number) for number in INTEGERS),
    *(post(None, body=body) for body in (b"null", b"true", b" {} ", b"{}x", b'{"name": "x",}', b'{"name": "a\tb"}')),
    post(None, body=b"name=x", headers={"Content-Type": "application/x-www-form-urlencoded"}),
]
LINKS: list[dict[str, Any]] = [
    {name: value} for name in ("direct_url", "self", "file", "schema", "stores") for value in (None, 5)
]
VALUES: list[dict[str, Any]] = [
    {"status": None}, {"created_at": None}, {"locations": None}, {"deleted": None}, {"os_glance": None},
    {"OS_GLANCE_x": "x"}, {"visibility": None}, {"visibility": "Public"}, {"protected": 0}, {"tags": None},
    {"tags": [""]}, {"tags": [EMOJI]}, {"disk_format": ""}, {"disk_format": "RAW"}, {"disk_format": "gpt"},
    {"container_format": "compressed"}, {"id": None}, {"id": ""}, {"id": "1" * 32}, {"kernel_id": ""},
    {"cinder_encryption_key_deletion_policy": None}, {"description": None}, {"x": True}, {"x": "x" * 70000},
    {"name": " "}, {" ": "x"}, {"a/b": "x"}, {"A": "1", "a": "2"}, {"metadata": "x"}, {"size": None},
]  # fmt: skip
CREATING = [
    *BODIES,
    *(post(value) for value in (*LINKS, *VALUES)),
    post({"id": "11111111-1111-1111-1111-111111111111\n"}, differs=CRASH),
]

TRIED = [
    ("PATCH", item(1), [replace("/name", "x")]),
    ("POST", f"{item(1)}/members", {"member": "m"}),
    ("PUT", f"{item(1)}/members/m", {"status": "accepted"}),
    ("PUT", f"{item(1)}/tags/t", None),
    ("DELETE", f"{item(1)}/tags/x", None),
    ("DELETE", f"{item(1)}/tags/nope", None),
    ("POST", f"{item(1)}/actions/deactivate", None),
    ("POST", f"{item(1)}/import", {"method": {"name": "glance-direct"}}),
    ("POST", "/v2/images", {}),
    ("DELETE", f"/v2/stores/fast/{image_id(1)}", None),
    ("DELETE", item(1), None),
]
ROLES = [
    create(1, **FORMATS, tags=["x"]),
    *(Ask(method, path, document, caller=OWNER, headers=READER) for method, path, document in TRIED),
    *(get(path, headers=OTHER) for path in ("/v2/images", "/v2/metadefs/namespaces", "/v2/metadefs/resource_types")),
    Ask("POST", "/v2/metadefs/namespaces", {"namespace": "x"}, caller=OWNER, headers=OTHER),
    *(get("/v2/tasks", headers={"X-Roles": roles}) for roles in ("ADMIN", " admin ", "Member, Admin", "administrator")),
    *(
        Ask("POST", f"{item(99)}/actions/{verb}activate", caller=caller)
        for verb in ("de", "re")
        for caller in (OWNER, ADMIN)
    ),
    create(2, caller=ADMIN, owner=None),
    *(get(item(2), caller) for caller in (OWNER, ADMIN)),
    *(patch(2, replace("/name", "x"), caller=caller) for caller in (OWNER, ADMIN)),
    Ask("DELETE", item(2), caller=OWNER),
]

HEADERS = {"status": "a media type in capital letters is one", "message": "as above", "accept-patch": "as above"}
CHANGES: tuple[Any, ...] = (
    replace("/min_ram", 5.0), replace("/min_ram", 5.5), replace("/min_disk", True), replace("/owner", None),
    replace("/visibility", None), replace("/protected", None), replace("/name", ""), replace("/tags", None),
    add("/ b", "x"), add("/~", "x"), add("/~01", "x"), add("///a", "x"), add("/ /", "x"), add("/tags/0", "x"),
    remove("/tags/0"), add("/" + EMOJI, "x"), add("/x", {}), add("/OWNER", "x"), add("/OS_GLANCE", "x"),
    remove("/os_glance_stage_host"), replace("/metadata", "x"), add("/" + "y" * 255, "1"), {}, [], None,
    {"op": "ADD", "path": "/q", "value": "x"}, {"op": "remove", "path": "/b", "value": "x"},
    {"op": "copy", "from": "/b", "path": "/q"}, {"op": "replace", "path": "/name"},
)  # fmt: skip
CHANGING = [
    *(Ask("PATCH", item(1), [], caller=OWNER, headers={"Content-Type": kind}) for kind in (
        "application/openstack-images-v2.1-json-patch; charset=utf-8", "application/openstack-images-v2.2-json-patch",
    )),
    Ask("PATCH", item(1), [], caller=OWNER, headers={"Content-Type": OLD_PATCH.upper()}, differs=HEADERS),
    *(patch(1, change) for change in CHANGES),
    patch(1, add("/m", "1"), add("/m", "2"), replace("/m", "3")),
    patch(1, add("/n", "1"), remove("/n"), remove("/n")),
    patch(1, replace("/name", "first"), replace("/nope", "5")),
    *(Ask("PATCH", item(1), [change], caller=OWNER, headers={"Content-Type": OLD_PATCH}) for change in (
        {"replace": "/min_ram", "value": 6.0}, {"replace": "/x/y", "value": "z"}, {"ADD": "/old", "value": "x"}, {},
    )),
    patch(99),
    patch(99, replace("/id", "x")),
    get(item(1)),
]  # fmt: skip


def sized(number: int, size: str, differs: Any = None) -> Ask:
    sent = {"Content-Type": DATA, "X-Openstack-Image-Size": size}
    return Ask("PUT", f"{item(number)}/file", body=b"data", caller=OWNER, headers=sent, differs=differs or {})


def in_chunks(number: int, data: bytes, **headers: str) -> Ask:
    framed = (b"%x\r\n%s\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n"
    sent = {"Content-Type": DATA, "Transfer-Encoding": "chunked", **headers}
    return Ask("PUT", f"{item(number)}/file", body=framed, caller=OWNER, headers=sent)


RANGES = ("bytes=0-", "bytes=0-0", "bytes=9-", "bytes=-10", "bytes=-11", "bytes=0-1 ", "bytes=00-01", "BYTES=0-1")
LEGACY = ("bytes 0-1/10", "bytes 0-1/*", "bytes 0-9/10")
SIZE_TOLD = {"content-range": "the size is told too", "message": "in other words"}
MOVING = [
    *(create(number, **FORMATS) for number in range(20, 26)),
    *(sized(20, size) for size in ("", "4.0", "0x4", "4,4", "3")),
    get(item(20)),
    sized(20, " 4 "),
    in_chunks(21, b"data", **{"X-Openstack-Image-Size": "5"}),
    in_chunks(21, b"data", **{"X-Openstack-Image-Size": "4"}),
    in_chunks(22, b""),
    get(item(22)),
    Ask("PUT", f"{item(23)}/file", caller=OWNER, headers={"Content-Type": DATA}),
    get(item(23)),
    upload(24, b"0123456789"),
    *(get(f"{item(24)}/file", headers={"Range": value}) for value in RANGES),
    *(get(f"{item(24)}/file", headers={"Content-Range": value}) for value in LEGACY),
    *(
        get(f"{item(24)}/file", headers={name: value}, differs=SIZE_TOLD)
        for name, value in (
            ("Range", "bytes=1-0"),
            ("Range", "bytes=10-"),
            ("Range", "bytes="),
            ("Range", ""),
            ("Content-Range", "bytes 5-3/10"),
            ("Content-Range", "bytes 10-11/20"),
            ("Content-Range", "x"),
        )
    ),
    *(get(f"{item(24)}/file?prefer={names}") for names in ("fast", "FAST", "%20fast", "fast,", "fast,fast")),
    *(
        create(number, **{kind: value})
        for number, kind, value in ((26, "disk_format", "raw"), (27, "container_format", "bare"))
    ),
    *(upload(number, b"x") for number in (26, 27)),
    create(28, disk_format="ami", container_format="ami"),
    create(29, disk_format="qcow2", container_format="ovf"),
    *(step for number in (28, 29) for step in (upload(number, b"x" * 600), get(item(number)))),
    patch(24, replace("/disk_format", "raw")),
    stage(24),
    run(24),
    Ask("POST", f"{item(24)}/actions/deactivate", caller=OWNER),
    upload(24, b"x"),
    stage(24),
    run(24),
    get(f"{item(24)}/file", headers={"Range": "bytes=0-1"}),
    patch(24, replace("/name", "deactivated")),
    Ask("DELETE", item(24), caller=OWNER),
    stage(25),
    patch(25, replace("/disk_format", "iso")),
    upload(25, b"x"),
    Ask("POST", f"{item(25)}/actions/deactivate", caller=OWNER),
    run(25, {"method": {"name": "web-download", "uri": "http://x/"}}),
    Ask("DELETE", item(25), caller=OWNER),
]

MEMBERS: tuple[Any, ...] = (
    {"member": " "}, {"member": None}, {"member": []}, {"member": "a/b"}, {"member": "x", "status": "accepted"},
    {"member": OWNER}, {"Member": "z"}, {"member": "X"}, {"member_id": "z"}, {"member": "m" * 255},
)  # fmt: skip
STATUSES: tuple[Any, ...] = (
    {"status": None}, {"status": ""}, {"status": "Accepted"}, {"status": 5}, {"status": "accepted", "extra": 1},
    {"status": "all"}, {"status": "rejected"},
)  # fmt: skip
SHARING = [
    create(40, **FORMATS),
    create(41, visibility="private"),
    create(42, visibility="community"),
    *(Ask("POST", f"{item(40)}/members", document, caller=OWNER) for document in MEMBERS),
    get(f"{item(40)}/members"),
    *(
        Ask(method, f"{item(number)}/members{path}", document, caller=caller)
        for number in (41, 42)
        for caller in (OWNER, ADMIN, STRANGER)
        for method, path, document in (
            ("POST", "", {"member": "a"}),
            ("GET", "", None),
            ("GET", "/a", None),
            ("PUT", "/a", {"status": "accepted"}),
            ("DELETE", "/a", None),
        )
    ),
    Ask("POST", f"{item(40)}/members", {"member": FRIEND}, caller=ADMIN),
    *(Ask("PUT", f"{item(40)}/members/{FRIEND}", document, caller=FRIEND) for document in STATUSES),
    get(item(40), FRIEND),
    patch(40, replace("/visibility", "private")),
    get(item(40), FRIEND),
    patch(40, replace("/visibility", "shared")),
    get(item(40), FRIEND),
    Ask("DELETE", f"{item(40)}/members/{FRIEND}", caller=OWNER),
    Ask("POST", f"{item(40)}/members", {"member": FRIEND}, caller=OWNER),
    *(
        Ask(method, f"{item(40)}/tags/{tag}", caller=OWNER)
        for tag in ("x" * 255, "x%2Fy", "", "%20", "A", "a", "a+b", "a%3Fb", "%0A", "a;b", "%25")
        for method in ("PUT", "DELETE")
    ),
]

ROWS = [*ASKING, *CREATING, *ROLES, *CHANGING, *MOVING, *SHARING]
