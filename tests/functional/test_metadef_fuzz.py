"""Whatever is sent as a metadata definition is taken or refused, never a failure of ours; what is taken is shown."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.running import JSON, Daemon

NAMESPACES = "/v2/metadefs/namespaces"
EXAMPLES = 250

ODD = st.sampled_from(["", " ", "a", "A", "ä", "\0", "\U0001f600", "a/b", "a,b", "%", "..", "x" * 80, "x" * 81, "n"])
plain = st.sampled_from(["n", "a", "A", "b", "ä", "two words", "OS::Glance::Image"])


def often(usual: st.SearchStrategy[Any], unusual: st.SearchStrategy[Any], times: int) -> st.SearchStrategy[Any]:
    """The *usual* so many times as often as the other."""
    return st.integers(0, times).flatmap(lambda number: usual if number else unusual)


names = often(plain, ODD | st.text(max_size=85), 20)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | names
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=8
)


def perhaps(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what is right."""
    return often(right, values, 30)


def document(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A document that is often valid; sometimes with an attribute that nobody knows."""
    strange = often(st.just({}), st.dictionaries(names, values, max_size=1), 20)
    known = st.fixed_dictionaries(
        {name: perhaps(each) for name, each in required.items()},
        optional={name: perhaps(each) for name, each in optional.items()},
    )
    return often(st.builds(lambda first, second: {**second, **first}, known, strange), values, 20)


TYPES = st.sampled_from(["array", "boolean", "integer", "number", "object", "string"])
FIELDS: dict[str, Any] = {
    "description": names,
    "operators": st.lists(names, max_size=3),
    "minimum": numbers,
    "maximum": numbers,
    "maxLength": st.integers(min_value=0),
    "minLength": st.floats(min_value=0, max_value=9),
    "pattern": names,
    "enum": st.lists(names, max_size=3),
    "readonly": st.booleans(),
    "default": values,
    "items": st.fixed_dictionaries({"type": TYPES}, optional={"enum": st.lists(names, max_size=2)}),
    "uniqueItems": st.booleans(),
}
TIMES: dict[str, Any] = {"created_at": names, "self": names}
schemas = document({"title": names, "type": TYPES}, FIELDS)
properties = document({"name": names, "title": names, "type": TYPES}, FIELDS)
objects = document(
    {"name": names},
    {
        "description": names,
        "required": st.lists(names, max_size=3, unique=True),
        "properties": st.dictionaries(names, schemas, max_size=3),
    },
)
tags = document({"name": names}, {})
associations = document({"name": names}, {"prefix": names, "properties_target": names})
namespaces = document(
    {"namespace": names},
    {
        "display_name": names,
        "description": names,
        "visibility": st.sampled_from(["public", "private"]),
        "protected": st.just(False),
        "owner": names,
        "properties": st.dictionaries(names, schemas, max_size=3),
        "objects": st.lists(objects, max_size=3),
        "tags": st.lists(tags, max_size=3),
        "resource_type_associations": st.lists(associations, max_size=3),
    },
)

Step = tuple[str, str, Any]


def path(*parts: str) -> str:
    return "/".join([NAMESPACES, *(quote(part, safe="") for part in parts)])


known = often(st.just("n"), names, 3)
kinds = st.sampled_from(["objects", "properties", "tags", "resource_types"])
bodies = {"objects": objects, "properties": properties, "tags": document({"tags": st.lists(tags, max_size=4)}, {})}
queries = st.dictionaries(
    st.sampled_from(["limit", "marker", "sort_key", "sort_dir", "visibility", "resource_types", "resource_type", "x"]),
    st.sampled_from(["1", "0", "-1", "namespace", "name", "id", "asc", "public", "n", "description", "protected"])
    | names,
    max_size=4,
).map(urlencode)
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("POST"), st.just(NAMESPACES), namespaces),
    st.tuples(st.just("PUT"), st.builds(path, known), namespaces),
    *(st.tuples(st.just("POST"), st.builds(path, known, st.just(kind)), body) for kind, body in bodies.items()),
    *(st.tuples(st.just("PUT"), st.builds(path, known, st.just(kind), known), body) for kind, body in bodies.items()),
    st.tuples(st.just("PUT"), st.builds(path, known, st.just("tags"), names), tags),
    st.tuples(st.just("POST"), st.builds(path, known, st.just("resource_types")), associations),
    st.tuples(st.just("POST"), st.builds(path, known, st.just("tags"), names), st.none()),
    st.tuples(st.just("DELETE"), st.builds(path, known, kinds, names), st.none()),
    st.tuples(st.sampled_from(["GET", "DELETE"]), st.builds(path, known, kinds), st.none()),
    st.tuples(st.just("GET"), st.builds(lambda query: f"{NAMESPACES}?{query}", queries), st.none()),
    st.tuples(
        st.just("GET"), st.builds(lambda name, kind, query: f"{path(name, kind)}?{query}", known, kinds, queries),
        st.none(),
    ),
    st.tuples(st.just("GET"), st.builds(lambda name, query: f"{path(name)}?{query}", known, queries), st.none()),
)  # fmt: skip


class Sender:
    """One connection to the service."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def send(self, method: str, where: str, sent: Any = None) -> tuple[int, Any]:
        body = None if sent is None else json.dumps(sent)
        self._connection.request(method, where, body, {"Accept": JSON})
        reply = self._connection.getresponse()
        said = reply.read()
        return reply.status, json.loads(said) if said else None

    def close(self) -> None:
        self._connection.close()


def test_never_a_failure(daemon: Daemon) -> None:
    """And all that is there can be shown after each request.

    The service is a process of its own: Hypothesis wants the random numbers of this one for itself.
    """
    daemon.start()
    sender = Sender(daemon.port)

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(steps)
    def one(step: Step) -> None:
        if sender.send("GET", path("n"))[0] == 404:
            assert sender.send("POST", NAMESPACES, {"namespace": "n"})[0] == 201
        status, said = sender.send(*step)
        assert status < 500, (step, said)
        status, shown = sender.send("GET", path("n"))
        assert status in (200, 404), shown
        status, listed = sender.send("GET", NAMESPACES)
        assert status == 200, listed
        for each in listed["namespaces"][:1]:
            status, shown = sender.send("GET", path(each["namespace"]))
            assert status in (200, 404), shown

    try:
        one()
    finally:
        sender.close()
