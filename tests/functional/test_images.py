"""The records of images through the API: create, show, list, update, delete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from glancetx.config.image_properties import CustomProperties
from glancetx.config.settings import ImagesSettings
from tests.running import Api, Started, settings_in

CREATE = {"name": "x", "disk_format": "raw", "container_format": "bare", "zeta": "1", "tags": ["b", "a", "a"]}


@pytest_twisted.ensureDeferred
async def test_create(api: Api) -> None:
    """A new image is queued, has Glance's defaults, and is found at its Location."""
    reply = await api.request("POST", "/v2/images", json.dumps(CREATE).encode())
    assert reply.status == 201
    image = reply.json
    assert reply.header("location") == f"{api.url}/v2/images/{image['id']}"
    assert (reply.header("x-openstack-request-id") or "").startswith("req-")
    assert image["status"] == "queued"
    assert image["visibility"] == "shared"
    assert image["zeta"] == "1"
    assert sorted(image["tags"]) == ["a", "b"]
    assert image["size"] is None
    assert await api.show(image["id"]) == image


@pytest_twisted.ensureDeferred
async def test_any_name_of_a_property(api: Api) -> None:
    """A property may be called what an argument of ours is called; what is read-only stays so."""
    reply = await api.request("POST", "/v2/images", json.dumps({"context": "x", "values": "y"}).encode())
    assert (reply.json["context"], reply.json["values"]) == ("x", "y")
    assert (await api.request("POST", "/v2/images", json.dumps({"self": "x"}).encode())).status == 403


@pytest_twisted.ensureDeferred
async def test_create_twice(api: Api) -> None:
    """An id is used once, even after the image was deleted."""
    image_id = await api.create()
    body = json.dumps({"id": image_id}).encode()
    assert (await api.request("POST", "/v2/images", body)).status == 409
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 204
    assert (await api.request("POST", "/v2/images", body)).status == 409


@pytest_twisted.ensureDeferred
async def test_every_version_prefix(api: Api) -> None:
    """The prefixes of all versions lead to the same images."""
    image_id = await api.create()
    for prefix in ("v2", "v2.0", "v2.7", "v2.9"):
        assert (await api.request("GET", f"/{prefix}/images/{image_id}")).status == 200
    accept = "application/vnd.openstack.images-v2.1"
    assert (await api.request("GET", f"/images/{image_id}", Accept=accept)).status == 200


@pytest_twisted.ensureDeferred
async def test_list_pages(api: Api) -> None:
    """Following ``next`` shows every image once."""
    ids = {await api.create(name=f"image {number}") for number in range(7)}
    seen: list[str] = []
    path = "/v2/images?limit=3&sort=name:asc"
    while path:
        page = (await api.request("GET", path)).json
        seen += [image["id"] for image in page["images"]]
        path = page.get("next")
    assert len(seen) == 7
    assert set(seen) == ids


@pytest_twisted.ensureDeferred
async def test_list_filters(api: Api) -> None:
    """Filters by attribute, tag and custom property."""
    await api.create(name="other")
    wanted = await api.create(name="wanted", tags=["t"], os_distro="debian", min_ram=5)
    for query in ("name=wanted", "tag=t", "os_distro=debian", "min_ram=5", f"id=in:{wanted}", "min_ram_min=2"):
        page = (await api.request("GET", f"/v2/images?{query}")).json
        assert [image["id"] for image in page["images"]] == [wanted], query


@pytest_twisted.ensureDeferred
async def test_patch(api: Api) -> None:
    """Changes are applied in order and saved together."""
    image_id = await api.create(zeta="1")
    reply = await api.patch(
        image_id,
        {"op": "replace", "path": "/name", "value": "new"},
        {"op": "add", "path": "/alpha", "value": "2"},
        {"op": "remove", "path": "/zeta"},
        {"op": "replace", "path": "/tags", "value": ["t"]},
    )
    assert reply.status == 200
    image = await api.show(image_id)
    assert (image["name"], image["alpha"], image["tags"]) == ("new", "2", ["t"])
    assert "zeta" not in image


@pytest_twisted.ensureDeferred
async def test_patch_is_all_or_nothing(api: Api) -> None:
    """One change that fails, and nothing is saved."""
    image_id = await api.create(name="old")
    reply = await api.patch(
        image_id,
        {"op": "replace", "path": "/name", "value": "new"},
        {"op": "replace", "path": "/nothing", "value": "x"},
    )
    assert reply.status == 409
    assert (await api.show(image_id))["name"] == "old"


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ({"op": "replace", "path": "/status", "value": "active"}, 403),
        ({"op": "replace", "path": "/deleted", "value": "x"}, 403),
        ({"op": "add", "path": "/os_glance_x", "value": "x"}, 403),
        ({"op": "remove", "path": "/name"}, 403),
        ({"op": "add", "path": "/locations/-", "value": {"url": "file:///etc/passwd", "metadata": {}}}, 403),
        ({"op": "replace", "path": "/name", "value": 1}, 400),
        ({"op": "replace", "path": "/min_disk", "value": -1}, 400),
        ({"op": "add", "path": "/x", "value": "\U0001f600"}, 400),
        ({"op": "remove", "path": "/nothing"}, 409),
    ],
)
@pytest_twisted.ensureDeferred
async def test_patch_refused(api: Api, operation: dict[str, Any], status: int) -> None:
    """What a patch may not do."""
    assert (await api.patch(await api.create(), operation)).status == status


@pytest_twisted.ensureDeferred
async def test_delete(api: Api) -> None:
    """A deleted image is gone, and so is its data; a second delete finds nothing."""
    image_id = await api.create()
    assert (await api.upload(image_id, b"data")).status == 204
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 204
    assert (await api.request("GET", f"/v2/images/{image_id}")).status == 404
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 404
    assert api.stored() == []


@pytest_twisted.ensureDeferred
async def test_delete_protected(api: Api) -> None:
    """Protection holds until it is taken away; data stays."""
    image_id = await api.create(protected=True)
    await api.upload(image_id, b"data")
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 403
    assert api.stored() == [image_id]
    await api.patch(image_id, {"op": "replace", "path": "/protected", "value": False})
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 204


@pytest_twisted.ensureDeferred
async def test_versions(api: Api) -> None:
    """The versions document, with 300 at the root and for unknown versions."""
    for path, status in (("/versions", 200), ("/", 300), ("/v1/images", 300), ("/v3", 300)):
        reply = await api.request("GET", path)
        assert reply.status == status
        versions = reply.json["versions"]
        assert [each["id"] for each in versions if each["status"] == "CURRENT"] == ["v2.17"]
        assert versions[0]["links"] == [{"rel": "self", "href": f"{api.url}/v2/"}]


@pytest_twisted.ensureDeferred
async def test_schemas(api: Api) -> None:
    """The schema documents that clients read before they write."""
    schema = (await api.request("GET", "/v2/schemas/image")).json
    assert schema["additionalProperties"] == {"type": "string"}
    assert (await api.request("GET", "/v2/schemas/images")).json["properties"]["images"]["items"] == schema


@pytest_twisted.ensureDeferred
async def test_usual_properties(api: Api) -> None:
    """What kernel_id and others may be is known beforehand; null is kept and shown where it is allowed (A-027)."""
    schema = (await api.request("GET", "/v2/schemas/image")).json["properties"]
    assert schema["os_distro"]["type"] == "string"
    assert schema["kernel_id"]["is_base"] is False
    image_id = await api.create(kernel_id=None, os_distro="debian")
    assert (await api.show(image_id))["kernel_id"] is None
    for name, value in (("kernel_id", "nope"), ("os_distro", None), ("os_distro", 5)):
        change = {"op": "add", "path": f"/{name}", "value": value}
        assert (await api.patch(image_id, change)).status == 400
    assert (await api.patch(image_id, {"op": "remove", "path": "/kernel_id"})).status == 200
    assert "kernel_id" not in await api.show(image_id)


@pytest_twisted.ensureDeferred
async def test_required_properties(start: Started, tmp_path: Path) -> None:
    """A new image must have them; a change need not name them; numbers are no values of properties."""
    custom = CustomProperties(schemas={"cost": {"type": "string"}, "sum": {"type": "integer"}}, required=("cost",))
    api = await start(settings_in(tmp_path, images=ImagesSettings(custom=custom)))
    assert (await api.request("POST", "/v2/images", b'{"name": "x"}')).status == 400
    assert (await api.request("POST", "/v2/images", b'{"cost": "1", "sum": 1}')).status == 400
    image_id = await api.create(cost="1")
    assert (await api.patch(image_id, {"op": "replace", "path": "/name", "value": "y"})).status == 200
    assert (await api.request("GET", "/v2/schemas/image")).json["required"] == ["cost"]
