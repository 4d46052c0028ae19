"""Lists of images: every filter with every operator, sorting by every key, pages behind every marker.

Rows: A-032, A-040, A-041, A-042, A-043, A-044, A-045, A-046, A-047, A-048, A-049, A-050, A-051, A-052, A-053, A-054,
A-055, A-056, A-057, A-058, A-059, A-096, A-281, A-282.
"""

from __future__ import annotations

from itertools import product
from typing import Any
from urllib.parse import quote

from tests.integration.replaying import ADMIN, FRIEND, OWNER, STRANGER, Ask, image_id
from tests.integration.scripts.records import CRASH, FORMATS, add, create, item, patch, upload

LINKS = {"body": "the links keep all values"}
NULLS = {"body": "images without a size come before all others, also behind a marker"}
FIRST = {"body": "of several values one counts, the others are no filters"}

NAMES = ["alpha", "beta", "alpha", None, "grüße 漢字", "with:colon", "with,comma", 'with"quote', "", "ALPHA", "x y+z%"]


def listing(query: str, caller: str = OWNER, **more: Any) -> Ask:
    return Ask("GET", f"/v2/images?{query}", caller=caller, **more)


PLANTING = [
    create(1, **FORMATS, name=NAMES[0], min_ram=1, min_disk=5, tags=["a", "b"], color="red"),
    Ask("GET", item(1), caller=OWNER, keep={"made": "created_at"}),
    create(2, disk_format="qcow2", container_format="bare", name=NAMES[1], min_ram=2, tags=["a"], color="blue"),
    create(3, disk_format="iso", container_format="ovf", name=NAMES[2], min_ram=3, color="red", shape="round"),
    create(4, name=NAMES[3], visibility="private", protected=True),
    create(5, **FORMATS, name=NAMES[4], tags=["größe", "b"], größe="groß"),
    create(6, name=NAMES[5], visibility="community"),
    create(7, **FORMATS, name=NAMES[6], os_hidden=True),
    create(8, name=NAMES[7], color=""),
    create(9, name=NAMES[8], tags=["a,b", "c:d"]),
    create(10, name=NAMES[9], color="RED", size_min="no number"),
    create(11, name=NAMES[10], **{"with space": "and more"}),
    create(12, caller=ADMIN, **FORMATS, name="alpha", visibility="public", tags=["a"], color="red"),
    create(13, caller=STRANGER, **FORMATS, name="alpha"),
    create(14, caller=STRANGER, **FORMATS, name="alpha", visibility="community"),
    create(15, caller=STRANGER, **FORMATS, name="alpha"),
    create(16, caller=STRANGER, **FORMATS, name="alpha"),
    create(17, caller=STRANGER, **FORMATS, name="alpha", visibility="private"),
    upload(1, b"one"),
    upload(5, b"four"),
    upload(12, b"seven.."),
    upload(13, b"x"),
    *(Ask("POST", f"{item(n)}/members", {"member": OWNER}, caller=STRANGER) for n in (13, 15, 16, 17)),
    Ask("PUT", f"{item(13)}/members/{OWNER}", {"status": "accepted"}),
    Ask("PUT", f"{item(15)}/members/{OWNER}", {"status": "rejected"}),
    Ask("POST", f"{item(5)}/actions/deactivate", caller=OWNER),
    patch(2, add("/color", "green")),
    patch(3, {"op": "remove", "path": "/shape"}),
]

VALUES = {
    "name": [
        "alpha",
        "eq:alpha",
        "in:alpha,beta",
        "in:",
        "in:alpha",
        "neq:alpha",
        "nin:alpha",
        "gt:alpha",
        "like:alpha",
        "with:colon",
        "eq:with:colon",
        'in:"with,comma",beta',
        'in:"with,comma',
        'in:x"y"',
        'in:"a"b',
        "in:with:colon",
        "grüße 漢字",
        "in:grüße 漢字,beta",
        "",
        "eq:",
        "in:,",
        'in:""',
        "x y+z%",
        "eq:x y+z%",
        'in:"with\\"quote"',
        'with"quote',
        'eq:"alpha"',
        "2026-01-01T00:00:00",
        "IN:alpha",
        "eq:eq:alpha",
        " alpha",
        "in: alpha, beta",
    ],
    "id": [
        image_id(1),
        f"eq:{image_id(1)}",
        f"in:{image_id(1)},{image_id(2)}",
        "nothing",
        image_id(1).upper(),
        "neq:x",
    ],
    "status": ["active", "queued", "in:active,deactivated", "eq:queued", "killed", "deleted", "nonsense", "gt:active"],
    "container_format": ["bare", "in:bare,ovf", "eq:ovf", "", "neq:bare"],
    "disk_format": ["raw", "in:raw,qcow2", "eq:iso", "none", "neq:raw"],
    "created_at": [
        "gt:2000-01-01T00:00:00Z",
        "lt:2000-01-01T00:00:00Z",
        "gte:<made>",
        "lt:<made>",
        "eq:<made>",
        "neq:<made>",
        "lte:2099-12-31",
        "2099-12-31T23:59:59",
        "gt:2000-01-01T00:00:00+05:00",
        "gt:2000-01-01 00:00:00",
        "gt:2000-01-01T00:00:00.123456Z",
        "gt:20000101T000000Z",
        "gt:2000-01-01T00:00",
        "gt:2000-01",
        "gt:yesterday",
        "nin:2000-01-01",
        "gt:",
        "in:2000-01-01T00:00:00Z",
        "",
        "gt:2000-W01",
        "2000-13-01",
        "gt:1999-12-31T23:59:60Z",
        "gt:0000-00-00",
        "gt:2000-01-01T24:00:00Z",
        "gt:2000-01-01T00:00:00-05:00",
        "GT:2000-01-01",
        "gt:2000",
        "gt:2000-01-01T00:00:00+00:00",
        "lt:99999-01-01",
        "eq:2000-001",
    ],
    "updated_at": ["gt:2000-01-01T00:00:00Z", "lt:2000-01-01T00:00:00Z", "2099-12-31", "x"],
    "size": ["3", "03", "x", "", "-1", "3.0", "eq:3"],
    "virtual_size": ["3", "x"],
    "min_ram": ["2", "x", "in:1,2"],
    "min_disk": ["5", "0"],
    "size_min": ["0", "4", "-1", "x", "", "1.5"],
    "size_max": ["3", "0", "99999999999999999999"],
    "min_ram_min": ["2"],
    "min_ram_max": ["2"],
    "min_disk_min": ["1"],
    "virtual_size_min": ["1", "x"],
    "visibility": ["public", "private", "shared", "community", "all", "secret", "", "PUBLIC", "eq:public"],
    "member_status": ["pending", "accepted", "rejected", "all", "maybe", ""],
    "owner": [OWNER, STRANGER, "", "nobody", f"in:{OWNER}"],
    "protected": ["true", "false", "True", "1", ""],
    "os_hidden": ["true", "false", "True", "FALSE", "1", ""],
    "tag": ["a", "b", "größe", "nothing", "a,b", "c:d", "", "a&tag=b", "a&tag=nothing", " a "],
    "checksum": ["f97c5d29941bfb1b2fdab0874906ab82", "0"],
    "os_hash_algo": ["sha512", "md5"],
    "os_hash_value": ["0"],
    "color": ["red", "RED", "green", "", "in:red,blue", "eq:red", "red&shape=round", "red&color=blue"],
    "größe": ["groß", "klein"],
    "with space": ["and more"],
    "nothing": ["x", ""],
    "is_public": ["True"],
    "deleted": ["true", "True"],
    "limit": ["0", "1", "2", "99999", "-1", "x", "", "1.5", "+1", " 1"],
    "marker": ["x", image_id(99), image_id(17), "", image_id(13)],
    "metadata": ["x"],
    "location": ["x"],
    "deleted_at": ["2026-01-01"],
}

SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")

DIFFERENT: dict[str, dict[str, str]] = {
    "size=3.0": {"body": "no number of bytes"},
    "size_max=99999999999999999999": CRASH,
    "tag=a&tag=b": LINKS,
    "tag=a&tag=nothing": LINKS,
    "color=red&color=blue": LINKS,
    f"marker={image_id(17)}": {"status": "nobody is told that it exists", "message": "nobody is told that it exists"},
}

FILTERING = [listing("", caller=caller) for caller in (OWNER, ADMIN, STRANGER, FRIEND)] + [
    listing(f"{quote(name)}={quote(value, safe='<>&=')}", differs=DIFFERENT.get(f"{name}={value}", {}))
    for name, values in VALUES.items()
    for value in values
]

CALLING = [
    listing(f"visibility={visibility}&member_status={status}", caller=caller)
    for caller in (OWNER, ADMIN, FRIEND)
    for visibility, status in product(("public", "private", "shared", "community", "all"), ("all", "pending"))
] + [
    listing("owner=stranger", caller=ADMIN),
    listing("os_hidden=true", caller=ADMIN),
    listing("name=alpha", caller=FRIEND),
]

SORTING = [
    listing(f"sort_key={key}&sort_dir={direction}{marker}&limit=4", differs=NULLS if key == "size" and marker else {})
    for key, direction in product(SORT_KEYS, ("asc", "desc"))
    for marker in ("", f"&marker={image_id(4)}", f"&marker={image_id(2)}")
] + [
    listing(query)
    for query in (
        "sort=name",
        "sort=name:asc",
        "sort=name:asc,size:desc",
        "sort=status,name:asc&limit=3",
        f"sort=status,name:asc&limit=3&marker={image_id(8)}",
        "sort=name:asc,name:desc",
        "sort=nothing",
        "sort=name:up",
        "sort=",
        "sort=name:",
        "sort=%20name%20:%20asc",
        "sort=name,",
        "sort=name&sort_key=name",
        "sort=name&sort_dir=asc",
        "sort_key=name",
        "sort_dir=asc",
        "sort_key=name&sort_dir=asc&sort_dir=desc",
        "sort_key=name&sort_key=size&sort_key=id&sort_dir=asc&sort_dir=desc",
        "sort_key=nothing",
        "sort_key=min_ram",
        "sort_key=",
        "sort_key=%20name&sort_dir=asc%20",
        "sort_dir=up",
    )
]

ODD = [
    listing("sort_key=id&sort_key=name", differs=LINKS),
    listing("sort_key=name&sort_key=size&sort_dir=asc&sort_dir=desc", differs=LINKS),
    listing("sort_key=name&sort_key=size&sort_dir=asc", differs=LINKS),
    listing("changes-since=2026-01-01"),
    listing("foo_min=1", differs=CRASH),
    listing("name_max=1", differs=dict.fromkeys(["status", "message"], "of numbers only")),
    listing(
        "created_at=gt:2000-01-01T00:00:00+05:00",
        differs={"status": "the plus may be plain", "message": "the plus may be plain"},
    ),
    listing("limit=1&limit=5", differs=FIRST),
    listing("sort=name:asc&sort=size:asc", differs=FIRST),
    listing(f"sort_key=disk_format&sort_key=name&sort_dir=asc&limit=3&marker={image_id(9)}", differs=LINKS),
    listing(f"sort_key=size&sort_key=name&sort_dir=asc&marker={image_id(1)}", differs=LINKS),
    listing(f"sort_key=size&sort_key=name&sort_dir=desc&marker={image_id(1)}", differs=LINKS),
    listing(f"sort_key=size&sort_dir=desc&marker={image_id(11)}", differs=NULLS),
    listing(f"marker={image_id(1)}&marker={image_id(2)}"),
    listing("name=beta&name=alpha", differs=LINKS),
    listing("tags=ab", differs={"body": "one tag"}),
    listing("tags=a"),
    listing("properties=x", differs=CRASH),
    listing("%00=x", differs=dict.fromkeys(["status", "message"], "no database can look for it")),
    listing("name=%FF"),
    listing("name"),
    listing("&&&"),
    listing("limit=2&name=alpha&color=red"),
    listing(f"limit=0&marker={image_id(99)}"),
    listing(f"limit=0&marker={image_id(1)}"),
    listing("name=alpha;limit=1", differs={"body": "a semicolon separates nothing"}),
    listing("name=a+b"),
    listing("limit=2&tag=a&tag=b", differs=LINKS),
    Ask("GET", "/v2/images?limit=1", caller=OWNER, body=b"{}"),
    Ask("DELETE", item(2), caller=OWNER),
    *(listing(f"sort=name:asc&limit=3&marker={image_id(2)}", caller=caller) for caller in (OWNER, ADMIN)),
]

LISTS = [*PLANTING, *FILTERING, *CALLING, *SORTING, *ODD]
