"""Whatever is sent about images is taken or refused, never a failure of ours; what is taken is shown."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.functional.test_metadef_fuzz import ODD, names, often, perhaps, values
from tests.running import JSON, PATCH, Daemon

EXAMPLES = 250
OLD_PATCH = "application/openstack-images-v2.0-json-patch"
IMAGES = "/v2/images"

ATTRIBUTES = [
    *("name", "visibility", "protected", "os_hidden", "owner", "container_format", "disk_format", "tags", "min_ram"),
    *(
        "min_disk",
        "id",
        "size",
        "status",
        "checksum",
        "locations",
        "kernel_id",
        "os_glance_x",
        "stores",
        "os_hash_algo",
    ),
]
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "name": names,
    "visibility": st.sampled_from(["public", "private", "shared", "community"]),
    "protected": st.just(False),
    "os_hidden": st.booleans(),
    "container_format": st.sampled_from(["bare", "ovf", None]),
    "disk_format": st.sampled_from(["raw", "qcow2", None]),
    "tags": st.lists(names, max_size=4),
    "min_ram": st.integers(-1, 2**31),
    "min_disk": st.integers(-1, 2**63),
    "owner": names,
}
places = st.fixed_dictionaries(
    {"url": perhaps(st.sampled_from(["http://127.0.0.1/x", "file:///etc/passwd", "x", "swift+config://a/b/c"]))},
    optional={
        "metadata": perhaps(st.dictionaries(names, values, max_size=2)),
        "validation_data": perhaps(
            st.fixed_dictionaries(
                {},
                optional={
                    "os_hash_algo": st.sampled_from(["sha256", "md5", "x"]),
                    "os_hash_value": st.sampled_from(["0" * 64, "0" * 32, "", " ", "x" * 64, "é" * 64]),
                },
            )
        ),
    },
)
pointers = often(st.sampled_from(ATTRIBUTES), names, 3).map(lambda name: f"/{name}") | st.sampled_from(
    ["/locations/-", "/locations/0", "/locations/99999999999999999999", "/tags/-", "", "/", "//", "a", "/a/b", "/~2"]
)
operations = st.sampled_from(["add", "replace", "remove"])
new_changes = st.builds(
    lambda op, path, value: {"op": op, "path": path, "value": value},
    perhaps(operations),
    perhaps(pointers),
    values | places | st.lists(places, max_size=2),
)
right_changes = st.sampled_from(sorted(RIGHT)).flatmap(
    lambda name: st.builds(lambda value: {"op": "replace", "path": f"/{name}", "value": value}, RIGHT[name])
)
old_changes = st.builds(lambda op, path, value: {op: path, "value": value}, operations, perhaps(pointers), values)
patches = perhaps(st.lists(perhaps(new_changes | right_changes | old_changes), max_size=3))

images = perhaps(
    st.builds(
        lambda known, odd: {**odd, **known},
        st.fixed_dictionaries({}, optional=RIGHT),
        often(st.just({}), st.dictionaries(names | st.sampled_from(ATTRIBUTES), values, max_size=2), 2),
    )
)
methods = st.sampled_from(["glance-direct", "web-download", "copy-image", "glance-download", "x"])
imports = perhaps(
    st.fixed_dictionaries(
        {"method": perhaps(st.fixed_dictionaries({"name": perhaps(methods)}, optional={"uri": perhaps(names)}))},
        optional={
            "stores": perhaps(st.lists(names, max_size=2)),
            "all_stores": perhaps(st.booleans()),
            "all_stores_must_succeed": perhaps(st.booleans()),
        },
    )
)
members = perhaps(st.fixed_dictionaries({}, optional={"member": perhaps(names), "status": perhaps(names)}))

FILTERS = [
    *("name", "status", "container_format", "disk_format", "min_ram", "min_disk", "size", "size_min", "size_max", "id"),
    *("checksum", "os_hidden", "protected", "visibility", "owner", "tag", "member_status", "created_at", "updated_at"),
    *("sort", "sort_key", "sort_dir", "limit", "marker", "changes-since", "property-x", "is_public", "x", "tags"),
    *("os_hash_algo", "foo_min", "virtual_size", "deleted", "locations", "properties"),
]
ASKED = [
    *("1", "0", "-1", "99999999999999999999", "asc", "desc", "name", "name:asc", "name:asc,size", "created_at:desc"),
    *("in:a,b", "in:", 'in:"a', "in:a,", "neq:1", "gt:2020-01-01T00:00:00Z", "gt:x", "lt:1", "eq:", "all", "public"),
    *("true", "false", "None", "queued", "shared", "sort_key:asc", ":", ",", "id", "in:\x00", "2020-01-01", "gte:"),
]
pairs = st.tuples(often(st.sampled_from(FILTERS), names, 9), often(st.sampled_from(ASKED), names, 3))
queries = st.lists(pairs, max_size=4).map(urlencode)
HEADERS = [
    *("Range", "If-None-Match", "If-Match", "If-Range", "If-Modified-Since", "X-Image-Meta-Store", "Accept"),
    *("X-Openstack-Image-Size", "X-Openstack-Request-Id", "Content-MD5", "Accept-Encoding", "Content-Type", "Origin"),
    *("X-Image-Meta-Property", "Authorization", "X-Auth-Token", "X-Service-Token", "Forwarded", "Expect", "Digest"),
    *("Repr-Digest", "Content-Digest", "Content-Range", "Want-Digest", "Cookie", "Accept-Language", "TE"),
]
SAID = [
    *(
        "bytes=0-1",
        "bytes=-1",
        "bytes=1-",
        "bytes=a-b",
        "bytes=0-1,2-3",
        "bytes=",
        "*",
        '"x"',
        "W/",
        "x",
        "",
        "1",
        "-1",
    ),
    *("sha-256=:AA==:", "sha-256=:x:", "Thu, 01 Jan 1970 00:00:00 GMT", "text/html", "application/json", "gzip;q=x"),
    *("100-continue", "for=x;host=y", "a" * 300, "\xe4", "99999999999999999999", "bytes 0-1/2", "gzip, *;q=0"),
]
headers = st.dictionaries(st.sampled_from(HEADERS), st.sampled_from(SAID), max_size=2)

Step = tuple[str, str, Any, dict[str, str]]
nothing: st.SearchStrategy[dict[str, str]] = st.just({})
ITEM = "{item}"


def step(method: str, path: st.SearchStrategy[str], body: st.SearchStrategy[Any], sent: Any = nothing) -> Any:
    return st.tuples(st.just(method), path, body, sent)


def below(*parts: str) -> st.SearchStrategy[str]:
    return st.just("/".join([ITEM, *parts]))


def named(*parts: str) -> st.SearchStrategy[str]:
    return names.map(lambda name: "/".join([ITEM, *parts, quote(name, safe="")]))


kinds = st.sampled_from([{"Content-Type": PATCH}, {"Content-Type": OLD_PATCH}])
none = st.none()
steps: st.SearchStrategy[Step] = st.one_of(
    step("PATCH", below(), patches, kinds),
    step("PATCH", below(), patches, kinds),
    step("POST", st.just(IMAGES), images),
    step("GET", queries.map(lambda query: f"{IMAGES}?{query}"), none),
    step("GET", queries.map(lambda query: f"{IMAGES}?{query}"), none),
    step("GET", queries.map(lambda query: f"/v2/tasks?{query}"), none),
    step("POST", below("members"), members),
    step("PUT", named("members"), members),
    step("DELETE", named("members"), none),
    step("PUT", named("tags"), none),
    step("DELETE", named("tags"), none),
    step("POST", below("locations"), perhaps(places)),
    step("POST", below("import"), imports),
    step("POST", st.just("/v2/tasks"), perhaps(st.fixed_dictionaries({"type": names, "input": values}))),
    step("PUT", below("file"), none, headers),
    step("PUT", below("stage"), none, headers),
    step("GET", below("file"), none, headers),
    step("GET", below(), none, headers),
    step("GET", st.just(IMAGES), none, headers),
    step("GET", ODD.map(lambda name: f"{IMAGES}/{quote(name, safe='')}"), none),
    step("DELETE", below(), none),
)


class Sender:
    """One connection to the service, and one image there."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.item = ""

    def send(self, method: str, where: str, sent: Any = None, **headers: str) -> tuple[int, bytes]:
        body = None if sent is None else json.dumps(sent).encode()
        for _ in range(2):
            try:
                self._connection.request(method, where.replace(ITEM, self.item), body, {"Accept": JSON, **headers})
                reply = self._connection.getresponse()
                return reply.status, reply.read()
            except (http.client.HTTPException, ConnectionError):  # closed after an answer that came early
                self._connection.close()
        return 0, b""

    def refresh(self) -> None:
        """Have an image, with data every now and then."""
        if self.item and self.send("GET", self.item)[0] == 200:
            return
        values = {"name": "n", "disk_format": "raw", "container_format": "bare"}
        status, said = self.send("POST", IMAGES, values)
        assert status == 201, said
        self.item = f"{IMAGES}/{json.loads(said)['id']}"

    def close(self) -> None:
        self._connection.close()


def test_never_a_failure(daemon: Daemon) -> None:
    """And the images that are there can be shown after each request; the log knows of no failure."""
    daemon.configure(
        "[DEFAULT]\nshow_multiple_locations = true\nenabled_import_methods = [glance-direct,web-download]\n"
    )
    daemon.configure(f"[DEFAULT]\nnode_staging_uri = file://{daemon.folder}/staging\n")
    daemon.start()
    sender = Sender(daemon.port)
    seen: set[int] = set()

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(steps)
    def one(each: Step) -> None:
        sender.refresh()
        method, path, body, sent = each
        status, said = sender.send(method, path, body, **sent)
        seen.add(status)
        assert status < 500 or status == 501, (each, said)
        status, said = sender.send("GET", sender.item)
        assert status in (200, 404), (each, said)
        status, said = sender.send("GET", IMAGES)
        assert status == 200, (each, said)

    try:
        one()
    finally:
        sender.close()
    assert seen >= {200, 204, 400, 404}
    assert "Traceback" not in daemon.log.read_text()
