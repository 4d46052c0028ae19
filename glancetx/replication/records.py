"""What of an image's record goes from one service to another, and what differs between two (P-120..P-126)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from glancetx.replication.server import Record

DONT_REPLICATE: Final = ("created_at", "date", "deleted_at", "location", "updated_at")
SERVICE_SETS: Final = frozenset(
    [
        "id", "status", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "self", "file", "schema",
        "direct_url", "locations", "stores", "created_at", "updated_at", "deleted_at", "deleted", "owner_name",
    ]
)  # fmt: skip
"""What a service says of an image and no client may say."""
BYTES: Final = ("checksum", "os_hash_value")


def copied(record: Record, but: Collection[str]) -> dict[str, Any]:
    """What is asked for when *record* is made anew elsewhere, without the names in *but*."""
    return {name: value for name, value in _said(record) if name not in but and value is not None}


def _said(record: Record) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if name not in SERVICE_SETS and not name.startswith("os_glance_"):
            yield name, value


def changes(source: Record, target: Record, but: Collection[str]) -> list[dict[str, Any]]:
    """What to patch *target* with, so that it has what *source* has; what only the target has stays (P-123)."""
    found = []
    for name, value in _said(source):
        if name in but or value is None or _same(value, target.get(name)):
            continue
        operation = "replace" if name in target else "add"
        found.append({"op": operation, "path": "/" + name.replace("~", "~0").replace("/", "~1"), "value": value})
    return found


def differences(source: Record, target: Record, but: Collection[str]) -> dict[str, tuple[Any, Any]]:
    """What is not the same on both sides, with both values; that the bytes differ is told by their digests (P-125)."""
    names = {name for record in (source, target) for name, _ in _said(record)} - set(but)
    found = {
        name: (source.get(name), target.get(name)) for name in names if not _same(source.get(name), target.get(name))
    }
    for name in ("status", *BYTES):
        one, other = source.get(name), target.get(name)
        if one != other and (name == "status" or (one and other)):
            found[name] = (one, other)
    return dict(sorted(found.items()))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return sorted(map(str, one)) == sorted(map(str, other))
    return one == other or (one in (None, "") and other in (None, ""))


def expected(record: Record) -> tuple[str, str] | tuple[None, None]:
    """The algorithm and the digest that tell whether the bytes of *record* have come over."""
    if record.get("os_hash_algo") and record.get("os_hash_value"):
        return str(record["os_hash_algo"]), str(record["os_hash_value"])
    return ("md5", str(record["checksum"])) if record.get("checksum") else (None, None)


def is_active(record: Record) -> bool:
    return record.get("status") == "active" and isinstance(record.get("size"), int)


def of_version_one(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as old dumps have it, in today's words: properties by prefix, visibility as a flag."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        if name.startswith(("property-", "property_")):
            found[name[len("property-") :]] = value
        elif name == "is_public":
            found["visibility"] = "public" if str(value).lower() == "true" else "private"
        elif name in ("size", "min_disk", "min_ram") and isinstance(value, str) and value.isdigit():
            found[name] = int(value)
        elif name == "protected" and isinstance(value, str):
            found[name] = value.lower() == "true"
        elif name not in ("deleted", "uri", "copy_from"):
            found[name.replace("-", "_")] = value
    return found
