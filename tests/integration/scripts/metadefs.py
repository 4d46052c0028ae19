"""Namespaces of metadata definitions, and what is in them (api.md, section 11).

Rows: A-013, A-230, A-231, A-232, A-233, A-234, A-235, A-236, A-237, A-238, A-239, A-240, A-241, A-242, A-243, A-244,
A-245, A-246, A-247, A-248, A-249.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.integration.replaying import OWNER, STRANGER, Ask

NAMESPACES = "/v2/metadefs/namespaces"
TYPES = "/v2/metadefs/resource_types"
TEXT = {"title": "T", "type": "string"}
EVERYTHING = {
    "additionalItems": True, "uniqueItems": True, "minItems": 1, "maxItems": 3, "default": "x", "readonly": True,
    "items": {"type": "string", "enum": ["a"]}, "enum": ["b"], "pattern": "^a", "minLength": 1, "maxLength": 3,
    "minimum": 1, "maximum": 2, "operators": ["<or>"], "description": "d", "title": "T", "type": "string",
}  # fmt: skip
LONG = "x" * 81
EMOJI = "\U0001f600"

CRASH = dict.fromkeys(["status", "message"], "500 there")
HUSH = {"message": "Glance tells by its words that something is there which the caller may not see"}
LOST = {"body": "Glance loses it"}


def at(namespace: str = "n", *parts: str) -> str:
    return "/".join([NAMESPACES, namespace, *parts])


def get(path: str, caller: str = "admin", differs: Any = None) -> Ask:
    return Ask("GET", path, caller=caller, differs=differs or {})


def post(path: str, document: Any = None, caller: str = "admin", differs: Any = None, **headers: str) -> Ask:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Ask("POST", path, document, caller=caller, differs=differs or {}, headers=sent)


def put(path: str, document: Any, caller: str = "admin", differs: Any = None) -> Ask:
    return Ask("PUT", path, document, caller=caller, differs=differs or {})


def delete(path: str, caller: str = "admin", differs: Any = None) -> Ask:
    return Ask("DELETE", path, caller=caller, differs=differs or {})


def create(name: str, caller: str = "admin", differs: Any = None, **values: Any) -> Ask:
    return post(NAMESPACES, {"namespace": name, **values}, caller, differs)


def everyone(namespace: str, path: str, method: str = "GET", document: Any = None) -> Iterable[Ask]:
    """By those who may change nothing."""
    for caller in (OWNER, STRANGER):
        yield Ask(method, at(namespace, path), document, caller=caller)


FULL: Any = {
    "display_name": "D", "description": "grüße", "visibility": "public", "protected": True, "owner": OWNER,
    "resource_type_associations": [
        {"name": "OS::Glance::Image", "prefix": "hw_"},
        {"name": "OS::Nova::Flavor", "prefix": "hw:", "properties_target": "image"},
        {"name": "plain"},
    ],
    "properties": {"p1": EVERYTHING | {"name": "other", "confidential": False}, "p2": TEXT | {"default": 3}},
    "objects": [
        {"name": "o1", "description": "od", "required": ["q1"], "properties": {"q1": EVERYTHING, "q2": TEXT}},
        {"name": "o2"},
    ],
    "tags": [{"name": "t1"}, {"name": "T2"}],
}  # fmt: skip

SCHEMAS = [get("/v2/schemas/metadefs/nothing"), Ask("GET", "/v2/schemas/metadefs/tag", {})]

REFUSED = [
    post(NAMESPACES, {}),
    post(NAMESPACES, [], differs=CRASH),
    post(NAMESPACES, "x"),
    post(NAMESPACES),
    Ask("POST", NAMESPACES, body=b"{"),
    post(NAMESPACES, {"namespace": 1}),
    create(LONG),
    create("x", display_name=LONG),
    create("x", description="x" * 501),
    create("x", visibility="shared"),
    create("x", protected="yes"),
    create("x", owner="x" * 256),
    create("x", owner=None),
    create("x", nothing=1),
    create("x", id=1),
    *(create("x", **{name: "2020-01-01T00:00:00Z"}) for name in ("created_at", "updated_at", "self", "schema")),
    create("x" + EMOJI),
    create("x", display_name=EMOJI),
    create("x", description=EMOJI),
    create("x", objects={}),
    create("x", tags=["a"]),
    create("x", properties=[]),
    create("x", objects=["x"]),
    create("x", objects=[{"name": 1}]),
    create("x", objects=[{"name": "a"}, {"name": "a"}]),
    create("x", tags=[{"name": "a"}, {"name": "a"}]),
    create("x", properties={"p": {"title": "T"}}),
    create("x", properties={"p": TEXT | {"type": "x"}}),
    create("x", properties={"p": TEXT | {"type": None}}),
    create("x", properties={"p": TEXT | {"title": None}}),
    create("x", properties={"p": TEXT | {"maxLength": -3}}),
    create("x", properties={"p": TEXT | {"minimum": True}}),
    create("x", properties={"p": TEXT | {"required": ["x", "x"]}}),
    create("x", properties={"p": TEXT | {"name": LONG}}),
    create("x", objects=[{"name": "a", "properties": {"p": TEXT | {"name": LONG}}}]),
    create("x", properties={"p": TEXT | {"required": ["x"]}}, differs=CRASH),
    create("x", properties={"p": TEXT | {"enum": [1]}}, differs=CRASH),
    create("x", properties={"p": TEXT | {"items": {"enum": ["a"]}}}, differs=CRASH),
    create("x", properties={"p": TEXT | {"nothing": 1}}, differs=CRASH),
    create("x", objects=[{}], differs=CRASH),
    create("x", objects=[{"name": "a", "nothing": 1}], differs=CRASH),
    create("x", tags=[{}], differs=CRASH),
    create("x", resource_type_associations=[{}], differs=CRASH),
    create("x", caller=OWNER),
    get(at("x")),
]

NAMESPACE = [
    get(NAMESPACES),
    get(TYPES),
    create("n"),
    create("n"),
    create("N", visibility="public"),
    get(at("n")),
    get(at("N"), STRANGER),
    get(at("n"), STRANGER, HUSH),
    get(at("none")),
    get(at("n", "")),
    get(at("n?x=y"), differs=CRASH),
    Ask("GET", at("n"), {}),
    create("full", **FULL),
    get(at("full")),
    get(at("full"), STRANGER),
    *(get(at(f"full?resource_type={name}")) for name in ("OS::Glance::Image", "OS::Nova::Flavor", "plain", "no", "")),
    create("empty", objects=[], tags=[], properties={}, resource_type_associations=[]),
    get(at("empty")),
    create("OS::Compute::Disk I/O"[:-4]),
    delete(at("OS::Compute::Disk%20")),
    put(at("n"), {}),
    put(at("n"), [], differs=CRASH),
    Ask("PUT", at("n")),
    put(at("n"), {"display_name": "x"}),
    put(at("n"), {"namespace": "n", "self": "x"}),
    put(at("n"), {"namespace": "n", "nothing": "x"}),
    put(at("n"), {"namespace": "full"}),
    put(at("n"), {"namespace": "n" + EMOJI}),
    put(at("n"), {"namespace": "n", "owner": EMOJI}),
    put(at("none"), {"namespace": "n"}),
    put(at("n"), {"namespace": "n"}, OWNER),
    put(at("full"), {"namespace": "full"}, OWNER),
    put(at("n"), {"namespace": "m", "display_name": "d", "description": "e", "visibility": "public",
                  "protected": True, "owner": OWNER}),
    get(at("n")),
    get(at("m"), STRANGER),
    delete(at("m")),
    delete(at("m"), STRANGER),
    put(at("m"), {"namespace": "n", "tags": [{"name": "t"}], "objects": [{"name": "o"}]}),
    get(at("n")),
    put(at("n"), {"namespace": "n", "owner": OWNER}),
    get(at("n"), OWNER),
    put(at("n"), {"namespace": "n", "owner": ""}),
    delete(at("n"), OWNER),
    delete(at("none"), OWNER),
    delete(at("none")),
    Ask("DELETE", at("n"), {}),
    *(Ask(method, at("n"), {}) for method in ("PATCH", "POST")),
    *(Ask(method, NAMESPACES, {}) for method in ("PATCH", "PUT", "DELETE")),
    *(get(path) for path in ("/v2/metadefs", "/v2/metadefs/x", f"{NAMESPACES}/", f"{TYPES}/")),
    delete(at("N")),
    delete(at("empty")),
]  # fmt: skip

OBJECTS = [
    get(at("n", "objects")),
    post(at("n", "objects"), {}),
    post(at("n", "objects"), [], differs=CRASH),
    post(at("n", "objects")),
    post(at("n", "objects"), {"name": "o", "x": 1}),
    post(at("n", "objects"), {"name": LONG}),
    *(post(at("n", "objects"), {"name": "o", name: "x"}) for name in ("self", "schema", "created_at", "updated_at")),
    post(at("n", "objects"), {"name": "o", "required": ["a", "a"]}),
    post(at("n", "objects"), {"name": "o", "required": "a"}),
    post(at("n", "objects"), {"name": "o", "properties": {"p": {}}}),
    post(at("n", "objects"), {"name": "o", "properties": []}),
    post(at("n", "objects"), {"name": "o", "description": 1}),
    post(at("n", "objects"), {"name": "o" + EMOJI}),
    post(at("n", "objects"), {"name": "o", "description": EMOJI}),
    post(at("n", "objects"), {"name": "o", "description": "d", "required": ["a"], "properties": {"p": EVERYTHING}}),
    post(at("n", "objects"), {"name": "o"}),
    post(at("n", "objects"), {"name": "O"}),
    post(at("n", "objects"), {"name": "p", "required": [], "properties": {}, "description": ""}),
    post(at("none", "objects"), {"name": "o"}),
    post(at("full", "objects"), {"name": "o"}, STRANGER),
    post(at("n", "objects"), {"name": "o"}, STRANGER, HUSH),
    post(at("none", "objects"), {"name": "o"}, STRANGER),
    get(at("none", "objects")),
    get(at("n", "objects"), STRANGER, HUSH),
    get(at("full", "objects"), STRANGER),
    get(at("n", "objects", "none")),
    get(at("none", "objects", "none")),
    get(at("n", "objects", "o"), STRANGER, HUSH),
    get(at("full", "objects", "none"), STRANGER),
    get(at("full", "objects", "o1"), STRANGER),
    Ask("GET", at("n", "objects", "o"), {}),
    get(at("n", "objects")),
    *(get(at("n", f"objects?{query}")) for query in (
        "limit=1", "limit=0", "limit=-1", "limit=x", "marker=none", "sort_key=zz", "sort_dir=asc", "sort_dir=zz",
        "visibility=x", "visibility=public", "x=y",
    )),
    put(at("n", "objects", "o"), {"name": "o"}),
    get(at("n", "objects", "o")),
    put(at("n", "objects", "o"), {"name": "q", "description": "new", "required": ["z"], "properties": {"z": TEXT}}),
    put(at("n", "objects", "q"), {"name": "p"}, differs=CRASH),
    put(at("n", "objects", "q"), {}),
    put(at("n", "objects", "q"), {"name": "q", "self": "x"}),
    put(at("n", "objects", "q"), {"name": "q" + EMOJI}),
    put(at("n", "objects", "none"), {"name": "q"}),
    put(at("none", "objects", "q"), {"name": "q"}),
    put(at("n", "objects", "q"), {"name": "q"}, STRANGER, HUSH),
    put(at("full", "objects", "q"), {"name": "q"}, STRANGER),
    delete(at("n", "objects", "q"), STRANGER, HUSH),
    delete(at("full", "objects", "none"), STRANGER),
    delete(at("full", "objects", "o1")),
    delete(at("full", "objects", "none")),
    delete(at("n", "objects", "none")),
    delete(at("none", "objects", "q")),
    Ask("DELETE", at("n", "objects", "q"), {}),
    delete(at("n", "objects", "q")),
    get(at("n")),
    delete(at("full", "objects")),
    delete(at("n", "objects"), STRANGER),
    delete(at("full", "objects"), STRANGER),
    delete(at("none", "objects")),
    Ask("DELETE", at("n", "objects"), {}, differs=CRASH),
    delete(at("n", "objects")),
    delete(at("n", "objects")),
    get(at("n", "objects")),
]  # fmt: skip

BAD_PROPERTIES: list[Any] = [
    {"x": 1}, {"name": LONG}, {"self": "x"}, {"created_at": "x"}, {"required": ["a", "a"]}, {"required": []},
    {"confidential": True}, {"name": EMOJI}, {"title": EMOJI}, {"description": EMOJI}, {"minLength": -1},
]  # fmt: skip
PROPERTIES = [
    get(at("n", "properties")),
    post(at("n", "properties"), {}),
    post(at("n", "properties"), [], differs=CRASH),
    post(at("n", "properties")),
    post(at("n", "properties"), TEXT),
    *(post(at("n", "properties"), {"name": "p", **TEXT, **more}) for more in BAD_PROPERTIES),
    post(at("n", "properties"), {"name": "p", **TEXT, "required": ["a"]}, differs=CRASH),
    post(at("n", "properties"), {"name": "p", **TEXT, "enum": [1]}, differs=CRASH),
    post(at("n", "properties"), {"name": "p", **EVERYTHING}),
    post(at("n", "properties"), {"name": "p", **TEXT}),
    post(at("n", "properties"), {"name": "P", **TEXT, "default": True, "minimum": 2.0}),
    post(at("n", "properties"), {"name": "half", **TEXT, "minimum": 1.5}, differs=LOST),
    post(at("n", "properties"), {"name": "list", **TEXT, "default": ["a"]}, differs=LOST),
    post(at("n", "properties"), {"name": "none", **TEXT, "default": None}),
    delete(at("n", "properties", "list")),
    delete(at("n", "properties", "half")),
    post(at("none", "properties"), {"name": "p", **TEXT}),
    *everyone("full", "properties", "POST", {"name": "p", **TEXT}),
    post(at("n", "properties"), {"name": "p", **TEXT}, STRANGER),
    get(at("none", "properties")),
    get(at("n", "properties"), STRANGER),
    get(at("full", "properties"), STRANGER),
    Ask("GET", at("n", "properties"), {}),
    get(at("n", "properties")),
    get(at("n", "properties?limit=x&sort_dir=y&resource_type=none")),
    get(at("n", "properties", "nothing")),
    get(at("none", "properties", "p")),
    get(at("n", "properties", "p"), STRANGER),
    get(at("n", "properties", "p")),
    Ask("GET", at("n", "properties", "p"), {}),
    get(at("full", "properties", "p1")),
    get(at("full", "properties", "hw_p1?resource_type=OS::Glance::Image")),
    get(at("full", "properties", "p1?resource_type=OS::Glance::Image")),
    get(at("full", "properties", "hw_none?resource_type=OS::Glance::Image")),
    get(at("full", "properties", "p1?resource_type=plain"),
        differs={"status": "no prefix is needed", "message": "no prefix is needed"}),
    get(at("full", "properties", "p1?resource_type=nothing")),
    get(at("n", "properties", "p?resource_type=plain")),
    get(at("full", "properties", "p1?resource_type=")),
    put(at("n", "properties", "p"), {"name": "p"}),
    put(at("n", "properties", "p"), TEXT),
    put(at("n", "properties", "p"), {"name": "p", **TEXT}),
    get(at("n", "properties", "p")),
    put(at("n", "properties", "p"), {"name": "q", **TEXT, "description": "x"}),
    put(at("n", "properties", "q"), {"name": "P", **TEXT}, differs=CRASH),
    put(at("n", "properties", "none at all".replace(" ", "%20")), {"name": "q", **TEXT}),
    put(at("none", "properties", "q"), {"name": "q", **TEXT}),
    put(at("n", "properties", "q"), {"name": EMOJI, **TEXT}),
    put(at("n", "properties", "q"), {"name": "q", **TEXT}, STRANGER),
    put(at("full", "properties", "q"), {"name": "q", **TEXT}, STRANGER),
    delete(at("n", "properties", "q"), STRANGER),
    delete(at("full", "properties", "q"), STRANGER),
    delete(at("full", "properties", "p1")),
    delete(at("n", "properties", "nothing")),
    delete(at("none", "properties", "q")),
    Ask("DELETE", at("n", "properties", "q"), {}, differs=CRASH),
    delete(at("n", "properties", "q")),
    delete(at("full", "properties")),
    delete(at("none", "properties")),
    *everyone("full", "properties", "DELETE"),
    delete(at("n", "properties"), STRANGER),
    delete(at("n", "properties")),
    get(at("n", "properties")),
]  # fmt: skip

BULKS: list[Any] = [
    {"tags": []}, {"tags": None}, {"tags": "x"}, {"tags": ["x"]}, {"tags": [{}]}, {"tags": [{"name": 1}]},
    {"tags": [{"name": "x"}, {"name": "x"}]}, {"tags": [{"name": "b"}, {"name": "a"}, {"name": "c"}]},
    {"tags": [{"name": "a", "x": 1}]}, {"tags": [{"name": "a"}], "x": 1}, {"name": "x"},
]  # fmt: skip
TAGS = [
    get(at("n", "tags")),
    post(at("n", "tags"), {}, differs=CRASH),
    post(at("n", "tags"), [], differs=CRASH),
    post(at("n", "tags")),
    *(post(at("n", "tags"), document) for document in BULKS),
    get(at("n", "tags")),
    post(at("n", "tags"), {"tags": [{"name": "a"}, {"name": "d"}, {"name": "B"}]}),
    get(at("n", "tags")),
    post(at("n", "tags"), {"tags": [{"name": "e"}]}, X_Openstack_Append="true"),
    post(at("n", "tags"), {"tags": [{"name": "f"}]}, X_Openstack_Append="1"),
    post(at("n", "tags"), {"tags": [{"name": "g"}, {"name": "a"}]}, X_Openstack_Append="True"),
    post(at("n", "tags"), {"tags": []}),
    get(at("n", "tags")),
    *(get(at("n", f"tags?{query}")) for query in (
        "limit=2", "limit=5", "limit=0", "limit=-1", "limit=x", "marker=d", "marker=none", "limit=2&marker=d",
        "sort_key=name", "sort_key=name&sort_dir=asc", "sort_key=name&sort_dir=asc&marker=d", "sort_key=id",
        "sort_key=updated_at&limit=2", "sort_dir=asc", "sort_dir=x", "visibility=x", "visibility=public", "x=y",
    )),
    get(at("n", "tags?sort_key=zz"), differs=CRASH),
    post(at("n", "tags"), {"tags": [{"name": "z"}]}, X_Openstack_Append="false"),
    get(at("n", "tags")),
    get(at("n")),
    post(at("none", "tags"), {"tags": []}),
    *everyone("full", "tags", "POST", {"tags": []}),
    post(at("n", "tags"), {"tags": []}, STRANGER),
    post(at("n", "tags", "t")),
    post(at("n", "tags", "t")),
    post(at("n", "tags", "T")),
    post(at("n", "tags", "u"), {}),
    post(at("n", "tags", LONG)),
    post(at("none", "tags", "t")),
    *everyone("full", "tags/x", "POST"),
    post(at("n", "tags", "t"), caller=STRANGER),
    *(get(at("n", "tags", name)) for name in ("t", "T", "none")),
    get(at("none", "tags", "t")),
    Ask("GET", at("n", "tags", "t"), {}),
    get(at("n", "tags", "t"), STRANGER),
    get(at("full", "tags", "t1"), STRANGER),
    put(at("n", "tags", "t"), {"name": "t"}),
    put(at("n", "tags", "t"), {"name": "u"}),
    put(at("n", "tags", "u"), {"name": "z"}),
    *(put(at("n", "tags", "u"), document) for document in (
        {}, {"name": "u", "x": 1}, {"name": "u", "created_at": "x"}, {"name": "u", "self": "x"},
        {"name": "u" + EMOJI}, {"name": LONG},
    )),
    put(at("n", "tags", "u"), [], differs=CRASH),
    put(at("n", "tags", "none"), {"name": "x"}),
    put(at("none", "tags", "x"), {"name": "x"}),
    put(at("n", "tags", "u"), {"name": "x"}, STRANGER),
    put(at("full", "tags", "t1"), {"name": "x"}, STRANGER),
    Ask("DELETE", at("n", "tags", "u"), {}),
    delete(at("n", "tags", "none")),
    delete(at("none", "tags", "u")),
    delete(at("n", "tags", "u"), STRANGER),
    delete(at("full", "tags", "t1"), STRANGER),
    delete(at("full", "tags", "t1")),
    delete(at("n", "tags", "u")),
    delete(at("full", "tags")),
    delete(at("none", "tags")),
    *everyone("full", "tags", "DELETE"),
    delete(at("n", "tags"), STRANGER),
    Ask("DELETE", at("n", "tags"), {}, differs=CRASH),
    delete(at("n", "tags")),
    get(at("n", "tags")),
]  # fmt: skip

ASSOCIATIONS = [
    get(at("n", "resource_types")),
    post(at("n", "resource_types"), [], differs=CRASH),
    post(at("n", "resource_types")),
    *(post(at("n", "resource_types"), document) for document in (
        {}, {"name": 1}, {"name": LONG}, {"name": "x", "x": 1}, {"name": "x", "prefix": None},
        {"name": "x", "prefix": LONG}, {"name": "x", "properties_target": LONG}, {"name": "x", "created_at": "x"},
        {"name": "x", "self": "x"}, {"name": "R", "prefix": "hw_"}, {"name": "R", "prefix": "other"}, {"name": "r"},
        {"name": "S", "prefix": "", "properties_target": ""}, {"name": "OS::Glance::Image", "properties_target": "i"},
    )),
    get(at("n", "resource_types")),
    get(at("n", "resource_types?x=y")),
    Ask("GET", at("n", "resource_types"), {}),
    get(TYPES),
    get(TYPES, STRANGER),
    get(f"{TYPES}?limit=0&x=y"),
    Ask("GET", TYPES, {}),
    post(TYPES, {"name": "x"}),
    delete(f"{TYPES}/R"),
    get(at("n", "resource_types"), STRANGER),
    get(at("full", "resource_types"), STRANGER),
    get(at("none", "resource_types")),
    get(at("n", "resource_types", "R")),
    put(at("n", "resource_types", "R"), {"name": "R"}),
    delete(at("n", "resource_types")),
    post(at("none", "resource_types"), {"name": "R"}),
    post(at("n", "resource_types"), {"name": "R"}, STRANGER),
    *everyone("full", "resource_types", "POST", {"name": "R"}),
    *everyone("full", "resource_types/plain", "DELETE"),
    Ask("DELETE", at("n", "resource_types", "R"), {}),
    delete(at("n", "resource_types", "R"), STRANGER),
    delete(at("n", "resource_types", "none")),
    delete(at("n", "resource_types", "plain")),
    delete(at("none", "resource_types", "R")),
    delete(at("full", "resource_types", "plain")),
    delete(at("n", "resource_types", "R")),
    delete(at("n", "resource_types", "R")),
    get(at("n")),
    get(TYPES),
]  # fmt: skip


def listed(query: str, *callers: str, differs: Any = None) -> Iterable[Ask]:
    for caller in callers or ("admin",):
        yield get(f"{NAMESPACES}?{query}", caller, differs)


def each_crash(*queries: str) -> Iterable[Ask]:
    for query in queries:
        yield from listed(query, differs=CRASH)


ALL = ("admin", OWNER, STRANGER)
UNSEEN = {"status": "Glance tells that something is there", "message": "as above"}
LISTS = [
    create("c", visibility="public", owner=OWNER, display_name="zz", resource_type_associations=[{"name": "R"}]),
    create("a", visibility="private", owner=OWNER, resource_type_associations=[{"name": "R"}, {"name": "S"}]),
    create("b", visibility="private", owner=STRANGER, display_name="yy"),
    create("d", visibility="public", owner=STRANGER, resource_type_associations=[{"name": "S"}]),
    *(Ask("GET", NAMESPACES, caller=caller) for caller in ALL),
    *listed("visibility=public", *ALL),
    *listed("visibility=private", *ALL),
    *listed("visibility=shared"),
    *listed("limit=1", *ALL),
    *listed("limit=3&x=%C3%BC%26&visibility=public", *ALL),
    *(ask for query in (
        "limit=2", "limit=6", "limit=7", "limit=0", "limit=-1", "limit=1001", "limit=9999999999999999999", "limit=%2B2",
        "marker=b", "marker=none", "limit=2&marker=c", "marker=a&limit=1", "sort_key=namespace",
        "sort_key=namespace&sort_dir=asc", "sort_key=namespace&sort_dir=asc&marker=b", "sort_key=id",
        "sort_key=display_name&sort_dir=asc", "sort_key=display_name&sort_dir=asc&limit=2",
        "sort_key=display_name&sort_dir=asc&marker=b", "sort_key=visibility&sort_dir=asc", "sort_key=protected",
        "sort_key=owner", "sort_key=description", "sort_key=updated_at", "sort_dir=asc", "sort_dir=x", "sort_dir=",
        "sort=namespace:asc", "resource_types=R", "resource_types=R,S", "resource_types=S&limit=1",
        "resource_types=none", "resource_types=", "x=y", "namespace=a", "owner=owner", "protected=true",
        "resource_type=R",
    ) for ask in listed(query)),
    *listed("resource_types=R", STRANGER),
    *listed("marker=b", OWNER, differs=UNSEEN),
    *each_crash("limit=x", "limit=", "limit=1.5", "sort_key=zz"),
    *(delete(at(name)) for name in "abcdn"),
    put(at("full"), {"namespace": "full"}),
    delete(at("full")),
    get(NAMESPACES),
    get(TYPES),
    create("x", resource_type_associations=[{"name": "a"}, {"name": "a"}]),  # after it, Glance has a new type
    get(at("x")),
]  # fmt: skip

# A slash in a URL separates, also one that is quoted: what has one in its name cannot be addressed.
LINKS = {"body": "links are quoted"}
SLASHES = [
    create("a/b", visibility="public", differs=LINKS | {"location": "links are quoted"}),
    create("s", visibility="public"),
    post(at("s", "objects"), {"name": "o/p"}, differs=LINKS),
    post(at("s", "objects"), {"name": "o"}),
    post(at("s", "properties"), {"name": "p/q", "title": "t", "type": "string"}),
    post(at("s", "resource_types"), {"name": "r/s"}),
    post(at("s", "tags"), {"tags": [{"name": "t/u"}]}),
    *(
        Ask(method, f"{NAMESPACES}/{path}")
        for path in (
            "a%2Fb",
            "a/b",
            "a%252Fb",
            "s/objects/o%2Fp",
            "s/properties/p%2Fq",
            "s/tags/t%2Fu",
            "s/objects%2Fo",
        )
        for method in ("GET", "DELETE")
    ),
    get(f"{NAMESPACES}/s%2Fobjects", differs=LINKS),
    *(get(f"{NAMESPACES}/{path}") for path in ("s%2Fobjects%2Fo", "s/", "s%2F", "%2F", "a%2fb/tags")),
    post(f"{NAMESPACES}/s/tags/v%2Fw"),
    delete(f"{NAMESPACES}/s/resource_types/r%2Fs"),
]

METADEFS = [*SCHEMAS, *REFUSED, *NAMESPACE, *OBJECTS, *PROPERTIES, *TAGS, *ASSOCIATIONS, *LISTS, *SLASHES]
