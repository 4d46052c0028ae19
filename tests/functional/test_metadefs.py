"""Metadata definitions through the API, as several projects see them (api.md, section 11)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_twisted
from attrs import evolve, frozen
from zope.interface import implementer

from glancetx.interfaces import INotifier
from tests.functional.test_sharing import Believing
from tests.running import Api, Reply, Started, settings_in

NAMESPACES = "/v2/metadefs/namespaces"
TEXT = {"title": "T", "type": "string"}


@implementer(INotifier)
class Collected:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def notify(self, event_type: str, priority: str, payload: Mapping[str, Any] | str) -> None:
        self.told.append((event_type, payload))

    def taken(self) -> list[tuple[str, Any]]:
        """What was told since the last time."""
        told, self.told = self.told, []
        return told


@frozen
class Caller:
    """One project's view of the definitions."""

    api: Api
    notifier: Collected
    project: str = "root"

    async def call(self, method: str, path: str = "", document: Any = None, **headers: str) -> Reply:
        path = path if path.startswith("/v2") else NAMESPACES + path
        return await self.api.send(method, path, document, None, X_Project=self.project, **headers)

    async def get(self, path: str = "") -> Any:
        reply = await self.call("GET", path)
        assert reply.status == 200, reply
        return reply.json

    async def make(self, name: str, **values: Any) -> Any:
        reply = await self.call("POST", "", {"namespace": name, **values})
        assert reply.status == 201, reply
        return reply.json

    def of(self, project: str) -> Caller:
        return evolve(self, project=project)


@pytest_twisted.async_yield_fixture
async def root(start: Started, tmp_path: Path) -> AsyncIterator[Caller]:
    """An administrator of an empty service."""
    notifier = Collected()
    yield Caller(await start(settings_in(tmp_path), authenticator=Believing(), notifier=notifier), notifier)


FULL = {
    "visibility": "public",
    "owner": "ours",
    "resource_type_associations": [{"name": "OS::Glance::Image", "prefix": "hw_"}, {"name": "plain"}],
    "properties": {"p": {**TEXT, "default": 3, "enum": ["3"]}},
    "objects": [{"name": "o", "required": ["q"], "properties": {"q": TEXT}}],
    "tags": [{"name": "t"}],
}


@pytest_twisted.ensureDeferred
async def test_a_namespace_is_shown_with_all_that_is_in_it(root: Caller) -> None:
    """To everybody if it is public; with a resource type's prefix in front of the names, if asked for."""
    made = await root.make("n", **FULL)
    assert made["properties"]["p"]["default"] == "3"
    shown = await root.of("others").get("/n")
    assert shown["objects"][0]["self"] == f"{NAMESPACES}/n/objects/o"
    assert [each["name"] for each in shown["resource_type_associations"]] == ["OS::Glance::Image", "plain"]
    seen = await root.get("/n?resource_type=OS::Glance::Image")
    assert (list(seen["properties"]), seen["objects"][0]["required"]) == (["hw_p"], ["hw_q"])
    assert list(seen["objects"][0]["properties"]) == ["hw_q"]
    assert (await root.get("/n?resource_type=plain"))["properties"] == shown["properties"]


@pytest_twisted.ensureDeferred
async def test_who_sees_what(root: Caller) -> None:
    """A private namespace is there for its project and for administrators; for others it is as if it were not."""
    await root.make("n", owner="ours")
    await root.make("m", owner="theirs", visibility="public")
    listed = {
        project: [each["namespace"] for each in (await root.of(project).get())["namespaces"]]
        for project in ("root", "ours", "theirs", "others")
    }
    assert listed == {"root": ["m", "n"], "ours": ["m", "n"], "theirs": ["m"], "others": ["m"]}
    for path in ("", "/objects", "/properties", "/tags", "/resource_types", "/tags/t", "/objects/o", "/properties/p"):
        hidden = await root.of("others").call("GET", f"/n{path}")
        missing = await root.of("others").call("GET", f"/x{path}")
        assert (hidden.status, hidden.body) == (404, missing.body.replace(b"=x ", b"=n ").replace(b"e x ", b"e n "))
    marked = await root.of("others").call("GET", "?marker=n")
    assert (marked.status, marked.body) == (
        404,
        (await root.of("others").call("GET", "?marker=x")).body.replace(b"=x ", b"=n "),
    )


WRITES = [
    ("POST", "", {"namespace": "new"}),
    ("PUT", "/n", {"namespace": "n"}),
    ("DELETE", "/n", None),
    ("POST", "/n/objects", {"name": "x"}),
    ("PUT", "/n/objects/o", {"name": "o"}),
    ("DELETE", "/n/objects/o", None),
    ("DELETE", "/n/objects", None),
    ("POST", "/n/properties", {"name": "x", **TEXT}),
    ("PUT", "/n/properties/p", {"name": "p", **TEXT}),
    ("DELETE", "/n/properties/p", None),
    ("DELETE", "/n/properties", None),
    ("POST", "/n/tags", {"tags": [{"name": "x"}]}),
    ("POST", "/n/tags/x", None),
    ("PUT", "/n/tags/t", {"name": "t"}),
    ("DELETE", "/n/tags/t", None),
    ("DELETE", "/n/tags", None),
    ("POST", "/n/resource_types", {"name": "x"}),
    ("DELETE", "/n/resource_types/plain", None),
]


@pytest_twisted.ensureDeferred
async def test_only_administrators_write(root: Caller) -> None:
    """Not even the project that owns the namespace; and nothing has changed."""
    await root.make("n", **FULL)
    before = await root.get("/n")
    for method, path, document in WRITES:
        for project in ("ours", "others"):
            assert (await root.of(project).call(method, path, document)).status == 403, (method, path)
    assert await root.get("/n") == before


@pytest_twisted.ensureDeferred
async def test_what_is_protected_is_not_deleted(root: Caller) -> None:
    """Neither the namespace nor what is in it; renaming and adding stay possible, as in Glance."""
    await root.make("n", **FULL, protected=True)
    deletions = [(method, path) for method, path, _ in WRITES if method == "DELETE"]
    for method, path in deletions:
        assert (await root.call(method, path)).status == 403, path
    assert (await root.call("PUT", "/n/objects/o", {"name": "o2"})).status == 200
    assert (await root.call("POST", "/n/tags/x")).status == 201
    assert (await root.call("PUT", "/n", {"namespace": "n"})).json["protected"] is False
    for method, path in deletions[1:]:
        assert (await root.call(method, path)).status in (204, 404), path
    assert (await root.call("DELETE", "/n")).status == 204
    assert (await root.get())["namespaces"] == []


REFUSED: list[Any] = [
    {"objects": [{"name": "a"}, {"name": "\U0001f600"}]},
    {"objects": [{"name": "a"}, {"name": "a"}]},
    {"tags": [{"name": "a"}, {"name": "a"}]},
    {"tags": [{"name": "x" * 81}]},
    {"tags": [{"name": ""}]},
    {"properties": {"x" * 81: TEXT}},
    {"properties": {"p": TEXT | {"enum": [1]}}},
    {"properties": {"p": TEXT | {"description": "x" * 70000}}},
    {"resource_type_associations": [{"name": "a"}, {"name": "a"}]},
    {"resource_type_associations": [{"name": "a", "prefix": "\U0001f600"}]},
    {"objects": [{"name": "a", "required": ["x,y"]}]},
    {"objects": [{"name": "a", "description": "x" * 70000}]},
    {"objects": [{"name": "a", "description": "NUL \0"}]},
]


@pytest.mark.parametrize("part", REFUSED)
@pytest_twisted.ensureDeferred
async def test_all_or_nothing(root: Caller, part: Any) -> None:
    """Of a namespace that is refused nothing stays: not the namespace, not a resource type, and no event."""
    reply = await root.call("POST", "", {"namespace": "n", "resource_type_associations": [{"name": "R"}], **part})
    assert reply.status in (400, 409)
    assert (await root.call("GET", "/n")).status == 404
    assert (await root.get("/v2/metadefs/resource_types"))["resource_types"] == []
    assert root.notifier.told == []


@pytest_twisted.ensureDeferred
async def test_renaming(root: Caller) -> None:
    """Everything can be renamed, but not to a name that is taken; what is inside comes along."""
    await root.make("n", **FULL)
    await root.make("m")
    for path, document in (
        ("/objects", {"name": "o2"}),
        ("/properties", {"name": "p2", **TEXT}),
        ("/tags", {"tags": [{"name": "t"}, {"name": "t2"}]}),
    ):
        assert (await root.call("POST", f"/n{path}", document)).status == 201
    for path, document in (
        ("", {"namespace": "m"}),
        ("/objects/o", {"name": "o2"}),
        ("/properties/p", {"name": "p2", **TEXT}),
        ("/tags/t", {"name": "t2"}),
    ):
        assert (await root.call("PUT", f"/n{path}", document)).status == 409, path
    for path, document in (
        ("/objects/o", {"name": "o3"}),
        ("/properties/p", {"name": "p3", **TEXT}),
        ("/tags/t", {"name": "t3"}),
        ("", {"namespace": "n3"}),
    ):
        assert (await root.call("PUT", f"/n{path}", document)).status == 200, path
    shown = await root.get("/n3")
    assert [each["name"] for each in shown["objects"]] == ["o2", "o3"]
    assert list(shown["properties"]) == ["p2", "p3"]
    assert {each["name"] for each in shown["tags"]} == {"t2", "t3"}
    assert (await root.call("GET", "/n")).status == 404


@pytest_twisted.ensureDeferred
async def test_names_beyond_ascii(root: Caller) -> None:
    """A name is found by what its own link says."""
    reply = await root.call("POST", "", {"namespace": "grün & blau: 100%"})
    assert reply.json["self"] == f"{NAMESPACES}/grün & blau: 100%25"
    assert reply.header("Location") == root.api.url + NAMESPACES + "/" + quote("grün & blau: 100%", safe=":")
    assert (await root.get(quote(reply.json["self"], safe="/%")))["namespace"] == "grün & blau: 100%"
    item = (await root.call("POST", quote("/grün & blau: 100%") + "/objects", {"name": "weiß?"})).json
    assert (await root.get(quote(item["self"], safe="/%")))["name"] == "weiß?"
    assert (await root.call("POST", quote("/grün & blau: 100%/tags/ä#"))).json["name"] == "ä#"


@pytest.mark.parametrize("query", ["", "sort_key=namespace&sort_dir=asc&", "sort_key=display_name&"])
@pytest_twisted.ensureDeferred
async def test_pages(root: Caller, query: str) -> None:
    """Following the links shows every namespace once, in the order of the whole list, with or without a value."""
    for number in range(7):
        named = {"display_name": f"d{number % 3}"} if number % 2 else {}
        await root.make(f"n{number}", **named)
    seen: list[str] = []
    link = f"{NAMESPACES}?{query}limit=2"
    while link:
        page = await root.get(link)
        seen += [each["namespace"] for each in page["namespaces"]]
        link = page.get("next")
    assert seen == [each["namespace"] for each in (await root.get(f"?{query}"))["namespaces"]]
    assert len(set(seen)) == 7


@pytest_twisted.ensureDeferred
async def test_tags_in_bulk(root: Caller) -> None:
    """They replace those that are there, or are appended; a name twice changes nothing."""
    await root.make("n")

    async def names() -> list[str]:
        return [each["name"] for each in (await root.get("/n/tags"))["tags"]]

    def many(*tags: str) -> Any:
        return {"tags": [{"name": each} for each in tags]}

    assert (await root.call("POST", "/n/tags", many("a", "b"))).status == 201
    assert (await root.call("POST", "/n/tags", many("c", "c"))).status == 409
    assert (await root.call("POST", "/n/tags", many("c"), X_Openstack_Append="true")).status == 201
    assert (await root.call("POST", "/n/tags", many("d", "a"), X_Openstack_Append="true")).status == 409
    assert sorted(await names()) == ["a", "b", "c"]
    assert (await root.call("POST", "/n/tags", many("z"))).status == 201
    assert await names() == ["z"]
    assert (await root.call("POST", "/n/tags", {})).status == 400


@pytest_twisted.ensureDeferred
async def test_a_property_by_its_name_on_a_resource(root: Caller) -> None:
    """The name must carry the prefix of the association, if it has one."""
    await root.make("n", **FULL)
    await root.make("m", resource_type_associations=[{"name": "elsewhere"}])
    assert (await root.get("/n/properties/hw_p?resource_type=OS::Glance::Image"))["name"] == "p"
    assert (await root.get("/n/properties/p?resource_type=plain"))["name"] == "p"
    for path in ("p?resource_type=OS::Glance::Image", "p?resource_type=elsewhere", "p?resource_type=nowhere"):
        assert (await root.call("GET", f"/n/properties/{path}")).status == 404


@pytest_twisted.ensureDeferred
async def test_events(root: Caller) -> None:
    """Each change is told, with the name before it; deleting a namespace is one event."""
    await root.make("n", **FULL)
    assert [name for name, _ in root.notifier.taken()] == [
        "metadef_namespace.create", "metadef_resource_type.create", "metadef_resource_type.create",
        "metadef_object.create", "metadef_tag.create", "metadef_property.create",
    ]  # fmt: skip
    await root.call("PUT", "/n/objects/o", {"name": "o2"})
    await root.call("PUT", "/n", {"namespace": "m"})
    told = root.notifier.taken()
    assert [(name, payload.get("name_old") or payload["namespace_old"]) for name, payload in told] == [
        ("metadef_object.update", "o"),
        ("metadef_namespace.update", "n"),
    ]
    for path in ("/m/objects", "/m/properties/p", "/m/tags/t", "/m/resource_types/plain", "/m"):
        assert (await root.call("DELETE", path)).status == 204
    told = root.notifier.taken()
    assert [name for name, _ in told] == [
        "metadef_namespace.delete_objects", "metadef_property.delete", "metadef_tag.delete",
        "metadef_resource_type.delete", "metadef_namespace.delete",
    ]  # fmt: skip
    assert [payload["deleted"] for _, payload in told] == [False, True, True, True, True]


@pytest_twisted.ensureDeferred
async def test_schemas(root: Caller) -> None:
    """There is one for each document, and each for its list."""
    for name in ("namespace", "object", "property", "tag", "resource_type"):
        assert (await root.get(f"/v2/schemas/metadefs/{name}"))["name"].startswith(name)
    for name in ("namespaces", "objects", "properties", "tags", "resource_types"):
        assert "next" in (await root.get(f"/v2/schemas/metadefs/{name}"))["properties"]
    assert (await root.call("GET", "/v2/schemas/metadefs/nothing")).status == 404


@pytest_twisted.ensureDeferred
async def test_nobody_has_such_a_name(root: Caller) -> None:
    """A NUL, which some databases cannot even be asked for, is in no name."""
    await root.make("n")
    for path in ("/%00", "/n/tags/%00", "/n/objects/%00", "/n/properties/%00", "/%00/tags"):
        assert (await root.call("GET", path)).status == 404
    assert (await root.call("DELETE", "/n/resource_types/%00")).status == 404
    assert (await root.call("POST", "/n/tags/%00")).status == 400
