"""Lists read by indexes, in order: what they cost does not grow with the number of images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, Final

import pytest_twisted
from attrs import evolve, frozen
from sqlalchemy import Connection, Select, literal, select, text

from glancetx.db.clues import FEW
from glancetx.db.engine import Engine
from glancetx.db.filtered import Filtered
from glancetx.db.filters import complete
from glancetx.db.pages import read_page
from glancetx.db.pieces import OWNED, Marker
from glancetx.db.plain import Plain
from glancetx.db.prepared import Prepared, padded, prepare_query
from glancetx.db.reading import _some
from glancetx.db.rows import read_images
from glancetx.db.schema import image_tags, images
from glancetx.db.shares import ALL, Sight
from glancetx.domain.query import ImageQuery
from tests.bench.catalogue import US, fill
from tests.bench.counting import counted

ADMIN: Final = ALL
USER: Final = Sight(is_admin=False, project_id=US)
KEYS: Final = ("created_at", "updated_at", "name", "size", "status", "id")
MANY: Final = 900
"""So many images that what they have in common is on more than a few, and what is rare is not."""
WALKS: Final = frozenset(
    f"glancetx_{first}_{key}"
    for first in ("visibility", "owner")
    for key in KEYS
    if first == "visibility" or key in OWNED
)
CHILDREN: Final = ("image_properties", "image_tags", "image_members", "image_locations")


@frozen
class Access:
    """How rows of a table are read: by which index (None: all of them), and whether they are sorted afterwards."""

    table: str
    index: str | None
    ordered: bool


PRIMARY: Final = frozenset({"sqlite_autoindex_images_1", "PRIMARY", "images_pkey"})


def add_tags(connection: Connection, rows: Select[Any]) -> None:
    """*rows* are ids of images, tags, times of birth, and whether they are deleted."""
    tags = image_tags.c
    columns = [tags.image_id, tags.value, tags.created_at, tags.deleted]
    connection.execute(image_tags.insert().from_select(columns, rows))


def explain(connection: Connection, query: Prepared, values: Mapping[str, Any]) -> list[Access]:
    """How the database would go about *query*."""
    name = connection.dialect.name
    words = {"sqlite": "EXPLAIN QUERY PLAN", "mysql": "EXPLAIN", "postgresql": "EXPLAIN (FORMAT JSON)"}[name]
    rows = Prepared(f"{words} {query.text}", query.fixed, query.order).all(connection, values)
    if name == "sqlite":
        return list(_sqlite(rows))
    if name == "mysql":
        return list(_mysql(rows))
    plan = rows[0][0]
    return list(_postgresql((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"], ordered=True))


def _sqlite(rows: Any) -> Iterator[Access]:
    sorting = {parent for _, parent, _, detail in rows if detail.startswith("USE TEMP B-TREE FOR ORDER BY")}
    for _, parent, _, detail in rows:
        words: list[str] = detail.split()
        if words[0] in ("SEARCH", "SCAN") and words[1] in ("images", *CHILDREN):
            index = words[words.index("INDEX") + 1] if "INDEX" in words else None
            yield Access(words[1], index, ordered=parent not in sorting)


def _mysql(rows: Any) -> Iterator[Access]:
    for _, _, table, _, _, key, *_, extra in rows:
        if table in ("images", *CHILDREN):
            yield Access(table, key, ordered="filesort" not in extra)


def _postgresql(node: Any, *, ordered: bool) -> Iterator[Access]:
    if "Sort" in node["Node Type"]:
        ordered = False
    elif node["Node Type"] == "Limit":
        ordered = True
    if (table := node.get("Relation Name")) is not None:
        yield Access(table, node.get("Index Name"), ordered=ordered)
    for below in node.get("Plans", ()):
        yield from _postgresql(below, ordered=ordered)


def prefer_indexes(connection: Connection) -> None:
    """In PostgreSQL, which rightly reads the whole of so small a table; the others know no better."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET jit = off"))  # it would compile what is made to look dear
        for method in ("seqscan", "bitmapscan", "sort", "incremental_sort", "hashjoin", "mergejoin"):
            connection.execute(text(f"SET enable_{method} = off"))


def accesses(connection: Connection, sight: Sight, query: ImageQuery, *, deep: bool) -> list[Access]:
    """How a page of a list without filters is read: the first one, or one that is *deep* in the list."""
    sort, marker = complete(query.sort), None
    if deep:
        last = read_images(connection, lambda few: read_page(connection, sight, query, few=few))[-1]
        marker = {key: getattr(last, key) for key, _ in sort}
    return explain_plain(connection, sight, query, marker)


def explain_plain(connection: Connection, sight: Sight, query: ImageQuery, marker: Marker | None) -> list[Access]:
    """How a page is read that is found in the order of the list."""
    page = Plain(connection, sight, query, complete(query.sort), marker, few=True)
    bound = 99 if page.sizes(0) else None
    found = page.query(bounded=bound is not None)
    assert found is not None
    return explain(connection, found, page.values(bound))


def sorted_by(key: str, direction: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, direction) for name in dict.fromkeys((key, "created_at", "id")))


@pytest_twisted.ensureDeferred
async def test_plain(engine: Engine) -> None:
    """Under each sort key, in both directions, the first page and a later one are read in the order of an index.

    But what a project has is sorted, unless it goes by age or name.
    """

    def check(connection: Connection) -> None:
        prefer_indexes(connection)
        for sight, key, direction, deep in product((ADMIN, USER), KEYS, ("asc", "desc"), (False, True)):
            query = ImageQuery(limit=9, sort=sorted_by(key, direction))
            found = accesses(connection, sight, query, deep=deep)
            told = f"{sight.is_admin} {key} {direction} {deep}: {found}"
            assert all(access.index for access in found), told
            if key == "id":
                by_id = [access for access in found if access.table == "images"]
                assert not sight.is_admin or {access.index for access in by_id} <= PRIMARY, told
                assert not sight.is_admin or any(access.ordered for access in by_id), told
                continue
            walks = [access for access in found if access.index in WALKS]
            assert len(walks) >= (3 if sight.is_admin else 2), told
            others = [walk for walk in walks if not walk.ordered or str(walk.index).split("_", 2)[2] != key]
            # of a project, with a value and without
            assert len(others) <= (2 if key not in OWNED and not sight.is_admin else 0), told

    await engine.interact(fill, 300)
    await engine.read(check)


FILTERED: Final = (
    # what is asked for, and the indexes that must be used, among others
    (ImageQuery(limit=9, tags=("rare",)), {"glancetx_tags"}),
    (ImageQuery(limit=9, properties={"rare": "yes"}), {"glancetx_properties"}),
    (ImageQuery(limit=9, properties={"rare": "yes", "architecture": "x86_64"}), {"glancetx_properties"}),
    (ImageQuery(limit=9, properties={"architecture": "x86_64"}), {"glancetx_visibility_created_at"}),
    (ImageQuery(limit=9, equal={"owner": US}), {"glancetx_owner_created_at"}),
    (ImageQuery(limit=9, equal={"name": "x"}), {"glancetx_visibility_name"}),
    (ImageQuery(limit=9, equal={"status": "queued"}), {"glancetx_visibility_status"}),
    (ImageQuery(limit=9, equal={"status": "active"}, sort=sorted_by("name", "asc")), {"glancetx_visibility_name"}),
)


@pytest_twisted.ensureDeferred
async def test_filtered(engine: Engine) -> None:
    """What leads to a few images is followed; otherwise lists are read in order. No table is read as a whole."""

    def check(connection: Connection) -> None:
        prefer_indexes(connection)
        for sight, (query, wanted) in product((ADMIN, USER), FILTERED):
            page = Filtered(connection, sight, query, complete(query.sort), None, few=True)
            sizes = page.sizes(FEW)
            followed = sizes.index(min(sizes)) if sizes and min(sizes) <= FEW else None
            how = page.query(followed=followed)
            assert how is not None
            found = explain(connection, prepare_query(how, connection.dialect), {})
            indexes = {access.index for access in found}
            assert None not in indexes, (query, found)
            assert indexes >= wanted, (query, found)
            assert "ix_images_deleted" not in indexes, (query, found)

    await engine.interact(fill, MANY)
    await engine.read(check)


@pytest_twisted.ensureDeferred
async def test_twice(engine: Engine) -> None:
    """A tag that all images have is not followed; who has it twice is listed once, first page and later ones."""

    def check(connection: Connection) -> None:
        prefer_indexes(connection)
        for sight, key in product((ADMIN, USER), ("created_at", "size")):
            plain = ImageQuery(limit=9, sort=sorted_by(key, "desc"))
            for _ in range(3):
                tagged = evolve(plain, tags=("all",))
                page, same = (ids(connection, sight, query) for query in (plain, tagged))
                assert len(page) == 9
                assert same == page
                plain = evolve(plain, marker=page[-1])
            found = explain_plain(connection, sight, evolve(tagged, marker=None), None)
            walks = [access for access in found if access.index == f"glancetx_visibility_{key}"]
            assert walks, found
            assert all(walk.ordered for walk in walks), found

    def tag(connection: Connection) -> None:
        fill(connection, MANY)
        for _ in range(2):
            rows = select(images.c.id, literal("all"), images.c.created_at, images.c.deleted)
            add_tags(connection, rows)

    await engine.interact(tag)
    await engine.read(check)


@pytest_twisted.ensureDeferred
async def test_bounded(engine: Engine) -> None:
    """A tag that none of the newest images has is looked for among them in vain, but not for long: then it is followed.

    The pages are right, whichever way they are found.
    """

    def check(connection: Connection) -> None:
        whole = ImageQuery(limit=9999)
        query = evolve(whole, limit=5, tags=("old",))

        def page(**how: Any) -> Callable[[Connection], object]:
            plain = Plain(connection, ADMIN, query, complete(query.sort), None, few=True)
            assert all(size > FEW for size in plain.sizes(FEW))
            return lambda _: read_images(connection, lambda _: plain.rows(**how) or ())

        for warm in (True, False):
            followed, walked = (counted(connection, page(**how)) for how in ({"followed": 0}, {}))
            found = counted(connection, lambda _: ids(connection, ADMIN, query))
            assert warm or found < min(3 * followed, walked), (found, followed, walked)
        for sight, limit in product((ADMIN, USER), (1, 5)):
            listed = read_images(connection, lambda few: read_page(connection, sight, whole, few=few))  # noqa: B023
            wanted, marker = [image.id for image in listed if "old" in image.tags], None
            for start in (0, limit, 2 * limit):
                asked = evolve(query, limit=limit, marker=marker)
                found_ids = ids(connection, sight, asked)
                assert found_ids == wanted[start : start + limit]
                assert ids(connection, sight, evolve(asked, equal={"container_format": "bare"})) == found_ids
                marker = found_ids[-1]

    def tag(connection: Connection) -> None:
        fill(connection, 6 * MANY)
        rows = select(images.c.id, literal("old"), images.c.created_at, images.c.deleted).where(~images.c.deleted)
        oldest = rows.order_by(images.c.created_at).limit(FEW + 10)
        add_tags(connection, oldest)

    await engine.interact(tag)
    await engine.read(check)


@pytest_twisted.ensureDeferred
async def test_other_warnings(engine: Engine) -> None:
    """Not every warning tells that a query has stopped."""

    def check(connection: Connection) -> None:
        divided = "NULL" if connection.dialect.name == "postgresql" else "1 / 0"
        assert Prepared(f"SELECT {divided}", {}, None).bounded(connection, {}) in (((None,),), [(None,)])

    await engine.read(check)


def ids(connection: Connection, sight: Sight, query: ImageQuery) -> list[str]:
    return [image.id for image in read_images(connection, lambda few: read_page(connection, sight, query, few=few))]


@pytest_twisted.ensureDeferred
async def test_some_images(engine: Engine) -> None:
    """They are found by their ids, whoever asks, and what belongs to them by theirs."""

    def check(connection: Connection) -> None:
        prefer_indexes(connection)
        for sight in (ADMIN, USER):
            query = _some(connection.dialect, 2, is_admin=sight.is_admin, few=True)
            found = explain(connection, query, {"project": sight.project_id, **padded("wanted", ["a", "b"])})
            used = {access.table: str(access.index) for access in found if access.table != "image_members"}
            assert used.pop("images") in PRIMARY, found
            assert len(used) == 3, found
            assert all("image_id" in index for index in used.values()), found

    await engine.interact(fill, 300)
    await engine.read(check)
