"""Creating, showing, changing and deleting the records of images.

Rows: A-020, A-021, A-026, A-027, A-028, A-029, A-030, A-031, A-033, A-034, A-035, A-060, A-061, A-062, A-063, A-064,
A-065, A-066, A-067, A-068, A-069, A-070, A-071, A-105, A-160, A-161, A-162, A-163, A-164, A-165, A-170, A-171, A-175,
A-176.
"""

from __future__ import annotations

from typing import Any

from tests.integration.replaying import ADMIN, FRIEND, OWNER, STRANGER, Ask, image_id
from tests.running import DATA

OLD_PATCH = "application/openstack-images-v2.0-json-patch"
CRASH = dict.fromkeys(["status", "message"], "500 there")
FORMATS = {"disk_format": "raw", "container_format": "bare"}


def item(number: int) -> str:
    return f"/v2/images/{image_id(number)}"


def create(number: int, caller: str = OWNER, differs: Any = None, **values: Any) -> Ask:
    document = {"id": image_id(number), "name": f"image {number}", **values}
    return Ask("POST", "/v2/images", document, caller=caller, differs=differs or {})


def post(document: Any, caller: str = OWNER, **more: Any) -> Ask:
    return Ask("POST", "/v2/images", document, caller=caller, **more)


def patch(number: int, *operations: Any, caller: str = OWNER, **more: Any) -> Ask:
    return Ask("PATCH", item(number), list(operations), caller=caller, **more)


def add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def replace(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def remove(path: str) -> dict[str, Any]:
    return {"op": "remove", "path": path}


def upload(number: int, data: bytes, caller: str = OWNER, **headers: str) -> Ask:
    return Ask("PUT", f"{item(number)}/file", body=data, headers={"Content-Type": DATA, **headers}, caller=caller)


def ranged(value: str, **more: Any) -> Ask:
    return Ask("GET", f"{item(40)}/file", caller=OWNER, headers={"Range": value}, **more)


CREATING = [
    post({}),
    create(1, **FORMATS, tags=["b", "a", "b"], zeta="1", alpha="2", min_ram=5, min_disk=6, protected=True),
    Ask("GET", item(1), caller=OWNER),
    create(1),
    create(2, caller="admin", visibility="public", owner="owner"),
    create(3, name=None, disk_format=None, container_format=None, owner=None),
    create(4, name="grüße 漢字", tags=["größe"], os_hidden=True, visibility="private"),
    create(5, visibility="community"),
    create(5, visibility="public"),
    create(6, visibility="public"),
    create(6, visibility="secret"),
    create(6, owner="stranger"),
    create(6, owner=""),
    create(6, name="x" * 256),
    create(7, name="x" * 255),
    create(8, name=5),
    create(8, min_ram=-1),
    create(8, min_disk=2**31),
    create(8, min_disk="5"),
    create(8, min_disk=1.5),
    create(8, protected="true"),
    create(8, os_hidden=None),
    create(8, tags="ab"),
    create(8, tags=["x" * 256]),
    create(8, tags=[5]),
    create(8, disk_format="floppy"),
    create(8, container_format="box"),
    create(8, kernel_id="nope"),
    create(8, kernel_id=None, ramdisk_id="11111111-1111-1111-1111-111111111111"),
    create(9, some="value", other=5),
    create(9, some=None),
    create(9, some=["x"]),
    create(9, description="d", architecture="x86_64", os_distro="debian", os_version="12"),
    create(10, cinder_encryption_key_deletion_policy="never"),
    create(10, **{"x" * 256: "long"}),
    create(10, **{"x" * 255: "long"}),
    create(11, **{"": "nothing"}),
    create(12, name="\U0001f600"),
    create(12, smile="\U0001f600"),
    create(12, broad_smile="\U0001f600"),
    create(12, **{"\U0001f600": "smile"}),
    create(13, stores="fast"),
    create(13, size=5),
    create(13, virtual_size=5),
    create(13, status="active"),
    create(13, checksum="0" * 32),
    create(13, created_at="2026-01-01T00:00:00Z"),
    create(13, updated_at="2026-01-01T00:00:00Z"),
    create(13, direct_url="http://x/"),
    create(13, file="/x"),
    create(18, context="any name will do"),
    create(13, self="/x"),
    create(13, schema="/x"),
    create(13, location="http://x/"),
    create(13, locations=[]),
    create(13, locations=[{"url": "http://x/", "metadata": {}}]),
    create(13, deleted=True),
    create(13, deleted=False),
    create(13, deleted_at="2026-01-01T00:00:00Z"),
    create(13, os_glance_import_task="x"),
    create(13, os_glance="x"),
    create(14, os_hash_algo="sha512", os_hash_value="00", differs={"order": "of what is ignored"}),
    create(15, is_public=True),
    create(15, is_public="True"),
    create(16, properties={"a": "b"}),
    create(17, id="not-a-uuid"),
    create(17, id=image_id(17).upper()),
    Ask("GET", item(17), caller=OWNER),
    Ask("GET", f"/v2/images/{image_id(17).upper()}", caller=OWNER),
    post("text"),
    post(5),
    post([{"name": "x"}], differs=CRASH),
    post([], differs=CRASH),
    Ask("POST", "/v2/images", caller=OWNER),
    Ask("POST", "/v2/images", body=b"{", caller=OWNER),
    Ask("POST", "/v2/images", body=b"{}", caller=OWNER, headers={"Content-Type": "text/plain"}),
    Ask("POST", "/v2/images", body=b"\xff\xfe", caller=OWNER),
]

SHOWING = [
    *(Ask("GET", item(number), caller=caller) for number in (2, 3, 4, 5, 7) for caller in (OWNER, STRANGER)),
    Ask("GET", item(99), caller=OWNER),
    Ask("GET", f"{item(1)}.json", caller=OWNER),
    Ask("GET", f"{item(1)}/", caller=OWNER),
    Ask("GET", "/v2/images/", caller=OWNER),
    Ask("GET", item(1), caller=OWNER, body=b"{}"),
    Ask("PUT", item(1), caller=OWNER),
    Ask("POST", item(1), caller=OWNER),
    Ask("DELETE", "/v2/images", caller=OWNER),
    Ask("PATCH", "/v2/images", [], caller=OWNER),
    Ask("GET", "/v2/nothing", caller=OWNER),
    Ask("GET", "/v2", caller=OWNER, differs={"content-type": "of nothing"}),
    Ask("GET", "/v2/", caller=OWNER),
    Ask("GET", item(1), caller=OWNER, headers={"Accept": "text/html"}),
    Ask("GET", item(99), caller=OWNER, headers={"Accept": "text/html"}),
    Ask("GET", item(99), caller=OWNER, headers={"Accept": "*/*"}),
    Ask("GET", item(99), caller=OWNER, headers={"Accept": "text/plain"}),
    Ask("GET", "/v2/images/%3Cscript%3E", caller=OWNER, headers={"Accept": "text/html"}),
    Ask("GET", "/v2/images/%C3%BC", caller=OWNER, differs={"message": "reads UTF-8 as Latin-1 there"}),
]

PATCHING = [
    create(20, **FORMATS, zeta="1"),
    patch(20),
    patch(20, replace("/name", "new"), add("/eta", "2"), remove("/zeta")),
    Ask("GET", item(20), caller=OWNER),
    patch(20, replace("/name", None)),
    patch(20, replace("/name", 5)),
    patch(20, replace("/name", "x" * 256)),
    patch(20, remove("/name")),
    patch(20, remove("/nothing")),
    patch(20, replace("/nothing", "x")),
    patch(20, add("/eta", "3")),
    patch(20, add("/name", "again")),
    patch(20, add("/theta", 5)),
    patch(20, add("/theta", None)),
    patch(20, add("/theta", "1"), replace("/theta", "2"), remove("/theta")),
    patch(20, add("/iota", "1"), replace("/nothing", "1")),
    Ask("GET", item(20), caller=OWNER),
    patch(20, replace("/tags", ["x", "y", "x"])),
    patch(20, add("/tags/-", "z")),
    patch(20, replace("/tags", ["x" * 256])),
    patch(20, replace("/tags", "x")),
    patch(20, add("/tags", ["one"])),
    patch(20, remove("/tags")),
    patch(20, replace("/visibility", "public")),
    patch(20, replace("/visibility", "community")),
    patch(20, replace("/visibility", "private")),
    patch(20, replace("/visibility", "secret")),
    patch(20, replace("/visibility", "public"), caller="admin"),
    patch(20, replace("/visibility", "shared"), caller="admin"),
    patch(20, replace("/owner", "stranger")),
    patch(20, replace("/owner", "owner")),
    patch(20, add("/owner", "stranger"), differs={"message": "has become the stranger's there"}),
    Ask("GET", item(20), caller=OWNER, differs=dict.fromkeys(["status", "message"], "has become the stranger's there")),
    patch(20, replace("/owner", "owner"), caller="admin"),
    patch(20, replace("/protected", True)),
    patch(20, replace("/protected", "True")),
    patch(20, replace("/os_hidden", True)),
    patch(20, replace("/min_ram", 7), replace("/min_disk", 8)),
    patch(20, replace("/min_ram", -7)),
    patch(20, replace("/min_disk", 2**31)),
    patch(20, replace("/disk_format", "qcow2"), replace("/container_format", "ovf")),
    patch(20, replace("/disk_format", "floppy")),
    patch(20, replace("/disk_format", "raw"), replace("/container_format", "bare")),
    *(
        patch(20, replace(f"/{name}", value))
        for name, value in (
            ("id", image_id(99)),
            ("status", "active"),
            ("size", 5),
            ("virtual_size", 5),
            ("checksum", "0" * 32),
            ("os_hash_algo", "md5"),
            ("os_hash_value", "00"),
            ("created_at", "2026-01-01T00:00:00Z"),
            ("updated_at", "2026-01-01T00:00:00Z"),
            ("direct_url", "http://x/"),
            ("self", "/x"),
            ("file", "/x"),
            ("schema", "/x"),
            ("location", "http://x/"),
            ("deleted", True),
            ("deleted_at", "2026-01-01T00:00:00Z"),
            ("os_glance_import_task", "x"),
            ("os_glancex", "x"),
            ("stores", "fast"),
        )
    ),
    *(patch(20, add(f"/{name}", "x")) for name in ("id", "status", "stores", "deleted", "os_glance_x", "is_public")),
    *(
        patch(20, remove(f"/{name}"))
        for name in ("id", "status", "stores", "deleted", "os_glance_x", "owner", "locations")
    ),
    patch(20, add("name", "x")),
    patch(20, add("/a//b", "x")),
    patch(20, add("//a", "x")),
    patch(20, add("/a/", "x")),
    patch(20, add("/a/b", "x")),
    patch(20, add("/", "x")),
    patch(20, add("", "x")),
    patch(20, add("/a~2b", "x")),
    patch(20, add("/a~0b~1c", "x")),
    patch(20, add("/ blank ", "x")),
    patch(20, add("/name/0", "x")),
    patch(20, {"op": "move", "path": "/name", "from": "/x"}),
    patch(20, {"op": "test", "path": "/name", "value": "x"}),
    patch(20, {"path": "/name", "value": "x"}),
    patch(20, {"op": "add", "value": "x"}),
    patch(20, {"op": "add", "path": "/name"}),
    patch(20, {"op": "add", "path": 5, "value": "x"}, differs=CRASH),
    patch(20, {"op": None, "path": "/name", "value": "x"}),
    patch(20, {"op": ["add"], "path": "/name", "value": "x"}),
    patch(20, "text"),
    Ask("PATCH", item(20), {"op": "add", "path": "/x", "value": "x"}, caller=OWNER),
    Ask("PATCH", item(20), "text", caller=OWNER),
    Ask("PATCH", item(20), body=b"{", caller=OWNER),
    Ask("PATCH", item(20), caller=OWNER),
    Ask("PATCH", item(20), [], caller=OWNER, headers={"Content-Type": "application/json"}),
    Ask("PATCH", item(20), [], caller=OWNER, headers={"Content-Type": "application/json-patch+json"}),
    Ask("PATCH", item(20), [], caller=OWNER, headers={"Content-Type": "text/plain; charset=utf-8"}),
    *(
        Ask("PATCH", item(20), [operation], caller=OWNER, headers={"Content-Type": OLD_PATCH})
        for operation in (
            {"replace": "/name", "value": "old"},
            {"add": "/name", "value": "old"},
            {"add": "/kappa", "value": "1"},
            {"add": "/kappa", "value": "1"},
            {"remove": "/kappa"},
            {"remove": "/kappa"},
            {"replace": "/kappa", "value": "1"},
            {"replace": "/name", "add": "/name", "value": "1"},
            {"value": "1"},
            {"add": "/kappa"},
            {"op": "add", "path": "/kappa", "value": "1"},
        )
    ),
    patch(20, replace("/name", "x"), caller=STRANGER),
    patch(2, replace("/name", "x"), caller=STRANGER),
    patch(99, replace("/name", "x")),
    patch(20, add("/smile", "\U0001f600")),
    patch(20, replace("/name", "\U0001f600")),
    patch(20, replace("/tags", ["\U0001f600"])),
    patch(20, add("/kernel_id", "nope")),
    patch(20, replace("/description", "missing")),
    patch(20, add("/description", "there")),
    Ask("GET", item(20), caller=OWNER),
]

DELETING = [
    Ask("DELETE", item(20), caller=OWNER),
    patch(20, replace("/protected", False)),
    Ask("DELETE", item(20), caller=STRANGER),
    Ask("DELETE", item(2), caller=STRANGER),
    Ask("DELETE", item(20), caller=OWNER, body=b"{}"),
    Ask("DELETE", item(20), caller=OWNER),
    Ask("DELETE", item(20), caller=OWNER),
    Ask("GET", item(20), caller="admin"),
    create(20),
    patch(20, replace("/name", "x")),
]

SHARING = [
    create(30, **FORMATS),
    Ask("GET", f"{item(30)}/members", caller=OWNER),
    Ask("POST", f"{item(30)}/members", {"member": FRIEND}, caller=OWNER),
    Ask("POST", f"{item(30)}/members", {"member": FRIEND}, caller=OWNER),
    Ask("POST", f"{item(30)}/members", {"member": 5}, caller=OWNER, differs={"body": "a text, as it is later"}),
    Ask("POST", f"{item(30)}/members", {"member": ""}, caller=OWNER),
    Ask("POST", f"{item(30)}/members", {}, caller=OWNER),
    Ask("POST", f"{item(30)}/members", [], caller=OWNER),
    Ask("POST", f"{item(30)}/members", "x", caller=OWNER),
    Ask("POST", f"{item(30)}/members", caller=OWNER),
    Ask("POST", f"{item(30)}/members", {"member": "x"}, caller=STRANGER),
    Ask("POST", f"{item(30)}/members", {"member": "x"}, caller=FRIEND),
    Ask("GET", f"{item(30)}/members", caller=OWNER),
    Ask("GET", f"{item(30)}/members", caller=FRIEND),
    Ask("GET", f"{item(30)}/members", caller=STRANGER),
    Ask("GET", f"{item(30)}/members/{FRIEND}", caller=OWNER),
    Ask("GET", f"{item(30)}/members/{FRIEND}", caller=FRIEND),
    Ask("GET", f"{item(30)}/members/{FRIEND}", caller=STRANGER),
    Ask("GET", f"{item(30)}/members/nobody", caller=OWNER),
    Ask("GET", item(30), caller=FRIEND),
    patch(30, replace("/name", "x"), caller=FRIEND),
    Ask("DELETE", item(30), caller=FRIEND),
    Ask("PUT", f"{item(30)}/members/{FRIEND}", {"status": "accepted"}, caller=OWNER),
    Ask("PUT", f"{item(30)}/members/{FRIEND}", {"status": "maybe"}, caller=FRIEND),
    Ask("PUT", f"{item(30)}/members/{FRIEND}", {}, caller=FRIEND),
    Ask("PUT", f"{item(30)}/members/{FRIEND}", [], caller=FRIEND),
    Ask("PUT", f"{item(30)}/members/{FRIEND}", "x", caller=FRIEND),
    Ask("PUT", f"{item(30)}/members/{FRIEND}", {"status": "accepted"}, caller=FRIEND),
    Ask("PUT", f"{item(30)}/members/nobody", {"status": "accepted"}, caller="admin"),
    Ask("GET", "/v2/images", caller=FRIEND),
    Ask("GET", "/v2/images?member_status=pending", caller=FRIEND),
    Ask("GET", "/v2/images?member_status=all", caller=FRIEND),
    Ask("GET", "/v2/images?member_status=maybe", caller=FRIEND),
    Ask("PUT", f"{item(30)}/tags/one", caller=OWNER),
    Ask("PUT", f"{item(30)}/tags/one", caller=OWNER),
    Ask("PUT", f"{item(30)}/tags/two%20words", caller=OWNER),
    Ask("PUT", f"{item(30)}/tags/{'x' * 256}", caller=OWNER),
    Ask("PUT", f"{item(30)}/tags/one", caller=OWNER, body=b"{}"),
    Ask("PUT", f"{item(30)}/tags/one", caller=STRANGER),
    Ask("PUT", f"{item(30)}/tags/one", caller=FRIEND),
    Ask("GET", f"{item(30)}/tags/one", caller=OWNER),
    Ask("DELETE", f"{item(30)}/tags/one", caller=OWNER),
    Ask("DELETE", f"{item(30)}/tags/one", caller=OWNER),
    Ask("GET", item(30), caller=OWNER),
    Ask("POST", f"{item(30)}/actions/deactivate", caller=OWNER),
    Ask("POST", f"{item(30)}/actions/reactivate", caller=OWNER),
    upload(30, b"some bytes"),
    Ask("POST", f"{item(30)}/actions/reactivate", caller=OWNER),
    Ask("POST", f"{item(30)}/actions/deactivate", caller=OWNER, body=b"{}"),
    Ask("POST", f"{item(30)}/actions/deactivate", caller=FRIEND),
    Ask("POST", f"{item(30)}/actions/deactivate", caller=OWNER),
    Ask("POST", f"{item(30)}/actions/deactivate", caller=OWNER),
    Ask("GET", f"{item(30)}/file", caller=OWNER),
    Ask("GET", f"{item(30)}/file", caller="admin"),
    Ask("POST", f"{item(30)}/actions/reactivate", caller=OWNER),
    Ask("GET", f"{item(30)}/actions/reactivate", caller=OWNER),
    Ask("POST", f"{item(30)}/actions/dance", caller=OWNER),
    Ask("DELETE", f"{item(30)}/members/{FRIEND}", caller=STRANGER),
    Ask("DELETE", f"{item(30)}/members/{FRIEND}", caller=FRIEND),
    Ask("DELETE", f"{item(30)}/members/{FRIEND}", caller=OWNER),
    Ask("DELETE", f"{item(30)}/members/{FRIEND}", caller=OWNER),
    patch(30, replace("/visibility", "private")),
    Ask("GET", f"{item(30)}/members", caller=OWNER),
    Ask("POST", f"{item(30)}/members", {"member": FRIEND}, caller=OWNER),
    Ask("GET", f"{item(30)}/members/{FRIEND}", caller=OWNER),
    Ask("PUT", f"{item(30)}/members/{FRIEND}", {"status": "accepted"}, caller="admin"),
    Ask("DELETE", f"{item(30)}/members/{FRIEND}", caller=OWNER),
]

TRANSFER = [
    create(40, **FORMATS),
    Ask("GET", f"{item(40)}/file", caller=OWNER),
    Ask("PUT", f"{item(40)}/file", body=b"data", caller=OWNER, headers={"Content-Type": "text/plain"}),
    Ask("PUT", f"{item(40)}/file", body=b"data", caller=OWNER, differs={"message": "a template unfilled there"}),
    upload(40, b"data", **{"X-Openstack-Image-Size": "x"}),
    upload(40, b"data", **{"X-Openstack-Image-Size": "5"}),
    upload(40, b"data", **{"X-Image-Meta-Store": "nowhere"}),
    upload(40, b"data", caller=STRANGER),
    upload(99, b"data"),
    upload(40, b"data"),
    Ask("GET", item(40), caller=OWNER),
    upload(40, b"data"),
    patch(40, replace("/disk_format", "qcow2")),
    patch(40, replace("/container_format", "ovf")),
    Ask("GET", f"{item(40)}/file", caller=OWNER),
    Ask("GET", f"{item(40)}/file", caller=STRANGER),
    *(ranged(value) for value in ("bytes=0-1", "bytes=2-", "bytes=-1", "bytes=0-99")),
    *(
        ranged(value, differs={"content-range": "the size is told too", "message": "in other words"})
        for value in ("bytes=9-10", "bytes=x", "bytes=3-2")
    ),
    ranged("lines=0-1", differs=dict.fromkeys(["status", "message", "content-type", "content-md5"], "an unknown unit")),
    Ask("GET", f"{item(40)}/file", caller=OWNER, body=b"{}"),
    create(41),
    upload(41, b"data"),
    create(42, disk_format="qcow2", container_format="bare"),
    upload(42, b"no qcow2 at all"),
    create(43, **FORMATS),
    upload(43, b""),
    Ask("GET", item(43), caller=OWNER),
    Ask("GET", f"{item(43)}/file", caller=OWNER),
    Ask("DELETE", item(40), caller=OWNER),
    Ask("GET", f"{item(40)}/file", caller=OWNER),
]

# What was there before and is there again, and what goes with a deleted image (D-040..D-049).
AGAIN = [
    create(60, **FORMATS, foo="1", gone="1", tags=["a", "b"]),
    *(patch(60, change) for change in (remove("/foo"), add("/foo", "2"), replace("/foo", "3"), remove("/gone"))),
    Ask("DELETE", f"{item(60)}/tags/a", caller=OWNER),
    *[Ask("PUT", f"{item(60)}/tags/a", caller=OWNER)] * 2,
    patch(60, replace("/tags", ["c", "a"])),
    Ask("POST", f"{item(60)}/members", {"member": FRIEND}, caller=OWNER),
    Ask("PUT", f"{item(60)}/members/{FRIEND}", {"status": "accepted"}, caller=FRIEND),
    Ask("DELETE", f"{item(60)}/members/{FRIEND}", caller=OWNER),
    Ask("POST", f"{item(60)}/members", {"member": FRIEND}, caller=OWNER),
    patch(60, replace("/owner", ""), caller=ADMIN, differs={"body": "shown as it is kept"}),
    create(61, **FORMATS, foo="1", tags=["x"]),
    upload(61, b"abc"),
    Ask("POST", f"{item(61)}/members", {"member": FRIEND}, caller=OWNER),
    Ask("DELETE", item(61), caller=OWNER),
    create(61),
]

RECORDS = [*CREATING, *SHOWING, *PATCHING, *DELETING, *SHARING, *TRANSFER, *AGAIN]
