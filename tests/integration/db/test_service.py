"""Two services on one database, of every kind, and clients who want the same thing at the same time."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve, frozen
from twisted.internet.defer import ensureDeferred, gatherResults

from tests.running import Api, Reply, Started, settings_in
from tests.services.databases import DatabaseServer
from tests.services.mariadb import MariaDb

pytestmark = pytest.mark.parametrize("server", ["sqlite", "mariadb", "postgresql"], indirect=True)

CROWD = 12


@frozen
class Pair:
    """Two services that share a database and a store."""

    first: Api
    second: Api

    def crowd(self) -> list[Api]:
        """As many clients as there are calls to be made at once, half of them at each service."""
        return [self.first, self.second] * (CROWD // 2)


@pytest_twisted.async_yield_fixture
async def pair(start: Started, tmp_path: Path) -> AsyncIterator[Pair]:
    settings = settings_in(tmp_path)
    settings = evolve(settings, images=evolve(settings.images, image_member_quota=5))
    yield Pair(await start(settings), await start(settings))


async def all_of(calls: Iterable[Awaitable[Reply]]) -> list[Reply]:
    """All at once."""
    return await gatherResults([ensureDeferred(call) for call in calls], consumeErrors=True)  # type: ignore[arg-type]


def statuses(replies: list[Reply]) -> Counter[int]:
    return Counter(reply.status for reply in replies)


def body(**document: Any) -> bytes:
    return json.dumps(document).encode()


@pytest_twisted.ensureDeferred
async def test_one_id(pair: Pair) -> None:
    """Of many who create an image of one id, one does, and it is whole; the others are told (A-030)."""
    image_id = str(uuid.uuid4())
    replies = await all_of(
        api.request("POST", "/v2/images", body(id=image_id, name=f"{number}", tags=["t"], of=f"{number}"))
        for number, api in enumerate(pair.crowd())
    )
    assert statuses(replies) == {201: 1, 409: CROWD - 1}
    shown = await pair.first.show(image_id)
    assert (shown["of"], shown["tags"]) == (shown["name"], ["t"])


@pytest_twisted.ensureDeferred
async def test_patches_at_once(pair: Pair) -> None:
    """Of many changes made at once none is lost."""
    image_id = await pair.first.create(name="old", tags=["old"])
    patches = [
        api.patch(image_id, {"op": "add", "path": f"/p{number}", "value": "x"})
        for number, api in enumerate(pair.crowd())
    ]
    patches.append(pair.second.patch(image_id, {"op": "replace", "path": "/name", "value": "new"}))
    tags = [api.request("PUT", f"/v2/images/{image_id}/tags/t{number}") for number, api in enumerate(pair.crowd())]
    assert statuses(await all_of([*patches, *tags])) == {200: CROWD + 1, 204: CROWD}
    shown = await pair.second.show(image_id)
    assert {name for name in shown if name.startswith("p") and name[1:].isdigit()} == {f"p{n}" for n in range(CROWD)}
    assert (shown["name"], set(shown["tags"])) == ("new", {"old", *(f"t{n}" for n in range(CROWD))})


@pytest_twisted.ensureDeferred
async def test_one_property(pair: Pair) -> None:
    """A property that many add and remove at once is there or not; nobody is told of a fault."""
    image_id = await pair.first.create()
    changes = ({"op": "add", "path": "/p", "value": "x"}, {"op": "remove", "path": "/p"})
    for _ in range(3):
        replies = await all_of(api.patch(image_id, changes[n % 2]) for n, api in enumerate(pair.crowd()))
        assert set(statuses(replies)) <= {200, 409}  # 409: to remove what is not there
    await pair.first.patch(image_id, changes[0])
    assert (await pair.second.show(image_id))["p"] == "x"


@pytest_twisted.ensureDeferred
async def test_one_upload(pair: Pair) -> None:
    """Of many who upload to one image, one does."""
    image_id = await pair.first.create()
    replies = await all_of(api.upload(image_id, b"%d" % n * 9) for n, api in enumerate(pair.crowd()))
    assert statuses(replies) == {204: 1, 409: CROWD - 1}
    data = (await pair.second.request("GET", f"/v2/images/{image_id}/file")).body
    assert (await pair.second.show(image_id))["size"] == len(data)
    assert pair.first.stored() == [image_id]


@pytest_twisted.ensureDeferred
async def test_patch_while_uploading(pair: Pair) -> None:
    """What is changed while data arrives is kept, by whichever service."""
    image_id = await pair.first.create()
    patches = [api.patch(image_id, {"op": "add", "path": f"/p{n}", "value": "x"}) for n, api in enumerate(pair.crowd())]
    replies = await all_of([pair.first.upload(image_id, b"data" * 9999), *patches])
    assert replies[0].status == 204
    # 409: the status changed between the read and the save of a patch
    kept = [number for number, reply in enumerate(replies[1:]) if reply.status == 200]
    assert set(statuses(replies[1:])) <= {200, 409}
    shown = await pair.second.show(image_id)
    assert (shown["status"], shown["size"]) == ("active", 4 * 9999)
    assert [number for number in range(CROWD) if f"p{number}" in shown] == kept


@pytest_twisted.ensureDeferred
async def test_members_at_once(pair: Pair) -> None:
    """A project becomes a member once, and no more of them than allowed."""
    image_id = await pair.first.create(visibility="shared")
    path = f"/v2/images/{image_id}/members"
    assert statuses(await all_of(api.request("POST", path, body(member="a")) for api in pair.crowd())) == {
        200: 1, 409: CROWD - 1
    }  # fmt: skip
    more = await all_of(api.request("POST", path, body(member=f"m{n}")) for n, api in enumerate(pair.crowd()))
    assert statuses(more) == {200: 4, 413: CROWD - 4}
    listed = (await pair.second.request("GET", path)).json["members"]
    assert len({member["member_id"] for member in listed}) == len(listed) == 5


@pytest_twisted.ensureDeferred
async def test_deletes_at_once(pair: Pair) -> None:
    """One delete does it, and nothing is left; the id stays taken."""
    image_id = await pair.first.create()
    assert (await pair.first.upload(image_id, b"data")).status == 204
    replies = await all_of(api.request("DELETE", f"/v2/images/{image_id}") for api in pair.crowd())
    assert 204 in statuses(replies)
    assert set(statuses(replies)) <= {204, 404, 409}
    assert pair.first.stored() == []
    assert (await pair.second.request("GET", f"/v2/images/{image_id}")).status == 404
    assert (await pair.second.request("POST", "/v2/images", body(id=image_id))).status == 409


@pytest_twisted.ensureDeferred
async def test_changes_while_deleted(pair: Pair) -> None:
    """Who changes an image that is deleted meanwhile is told that it is not there."""
    for _ in range(3):
        image_id = await pair.first.create(tags=["old"])
        changes = [
            api.patch(image_id, {"op": "add", "path": f"/p{n}", "value": "x"}) for n, api in enumerate(pair.crowd())
        ]
        changes.insert(4, pair.second.request("DELETE", f"/v2/images/{image_id}"))
        assert set(statuses(await all_of(changes))) <= {200, 204, 404}


@pytest_twisted.ensureDeferred
async def test_names_that_look_alike(pair: Pair, server: DatabaseServer) -> None:
    """MariaDB cannot keep two properties whose names differ in case only; one may follow the other."""
    image_id = await pair.first.create(foo="1")
    both = await pair.first.patch(image_id, {"op": "add", "path": "/Foo", "value": "2"})
    assert both.status == (409 if isinstance(server, MariaDb) else 200)
    replaced = await pair.first.patch(
        image_id, {"op": "remove", "path": "/foo"}, {"op": "add", "path": "/FOO", "value": "3"}
    )
    assert replaced.status == 200
    shown = await pair.second.show(image_id)
    assert "foo" not in shown
    assert shown["FOO"] == "3"
    twice = await pair.first.request("POST", "/v2/images", body(a="1", A="2"))
    assert twice.status == (409 if isinstance(server, MariaDb) else 201)


@pytest_twisted.ensureDeferred
async def test_projects_that_look_alike(pair: Pair) -> None:
    """A tag, a member and an id are found as they are written only, whatever the database takes for the same."""
    image_id = await pair.first.create(visibility="shared", tags=["Tag"], id=str(uuid.uuid4()).upper())
    path = f"/v2/images/{image_id}"
    assert (await pair.first.request("POST", f"{path}/members", body(member="Ops"))).status == 200
    assert (await pair.second.request("GET", f"{path}/members/ops")).status == 404
    assert (await pair.second.request("GET", f"{path}/members/Ops")).status == 200
    assert (await pair.second.request("DELETE", f"{path}/tags/tag")).status == 404
    assert (await pair.second.request("GET", path.lower())).status == 404


@pytest_twisted.ensureDeferred
async def test_any_text(pair: Pair) -> None:
    """Every character that images may have comes back, and may be asked for."""
    name = "grüße 日本 '\"\\%_;--"
    image_id = await pair.first.create(name=name, quoted="'\"\\\n%(x)s :y ?", tags=["ü%"])
    shown = await pair.second.show(image_id)
    assert (shown["name"], shown["quoted"], shown["tags"]) == (name, "'\"\\\n%(x)s :y ?", ["ü%"])
    for query in ("name=gr%C3%BC%C3%9Fe+%E6%97%A5%E6%9C%AC+'%22%5C%25_;--", "tag=%C3%BC%25"):
        listed = (await pair.first.request("GET", f"/v2/images?{query}")).json["images"]
        assert [image["id"] for image in listed] == [image_id]
    for query in ("name=%F0%9F%98%80", "tag=%F0%9F%98%80", "x=%F0%9F%98%80", "size_min=99999999999999999999"):
        assert (await pair.first.request("GET", f"/v2/images?{query}")).json["images"] == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "query",
    ["min_ram=99999999999", "min_ram_max=99999999999", "min_disk_min=-99999999999", "size=-1", "id=x", "status=none"],
)
async def test_numbers_out_of_range(pair: Pair, query: str) -> None:
    """A filter may ask for what no column can hold."""
    await pair.first.create(min_ram=1)
    listed = (await pair.first.request("GET", f"/v2/images?{query}")).json["images"]
    assert len(listed) == (1 if "_max" in query or "_min=" in query else 0)


@pytest_twisted.ensureDeferred
async def test_value_too_long(pair: Pair, server: DatabaseServer) -> None:
    """What the column cannot hold is refused, not cut, and nothing of the image is written."""
    made = await pair.first.request("POST", "/v2/images", body(long="ü" * 40_000))
    assert made.status == (400 if isinstance(server, MariaDb) else 201)
    listed = (await pair.second.request("GET", "/v2/images")).json["images"]
    assert [image["long"] for image in listed] == ([] if isinstance(server, MariaDb) else ["ü" * 40_000])
