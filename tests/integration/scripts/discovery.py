"""What the service tells about itself: versions, schemas, stores, import methods, health.

Rows: A-001, A-002, A-003, A-180, A-200, A-201, A-202, A-205, A-206, A-280.
"""

from __future__ import annotations

from tests.integration.replaying import ADMIN, OWNER, STRANGER, Ask
from tests.integration.scripts.records import CRASH, FORMATS, create, item, post, upload

ANONYMOUS = {"X-Identity-Status": "Invalid"}

KINDS = ("image", "images", "member", "members", "task", "tasks")
DEFINITIONS = (
    "namespace", "namespaces", "object", "objects", "property", "properties", "tag", "tags", "resource_type",
    "resource_types",
)  # fmt: skip

VERSIONS = [
    *(Ask("GET", path) for path in ("/", "", "/v1", "/v1/images", "/v3/images", "/nothing", "/versions")),
    Ask("POST", "/"),
    Ask("POST", "/versions"),
    Ask("GET", "/versions", headers=ANONYMOUS),
    Ask("GET", "/", headers=ANONYMOUS),
    Ask("GET", "/versions/"),
    Ask("GET", "/versions/x"),
    Ask("GET", "/", headers={"Accept": "text/html"}),
    *(
        Ask("GET", f"/{prefix}/schemas/member", caller=OWNER)
        for prefix in (*(f"v2.{minor}" for minor in range(20)), "v2", "v2.", "V2", "v02", "v2.00")
    ),
    *(
        Ask("GET", "/schemas/member", caller=OWNER, headers={"Accept": f"application/vnd.openstack.images-{version}"})
        for version in ("v2", "v2.0", "v2.9", "v2.17", "v2.99", "v1", "v3")
    ),
    Ask("GET", "/versions", headers={"Host": "images.example:81"}),
    Ask("GET", "/", headers={"X-Forwarded-Host": "other.example", "X-Forwarded-Prefix": "/image"}),
    Ask("GET", "/", headers={"Forwarded": "proto=https;host=other.example"}),
]  # fmt: skip

SCHEMAS = [
    *(Ask("GET", f"/v2/schemas/{kind}", caller=OWNER) for kind in KINDS),
    *(Ask("GET", f"/v2/schemas/{kind}", caller=OWNER, body=b"{}") for kind in KINDS[:4]),
    *(Ask("GET", f"/v2/schemas/{kind}", caller=OWNER, body=b"{}", differs=CRASH) for kind in KINDS[4:]),
    *(Ask("GET", f"/v2/schemas/metadefs/{kind}", caller=OWNER) for kind in DEFINITIONS),
    Ask("GET", "/v2/schemas/metadefs/namespace", caller=OWNER, body=b"{}"),
    Ask("GET", "/v2/schemas/image", headers=ANONYMOUS),
    Ask("GET", "/v2/schemas", caller=OWNER),
    Ask("GET", "/v2/schemas/nothing", caller=OWNER),
    Ask("GET", "/v2/schemas/metadefs", caller=OWNER),
    Ask("POST", "/v2/schemas/image", caller=OWNER),
    Ask("GET", "/v2/schemas/image/", caller=OWNER),
]

INFO = [
    Ask("GET", "/v2/info/import", caller=OWNER),
    Ask("GET", "/v2/info/import", caller=OWNER, body=b"{}"),
    Ask("GET", "/v2/info/import", headers=ANONYMOUS),
    Ask("POST", "/v2/info/import", caller=OWNER),
    Ask("GET", "/v2/info/stores", caller=OWNER),
    Ask("GET", "/v2/info/stores", caller=OWNER, body=b"{}"),
    Ask("POST", "/v2/info/stores", caller=OWNER),
    Ask("GET", "/v2/info/stores/detail", caller=OWNER),
    Ask("GET", "/v2/info/stores/detail", caller=ADMIN),
    Ask("GET", "/v2/info/stores/detail", caller=ADMIN, body=b"{}"),
    Ask("GET", "/v2/info/stores/detail", caller="service"),
    Ask("POST", "/v2/info/stores/detail", caller=ADMIN),
    Ask("GET", "/v2/info", caller=OWNER),
    Ask("GET", "/v2/info/nothing", caller=OWNER),
]

STORES = [
    create(1, **FORMATS),
    Ask("DELETE", f"/v2/stores/fast{item(1)[len('/v2/images') :]}", caller=ADMIN),
    upload(1, b"data"),
    *(
        Ask("DELETE", f"/v2/stores/{store}/{item(number)[len('/v2/images/') :]}", caller=caller)
        for number in (1, 99)
        for store in ("fast", "cheap", "nothing")
        for caller in (OWNER, ADMIN, STRANGER)
    ),
    Ask("DELETE", f"/v2/stores/fast{item(1)[len('/v2/images') :]}", caller=ADMIN, body=b"{}"),
    Ask("GET", f"/v2/stores/fast{item(1)[len('/v2/images') :]}", caller=ADMIN),
    Ask("DELETE", "/v2/stores/fast", caller=ADMIN),
    Ask("GET", "/v2/stores", caller=ADMIN),
    Ask("POST", f"{item(1)}/actions/deactivate", caller=OWNER),
    Ask("DELETE", f"/v2/stores/fast{item(1)[len('/v2/images') :]}", caller=ADMIN),
]

# A property file of the operator's own.
PROPERTIES = """{
    "kernel_id": {"type": ["null", "string"], "pattern": "^[0-9a-f-]{36}$", "is_base": false},
    "os_distro": {"type": "string", "description": "a distribution", "is_base": false},
    "level": {"type": "string", "enum": ["low", "high"], "description": "a level"}
}"""

CUSTOM = [
    Ask("GET", "/v2/schemas/image", caller=OWNER),
    Ask("GET", "/v2/schemas/images", caller=OWNER),
    create(1, kernel_id="nope"),
    create(1, level="middle"),
    create(1, level="low", kernel_id="11111111-1111-1111-1111-111111111111", other="x"),
    Ask("GET", item(1), caller=OWNER),
    create(2, kernel_id=None),
    Ask("GET", item(2), caller=OWNER),
    create(3, level=None),
    create(3, other=5),
    Ask("PATCH", item(1), [{"op": "replace", "path": "/level", "value": "middle"}], caller=OWNER),
    Ask("PATCH", item(1), [{"op": "replace", "path": "/level", "value": "high"}], caller=OWNER),
    Ask("PATCH", item(1), [{"op": "replace", "path": "/kernel_id", "value": None}], caller=OWNER),
    Ask("PATCH", item(1), [{"op": "remove", "path": "/level"}], caller=OWNER),
    Ask("PATCH", item(1), [{"op": "remove", "path": "/level"}], caller=OWNER),
    Ask("GET", item(1), caller=OWNER),
    Ask("GET", "/v2/images?level=high", caller=OWNER),
    Ask("GET", "/v2/images?kernel_id=nope", caller=OWNER),
    post({"level": "high", "level_min": "1"}),
]

DISCOVERY = [*VERSIONS, *SCHEMAS, *INFO, *STORES]
