"""Every role, on every kind of image, from every project that has to do with it, by every route: one request each.

Each cell has an image of its own, written straight into a database, so that no answer changes another; a real Glance
and we get the same ones.
"""

from __future__ import annotations

import json
import re
import uuid
from itertools import product
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from sqlalchemy import Connection, insert

from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import transact
from glancetx.db.migrations import prepare
from glancetx.db.schema import image_locations, image_members, image_tags, images
from glancetx.domain.image import utc_now
from tests.running import DATA, JSON, PATCH

CONTENT: Final = b"ten bytes."
ROLES: Final = {
    "none": "",
    "reader": "reader",
    "member": "member,reader",
    "manager": "manager,member,reader",
    "admin": "admin,manager,member,reader",
    "service": "service",
}
VISIBILITIES: Final = ("public", "community", "shared", "private")
RELATIONS: Final = ("owner", "accepted", "pending", "rejected", "stranger")


@frozen
class Action:
    """What is done to an image in *status*.

    ``<image>`` and ``<visibility>`` stand for it and its visibility, ``<mine>`` for the caller's project.
    """

    name: str
    method: str
    path: str
    body: Any = None
    kind: str = JSON
    status: str = "queued"

    @property
    def wide(self) -> bool:
        """Whether it may matter what a project that the image is shared with has answered."""
        return self.method == "GET" or "/members" in self.path

    def request(self, **places: str) -> tuple[str, str, bytes | None]:
        """Method, path and body."""

        def fill(text: str) -> str:
            return re.sub("<([a-z]+)>", lambda place: places[place[1]], text)

        body = self.body
        if body is not None and not isinstance(body, bytes):
            body = fill(json.dumps(body)).encode()
        return self.method, fill(self.path), body


def patch(name: str, *operations: tuple[str, str, Any]) -> Action:
    body = [{"op": op, "path": path} | ({} if op == "remove" else {"value": value}) for op, path, value in operations]
    return Action(name, "PATCH", "/v2/images/<image>", body, PATCH)


IMAGE: Final = "/v2/images/<image>"
ACTIONS: Final = (
    Action("create", "POST", "/v2/images", {"name": "new", "visibility": "<visibility>"}),
    Action("create for another", "POST", "/v2/images", {"owner": "elsewhere", "visibility": "<visibility>"}),
    Action("show", "GET", IMAGE),
    Action("list", "GET", "/v2/images?id=<image>"),
    Action("list all visible", "GET", "/v2/images?id=<image>&visibility=all"),
    Action("list community", "GET", "/v2/images?id=<image>&visibility=community"),
    Action("list shared with me", "GET", "/v2/images?id=<image>&visibility=shared&member_status=all"),
    Action("list not accepted", "GET", "/v2/images?id=<image>&member_status=pending"),
    Action("delete", "DELETE", IMAGE),
    patch("rename", ("replace", "/name", "new")),
    patch("patch nothing"),
    patch("publish", ("replace", "/visibility", "public")),
    patch("share with community", ("replace", "/visibility", "community")),
    patch("make private", ("replace", "/visibility", "private")),
    patch("give away", ("replace", "/owner", "elsewhere")),
    patch("protect", ("add", "/protected", True)),
    patch("add property", ("add", "/kind", "x")),
    patch("remove property", ("remove", "/absent", None)),
    patch("write status", ("replace", "/status", "active")),
    Action("upload", "PUT", f"{IMAGE}/file", CONTENT, DATA),
    Action("download", "GET", f"{IMAGE}/file", status="active"),
    Action("download nothing", "GET", f"{IMAGE}/file"),
    Action("download deactivated", "GET", f"{IMAGE}/file", status="deactivated"),
    Action("tag", "PUT", f"{IMAGE}/tags/new"),
    Action("untag", "DELETE", f"{IMAGE}/tags/old"),
    Action("untag nothing", "DELETE", f"{IMAGE}/tags/absent"),
    Action("deactivate", "POST", f"{IMAGE}/actions/deactivate", status="active"),
    Action("deactivate queued", "POST", f"{IMAGE}/actions/deactivate"),
    Action("reactivate", "POST", f"{IMAGE}/actions/reactivate", status="deactivated"),
    Action("list members", "GET", f"{IMAGE}/members"),
    Action("show member", "GET", f"{IMAGE}/members/accepted"),
    Action("show own membership", "GET", f"{IMAGE}/members/<mine>"),
    Action("show no member", "GET", f"{IMAGE}/members/nobody"),
    Action("add member", "POST", f"{IMAGE}/members", {"member": "new"}),
    Action("accept", "PUT", f"{IMAGE}/members/<mine>", {"status": "accepted"}),
    Action("accept for another", "PUT", f"{IMAGE}/members/pending", {"status": "accepted"}),
    Action("remove member", "DELETE", f"{IMAGE}/members/accepted"),
    Action("leave", "DELETE", f"{IMAGE}/members/<mine>"),
)


@frozen
class Cell:
    """One request by one kind of caller."""

    action: Action
    role: str
    visibility: str
    relation: str
    image_id: str = field(factory=lambda: str(uuid.uuid4()))

    @property
    def name(self) -> str:
        return f"{self.action.name}: {self.role}, {self.visibility} image, {self.relation}"

    @property
    def headers(self) -> dict[str | bytes, str | bytes]:
        """What says who is asking, and what is sent."""
        return {
            "X-Identity-Status": "Confirmed",
            "X-User-Id": "someone",
            "X-Project-Id": self.relation,
            "X-Roles": ROLES[self.role],
            "Content-Type": self.action.kind,
            "Accept": JSON,
        }

    @property
    def request(self) -> tuple[str, str, bytes | None]:
        return self.action.request(image=self.image_id, visibility=self.visibility, mine=self.relation)


def cells_of(*roles: str) -> list[Cell]:
    """The matrix for callers with these roles, or all. What an accepted member may not, none may."""
    cells = [Cell(*each) for each in product(ACTIONS, roles or ROLES, VISIBILITIES, RELATIONS)]
    return [cell for cell in cells if cell.action.wide or cell.relation not in ("pending", "rejected")]


def write_images(folder: Path, store: Path, cells: list[Cell]) -> Path:
    """A database with an image for each of *cells*, whose data lies in *store*; all are shared with three projects."""
    path = folder / "matrix.sqlite"
    settings = DatabaseSettings(connection=f"sqlite:///{path}")
    transact(settings, prepare)
    transact(settings, _write, [(cell.image_id, cell.visibility, cell.action.status) for cell in cells], store)
    (store / "data").write_bytes(CONTENT)
    return path


def _write(connection: Connection, wanted: list[tuple[str, str, str]], store: Path) -> None:
    alive = {"created_at": utc_now(), "updated_at": utc_now(), "deleted": False}
    new = alive | {
        "name": "x", "owner": "owner", "disk_format": "raw", "container_format": "bare", "min_disk": 0, "min_ram": 0,
        "protected": False, "os_hidden": False,
    }  # fmt: skip
    rows = [
        new | {"id": id, "visibility": visibility, "status": status, "size": size_in(status)}
        for id, visibility, status in wanted
    ]
    connection.execute(insert(images), rows)
    connection.execute(
        insert(image_members),
        [
            alive | {"image_id": id, "member": status, "status": status, "can_share": False}
            for id, *_ in wanted
            for status in ("accepted", "pending", "rejected")
        ],
    )
    connection.execute(insert(image_tags), [alive | {"image_id": id, "value": "old"} for id, *_ in wanted])
    place = alive | {"value": f"file://{store}/data", "meta_data": "{}", "status": "active"}
    with_data = [id for id, _, status in wanted if size_in(status) is not None]
    connection.execute(insert(image_locations), [place | {"image_id": id} for id in with_data])


def size_in(status: str) -> int | None:
    return None if status == "queued" else len(CONTENT)


def outcome(status: int, body: bytes) -> str:
    """What is compared: the status, and who or what is listed."""
    try:
        document = json.loads(body) if status == 200 else {}
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        return str(status)
    if "members" in document:
        return f"{status} {sorted(each['member_id'] for each in document['members'])}"
    if "images" in document:
        return f"{status} {len(document['images'])} images"
    return str(status)
