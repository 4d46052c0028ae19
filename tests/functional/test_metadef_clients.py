"""Every command of ``glance md-*`` and ``openstack image metadef``, against a daemon with TLS and accounts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud import ALICE, Client, Cloud


class Terminal:
    """Somebody who types one command after the other."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def glance(self, command: str, *arguments: object) -> dict[str, str]:
        """What a command that must succeed shows of one thing."""
        return read_table(self.done("glance", command, *arguments))

    def column(self, command: str, *arguments: object) -> list[str]:
        """The first column of a list that is shown."""
        return list(read_table(self.done("glance", command, *arguments)))

    def openstack(self, *arguments: object) -> str:
        """What an ``openstack image metadef`` command that must succeed prints."""
        return self.done("openstack", "image", "metadef", *arguments)

    def ask(self, *arguments: object) -> Any:
        """The same as JSON."""
        return json.loads(self.openstack(*arguments, "-f", "json"))

    def run(self, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return self._client.run(program, *arguments)

    def done(self, program: str, *arguments: object) -> str:
        typed = self.run(program, *arguments)
        assert typed.returncode == 0, typed
        return typed.stdout

    def refused(self, program: str, *arguments: object) -> str:
        """What a command that must fail says."""
        typed = self.run(program, *arguments)
        assert typed.returncode != 0, typed
        return typed.stdout + typed.stderr


def read_table(text: str) -> dict[str, str]:
    """The first two columns of a table that is drawn with characters, without its head."""
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1] if len(row) > 1 else "" for row in rows[1:]}


@pytest.fixture(scope="module")
def admin(cloud: Cloud) -> Terminal:
    return Terminal(cloud.client())


@pytest.fixture(scope="module")
def alice(cloud: Cloud) -> Terminal:
    """Works for another project, and is no administrator."""
    return Terminal(cloud.client(ALICE))


@pytest.fixture
def space(admin: Terminal, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty public namespace, for one test."""
    name = f"OS::Test::{request.node.name}"
    admin.glance("md-namespace-create", name, "--visibility", "public")
    yield name
    admin.glance("md-namespace-delete", name)


TYPED = json.dumps({"type": "string", "title": "T", "enum": ["a", "b"], "default": "a"})


def test_glance_namespaces(admin: Terminal, alice: Terminal, cloud: Cloud) -> None:
    """Created, listed by what is visible, imported, updated and deleted."""
    made = admin.glance("md-namespace-create", "OS::One", "--visibility", "private", "--description", "first")
    assert (made["namespace"], made["owner"], made["protected"]) == ("OS::One", "admin", "False")
    document = {"namespace": "OS::Two", "visibility": "public", "tags": [{"name": "t"}], "objects": [{"name": "o"}]}
    file = Path(cloud.folder, "two.json")
    file.write_text(json.dumps(document))
    assert admin.glance("md-namespace-import", "--file", file)["namespace"] == "OS::Two"
    assert "OS::Two" in admin.column("md-namespace-list", "--visibility", "public", "--page-size", "1")
    assert {"OS::One", "OS::Two"} <= set(admin.column("md-namespace-list", "--page-size", "1"))
    assert "OS::One" not in alice.column("md-namespace-list")
    assert alice.glance("md-namespace-show", "OS::Two")["objects"] == '["o"]'
    assert "404" in alice.refused("glance", "md-namespace-show", "OS::One")
    assert "403" in alice.refused("glance", "md-namespace-delete", "OS::Two")
    changed = admin.glance("md-namespace-update", "OS::One", "--namespace", "OS::New", "--protected", "True")
    assert (changed["namespace"], changed["protected"]) == ("OS::New", "True")
    assert "403" in admin.refused("glance", "md-namespace-delete", "OS::New")
    admin.glance("md-namespace-update", "OS::New", "--protected", "False")
    admin.glance("md-namespace-delete", "OS::New")
    admin.glance("md-namespace-delete", "OS::Two")
    assert "404" in admin.refused("glance", "md-namespace-show", "OS::New")


def test_glance_objects(admin: Terminal, space: str) -> None:
    """Created, listed, shown down to one property, updated and deleted, one and all."""
    schema = json.dumps({"description": "d", "required": ["p"], "properties": {"p": json.loads(TYPED)}})
    assert admin.glance("md-object-create", space, "--name", "o", "--schema", schema)["required"] == '["p"]'
    admin.glance("md-object-create", space, "--name", "other", "--schema", "{}")
    assert admin.column("md-object-list", space) == ["o", "other"]
    assert admin.glance("md-object-show", space, "o")["description"] == "d"
    assert admin.glance("md-object-property-show", space, "o", "p")["default"] == "a"
    assert admin.glance("md-object-update", space, "o", "--name", "new", "--schema", schema)["name"] == "new"
    admin.glance("md-object-delete", space, "other")
    assert admin.column("md-object-list", space) == ["new"]
    admin.glance("md-namespace-objects-delete", space)
    assert admin.column("md-object-list", space) == []


def test_glance_properties(admin: Terminal, space: str) -> None:
    """Created, listed, shown, updated and deleted, one and all."""
    options = ("--title", "T", "--type", "string", "--schema")
    made = admin.glance("md-property-create", space, "--name", "p", *options, TYPED)
    assert (made["name"], made["enum"]) == ("p", '["a", "b"]')
    admin.glance("md-property-create", space, "--name", "q", *options, "{}")
    assert admin.column("md-property-list", space) == ["p", "q"]
    assert admin.glance("md-property-show", space, "p")["title"] == "T"
    changed = admin.glance(
        "md-property-update", space, "p", "--name", "r", "--schema", '{"title": "R", "type": "integer"}'
    )
    assert (changed["name"], changed["title"], changed["type"]) == ("r", "R", "integer")
    admin.glance("md-property-delete", space, "q")
    assert admin.column("md-property-list", space) == ["r"]
    admin.glance("md-namespace-properties-delete", space)
    assert admin.column("md-property-list", space) == []


def test_glance_tags(admin: Terminal, space: str) -> None:
    """Created one by one, many at once, and appended; renamed; deleted, one and all."""
    assert admin.glance("md-tag-create", space, "--name", "one")["name"] == "one"
    admin.glance("md-tag-create-multiple", space, "--names", "a:b", "--delim", ":")
    assert sorted(admin.column("md-tag-list", space)) == ["a", "b"]
    typed = admin.run("glance", "md-tag-create-multiple", space, "--names", "c,d", "--append")
    if typed.returncode != 0:  # glanceclient 4.13 fails before it sends anything: its header is no text
        assert "quote_from_bytes" in typed.stderr
        for name in ("c", "d"):
            admin.glance("md-tag-create", space, "--name", name)
    assert sorted(admin.column("md-tag-list", space)) == ["a", "b", "c", "d"]
    assert "409" in admin.refused("glance", "md-tag-create", space, "--name", "a")
    assert admin.glance("md-tag-update", space, "a", "--name", "z")["name"] == "z"
    assert admin.glance("md-tag-show", space, "z")["name"] == "z"
    admin.glance("md-tag-delete", space, "z")
    assert sorted(admin.column("md-tag-list", space)) == ["b", "c", "d"]
    admin.glance("md-namespace-tags-delete", space)
    assert admin.column("md-tag-list", space) == []


def test_glance_resource_types(admin: Terminal, space: str) -> None:
    """Associated, listed by namespace and in all, used as a filter and for names, and dissociated."""
    made = admin.glance("md-resource-type-associate", space, "--name", "OS::Test::Thing", "--prefix", "x_")
    assert made["prefix"] == "x_"
    assert admin.column("md-namespace-resource-type-list", space) == ["OS::Test::Thing"]
    assert "OS::Test::Thing" in admin.column("md-resource-type-list")
    assert admin.column("md-namespace-list", "--resource-types", "OS::Test::Thing") == [space]
    admin.glance("md-property-create", space, "--name", "p", "--title", "T", "--type", "string", "--schema", "{}")
    assert admin.glance("md-namespace-show", space, "--resource-type", "OS::Test::Thing")["properties"] == '["x_p"]'
    admin.glance("md-resource-type-deassociate", space, "OS::Test::Thing")
    assert admin.column("md-namespace-resource-type-list", space) == []


def test_openstack_namespaces(admin: Terminal, alice: Terminal) -> None:
    """Created, listed, shown, set and deleted."""
    made = admin.ask("namespace", "create", "--private", "--description", "d", "--display-name", "D", "OS::Three")
    assert (made["namespace"], made["visibility"], made["description"]) == ("OS::Three", "private", "d")
    assert {"namespace": "OS::Three"} in admin.ask("namespace", "list", "--visibility", "private")
    assert {"namespace": "OS::Three"} not in alice.ask("namespace", "list")
    assert "OS::Three" in alice.refused("openstack", "image", "metadef", "namespace", "show", "OS::Three")
    admin.openstack("namespace", "set", "--public", "--description", "new", "OS::Three")
    shown = alice.ask("namespace", "show", "OS::Three")
    assert (shown["visibility"], shown["description"]) == ("public", "new")
    admin.openstack("namespace", "delete", "OS::Three")
    assert {"namespace": "OS::Three"} not in admin.ask("namespace", "list")


def test_openstack_objects(admin: Terminal, space: str) -> None:
    """Created, listed, shown down to one property, renamed and deleted."""
    assert admin.ask("object", "create", "--namespace", space, "o")["name"] == "o"
    schema = json.dumps({"properties": {"p": json.loads(TYPED)}})
    admin.glance("md-object-create", space, "--name", "full", "--schema", schema)
    assert [each["name"] for each in admin.ask("object", "list", space)] == ["full", "o"]
    assert admin.ask("object", "show", space, "full")["properties"]["p"]["title"] == "T"
    assert admin.ask("object", "property", "show", space, "full", "p")["default"] == "a"
    admin.openstack("object", "update", "--name", "new", space, "full")
    admin.openstack("object", "delete", space, "o", "new")
    assert admin.ask("object", "list", space) == []


def test_openstack_properties(admin: Terminal, space: str) -> None:
    """Created, listed, shown, set and deleted."""
    options = ("--name", "p", "--title", "T", "--type", "string", "--schema", TYPED)
    assert admin.ask("property", "create", *options, space)["name"] == "p"
    assert [each["name"] for each in admin.ask("property", "list", space)] == ["p"]
    assert admin.ask("property", "show", space, "p")["enum"] == ["a", "b"]
    admin.openstack("property", "set", "--name", "q", "--title", "Q", "--type", "string", "--schema", "{}", space, "p")
    assert admin.ask("property", "show", space, "q")["title"] == "Q"
    admin.openstack("property", "delete", space, "q")
    assert admin.ask("property", "list", space) == []


def test_openstack_resource_types(admin: Terminal, space: str) -> None:
    """Associated, listed and dissociated."""
    association = ("resource", "type", "association")
    made = admin.ask(*association, "create", "--properties-target", "image", space, "OS::Test::Other")
    assert made["name"] == "OS::Test::Other"
    assert [each["Name"] for each in admin.ask(*association, "list", space)] == ["OS::Test::Other"]
    assert "OS::Test::Other" in [each["Name"] for each in admin.ask("resource", "type", "list")]
    admin.openstack(*association, "delete", space, "OS::Test::Other")
    assert admin.ask(*association, "list", space) == []
