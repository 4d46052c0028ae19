"""Members, tags, and taking images out of use, through the API, as several projects see it (api.md, A-160..A-176)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_twisted
from zope.interface import implementer

from glancetx.config.settings import ImagesSettings
from glancetx.domain.context import RequestContext
from glancetx.interfaces import IAuthenticator
from tests.running import Api, Reply, Started, settings_in

OWNER, FRIEND, STRANGER = "owner", "friend", "stranger"


@implementer(IAuthenticator)
class Believing:
    """Whoever says that he works for a project does so, as a member; who works for ``root`` is an administrator."""

    challenge = 'Basic realm="test"'

    async def identify(self, header: Any, request_id: str) -> RequestContext:
        project = header("x-project")
        roles = frozenset({"reader", "member"} | ({"admin"} if project == "root" else set()))
        return RequestContext(request_id=request_id, project_id=project, roles=roles, is_admin=project == "root")


class Caller:
    """One project's view of an image."""

    def __init__(self, api: Api, project: str, image_id: str = "") -> None:
        self._api, self.project, self.image_id = api, project, image_id

    async def call(self, method: str, path: str = "", document: Any = None, body: bytes | None = None) -> Reply:
        return await self._api.send(method, f"/v2/images/{self.image_id}{path}", document, body, X_Project=self.project)

    async def get(self, path: str) -> Reply:
        """Something that is not below the image."""
        return await self._api.send("GET", path, None, None, X_Project=self.project)

    async def accept(self, status: str = "accepted") -> Reply:
        return await self.call("PUT", f"/members/{self.project}", {"status": status})

    def of(self, project: str) -> Caller:
        return Caller(self._api, project, self.image_id)


@pytest_twisted.async_yield_fixture
async def owner(start: Started, tmp_path: Path) -> AsyncIterator[Caller]:
    """Owns an image which is ready to be shared."""
    settings = settings_in(tmp_path, images=ImagesSettings(image_member_quota=2, image_tag_quota=2))
    api = await start(settings, authenticator=Believing())
    formats = {"name": "x", "disk_format": "raw", "container_format": "bare"}
    reply = await api.send("POST", "/v2/images", formats, None, X_Project=OWNER)
    yield Caller(api, OWNER, reply.json["id"])


@pytest_twisted.ensureDeferred
async def test_share_and_accept(owner: Caller) -> None:
    """A pending member sees the image if he knows its id; once he accepts, his list has it."""
    friend = owner.of(FRIEND)
    assert (await friend.call("GET")).status == 404
    added = await owner.call("POST", "/members", {"member": FRIEND})
    assert added.status == 200
    assert list(added.json) == ["member_id", "image_id", "status", "created_at", "updated_at", "schema"]
    assert (added.json["member_id"], added.json["status"]) == (FRIEND, "pending")
    assert (await friend.call("GET")).status == 200
    assert (await friend.get("/v2/images")).json["images"] == []
    assert (await friend.accept()).json["status"] == "accepted"
    listed = await friend.get("/v2/images")
    assert [image["id"] for image in listed.json["images"]] == [owner.image_id]
    assert (await owner.of(STRANGER).call("GET")).status == 404


@pytest_twisted.ensureDeferred
async def test_who_sees_which_members(owner: Caller) -> None:
    """The owner sees all, a member itself, a stranger not even the image."""
    for project in (FRIEND, "other"):
        await owner.call("POST", "/members", {"member": project})
    seen = {}
    for project in (OWNER, FRIEND, "root"):
        reply = await owner.of(project).call("GET", "/members")
        seen[project] = [member["member_id"] for member in reply.json["members"]]
    assert seen == {OWNER: [FRIEND, "other"], FRIEND: [FRIEND], "root": [FRIEND, "other"]}
    assert (await owner.of(STRANGER).call("GET", "/members")).status == 404
    assert (await owner.of(FRIEND).call("GET", f"/members/{FRIEND}")).status == 200
    assert (await owner.of(FRIEND).call("GET", "/members/other")).status == 404


@pytest_twisted.ensureDeferred
async def test_who_may_answer_for_a_member(owner: Caller) -> None:
    """The member itself and administrators; the owner not, and nobody may answer nonsense."""
    await owner.call("POST", "/members", {"member": FRIEND})
    assert (await owner.call("PUT", f"/members/{FRIEND}", {"status": "accepted"})).status == 403
    assert (await owner.of(FRIEND).accept("maybe")).status == 400
    assert (await owner.of(FRIEND).call("PUT", f"/members/{FRIEND}", {})).status == 400
    assert (await owner.of(FRIEND).call("PUT", f"/members/{FRIEND}", [])).status == 400
    assert (await owner.of(FRIEND).call("POST", "/members", {"member": "more"})).status == 403
    reply = await owner.of("root").call("PUT", f"/members/{FRIEND}", {"status": "rejected"})
    assert (reply.status, reply.json["status"]) == (200, "rejected")
    assert (await owner.of("root").call("PUT", "/members/nobody", {"status": "rejected"})).status == 404


@pytest_twisted.ensureDeferred
async def test_end_and_begin_again(owner: Caller) -> None:
    """A membership can be ended; a new one is pending, and its row will survive a purge."""
    await owner.call("POST", "/members", {"member": FRIEND})
    await owner.of(FRIEND).accept()
    assert (await owner.of(FRIEND).call("DELETE", f"/members/{FRIEND}")).status == 403
    assert (await owner.call("DELETE", f"/members/{FRIEND}")).status == 204
    assert (await owner.call("DELETE", f"/members/{FRIEND}")).status == 404
    assert (await owner.of(FRIEND).call("GET")).status == 404
    assert (await owner.call("POST", "/members", {"member": FRIEND})).json["status"] == "pending"
    assert (await owner.call("GET", "/members")).json["members"][0]["member_id"] == FRIEND


NOBODIES = [{}, [], "x", {"member": ""}, {"member": None}, {"member": ["a"]}, {"member": True}, {"member": "x" * 256}]


@pytest.mark.parametrize("document", NOBODIES)
@pytest_twisted.ensureDeferred
async def test_no_member(owner: Caller, document: Any) -> None:
    """What is no project cannot become a member."""
    assert (await owner.call("POST", "/members", document)).status == 400


@pytest_twisted.ensureDeferred
async def test_member_limits(owner: Caller) -> None:
    """Twice the same is a conflict; more than the quota is too much; a number is an id too."""
    assert (await owner.call("POST", "/members", {"member": 7})).json["member_id"] == "7"
    assert (await owner.call("POST", "/members", {"member": "7"})).status == 409
    assert (await owner.call("POST", "/members", {"member": "8"})).status == 200
    assert (await owner.call("POST", "/members", {"member": "9"})).status == 413


@pytest_twisted.ensureDeferred
async def test_only_shared_images_have_members(owner: Caller) -> None:
    """A private image has none, and says so."""
    patch = b'[{"op": "replace", "path": "/visibility", "value": "private"}]'
    assert (await owner.call("PATCH", "", None, patch)).status == 200
    assert (await owner.call("POST", "/members", {"member": FRIEND})).status == 403
    assert (await owner.call("GET", "/members")).status == 403
    assert (await owner.call("GET", f"/members/{FRIEND}")).status == 404
    assert (await owner.call("DELETE", f"/members/{FRIEND}")).status == 403


@pytest_twisted.ensureDeferred
async def test_tags(owner: Caller) -> None:
    """A tag is added once and removed once; its name is decoded as UTF-8."""
    for _ in range(2):
        assert (await owner.call("PUT", f"/tags/{quote('grün')}")).status == 204
    assert (await owner.call("GET")).json["tags"] == ["grün"]
    assert (await owner.call("DELETE", f"/tags/{quote('grün')}")).status == 204
    assert (await owner.call("DELETE", f"/tags/{quote('grün')}")).status == 404
    assert (await owner.call("GET")).json["tags"] == []


@pytest_twisted.ensureDeferred
async def test_tags_refused(owner: Caller) -> None:
    """Too long, not for every database, with a body, of others, too many."""
    assert (await owner.call("PUT", f"/tags/{'a' * 256}")).status == 400
    assert (await owner.call("PUT", "/tags/" + quote("\U0001f600"))).status == 400
    assert (await owner.call("PUT", "/tags/x", None, b"{}")).status == 400
    assert (await owner.of(STRANGER).call("PUT", "/tags/x")).status == 404
    await owner.call("POST", "/members", {"member": FRIEND})
    assert (await owner.of(FRIEND).call("PUT", "/tags/x")).status == 403
    for tag, status in (("a", 204), ("b", 204), ("c", 413)):
        assert (await owner.call("PUT", f"/tags/{tag}")).status == status


@pytest_twisted.ensureDeferred
async def test_deactivate_and_reactivate(owner: Caller) -> None:
    """A deactivated image keeps its data, which only administrators can read; both actions may be repeated."""
    assert (await owner.call("POST", "/actions/deactivate")).status == 403  # it has no data yet
    await owner.call("PUT", "/file", None, b"data")
    for _ in range(2):
        assert (await owner.call("POST", "/actions/deactivate")).status == 204
    assert (await owner.call("GET")).json["status"] == "deactivated"
    assert (await owner.call("GET", "/file")).status == 403
    assert (await owner.of("root").call("GET", "/file")).body == b"data"
    assert (await owner.of(STRANGER).call("POST", "/actions/reactivate")).status == 404
    for _ in range(2):
        assert (await owner.call("POST", "/actions/reactivate")).status == 204
    assert (await owner.call("GET", "/file")).body == b"data"
    assert (await owner.call("POST", "/actions/deactivate", None, b"{}")).status == 400
    assert (await owner.call("POST", "/actions/explode")).status == 404


@pytest_twisted.ensureDeferred
async def test_member_schemas(owner: Caller) -> None:
    """Clients can fetch what a member looks like."""
    for name in ("member", "members"):
        reply = await owner.get(f"/v2/schemas/{name}")
        assert (reply.status, reply.json["name"]) == (200, name)
