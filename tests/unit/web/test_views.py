"""Images as JSON documents, with Glance's names in Glance's order."""

from __future__ import annotations

import json
from datetime import datetime

from attrs import evolve

from glancetx.config.settings import ImagesSettings
from glancetx.domain.image import Image, Location
from glancetx.web.views import ImageViews

IMAGE = Image(
    id="11111111-2222-3333-4444-555555555555",
    name="é",
    created_at=datetime(2026, 1, 31, 23, 59, 59, 999999),
    updated_at=datetime(2026, 2, 1),
    tags=("b", "a"),
    properties={"zeta": "1", "empty": None, "os_glance_stage_host": "x"},
    locations=(
        Location(url="file:///a", metadata={"store": "fast"}),
        Location(url="file:///b", metadata={"store": "slow"}),
    ),
)


def views(multiple: bool = False, **settings: bool) -> ImageViews:
    return ImageViews(ImagesSettings(**settings), lambda locations: list(locations)[::-1], multiple=multiple)  # type: ignore[arg-type]


def test_order_and_values() -> None:
    """Custom properties first, then the attributes as Glance orders them."""
    document = views().image(IMAGE)
    assert list(document) == [
        "zeta",
        "empty",
        "name",
        "disk_format",
        "container_format",
        "visibility",
        "size",
        "virtual_size",
        "status",
        "checksum",
        "protected",
        "min_ram",
        "min_disk",
        "owner",
        "os_hidden",
        "os_hash_algo",
        "os_hash_value",
        "id",
        "created_at",
        "updated_at",
        "tags",
        "self",
        "file",
        "schema",
    ]
    assert document["created_at"] == "2026-01-31T23:59:59Z"
    assert document["empty"] == ""
    assert document["file"] == f"/v2/images/{IMAGE.id}/file"


def test_stores() -> None:
    """With several stores, their ids are shown, the best one first."""
    assert views(multiple=True).image(IMAGE)["stores"] == "slow,fast"


def test_locations_are_shown_only_if_asked_for() -> None:
    """Each on its own option, the best copy first; the direct URL is that one's."""
    assert views(show_image_direct_url=True).image(IMAGE)["direct_url"] == "file:///b"
    assert views(show_multiple_locations=True).image(IMAGE)["locations"] == [
        {"url": "file:///b", "metadata": {"store": "slow"}},
        {"url": "file:///a", "metadata": {"store": "fast"}},
    ]
    assert "direct_url" not in views(show_image_direct_url=True).image(evolve(IMAGE, locations=()))


def test_links_keep_repeated_parameters() -> None:
    """The links of a page keep every tag, and replace the marker."""
    query = [("tag", "a"), ("tag", "b"), ("marker", "old"), ("limit", "1")]
    page = json.loads(views().images([IMAGE], query, IMAGE.id))
    assert page["first"] == "/v2/images?tag=a&tag=b&limit=1"
    assert page["next"] == f"/v2/images?tag=a&tag=b&limit=1&marker={IMAGE.id}"
    assert json.loads(views().images([], [], None)) == {"images": [], "first": "/v2/images", "schema": page["schema"]}


def test_page() -> None:
    """A page is what its images are, each shown once for all lists that have it at a time, and not longer."""
    shown, image = views(), evolve(IMAGE, name="other")
    first = shown.images([IMAGE, image], [], None)
    assert json.loads(first)["images"] == [shown.image(IMAGE), shown.image(image)]
    assert list(json.loads(first)) == ["images", "first", "schema"]
    assert json.dumps(json.loads(first), ensure_ascii=False) == first == shown.images([IMAGE, image], [], None)
    assert shown.images([evolve(IMAGE, name="third")], [], None) != shown.images([IMAGE], [], None)
    assert len(shown._shown) == 2
    del image
    assert len(shown._shown) == 1
