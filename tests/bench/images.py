"""Images in both services: made through the API, or written straight into the database when thousands are needed."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from tests.bench.load import upload
from tests.bench.peers import Server
from tests.bench.processes import HOST, BenchFailure

DOCUMENT = {"name": "bench {number}", "disk_format": "raw", "container_format": "bare"}

_INSERTS = {
    "images": (
        "id name size status visibility created_at updated_at deleted disk_format container_format checksum owner "
        "min_disk min_ram protected virtual_size os_hidden os_hash_algo os_hash_value"
    ),
    "image_properties": "image_id name value created_at deleted",
    "image_tags": "image_id value created_at deleted",
    "image_locations": "image_id value created_at deleted meta_data status",
}
_SAME_FOR_ALL = {
    "visibility": "public",
    "disk_format": "raw",
    "container_format": "bare",
    "owner": None,
    "min_disk": 0,
    "min_ram": 0,
    "protected": False,
    "os_hidden": False,
}
_CONTENT = {
    "size": 1024,
    "virtual_size": 1024,
    "checksum": "0" * 32,
    "os_hash_algo": "sha512",
    "os_hash_value": "0" * 128,
}


def write_random(path: Path, size: int) -> None:
    """Make a file of *size* random bytes."""
    with path.open("wb") as file:
        for _ in range(0, size, 1024**2):
            file.write(os.urandom(1024**2))
        file.truncate(size)


def call(server: Server, method: str, path: str, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One API call; returns the JSON answer ({} when there is none). BenchFailure unless it is 2xx."""
    connection = HTTPConnection(HOST, server.port, timeout=30)
    try:
        body = None if document is None else json.dumps(document)
        headers = {"Content-Type": "application/json"} if body else {}
        if server.token:
            headers["X-Auth-Token"] = server.token
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise BenchFailure(f"{server.name}: {method} {path} answered {answer.status} {content[:200]!r}")
    found: dict[str, Any] = json.loads(content) if content else {}
    return found


def create(server: Server, name: str = "bench") -> str:
    """A queued image; returns its id."""
    return str(call(server, "POST", "/v2/images", {**DOCUMENT, "name": name})["id"])


def store(server: Server, file: Path, seconds: float) -> str:
    """An active image with the bytes of *file*; returns its id."""
    identifier = create(server)
    upload(server.port, [f"/v2/images/{identifier}/file"], file, seconds)
    return identifier


def delete(server: Server, identifier: str) -> None:
    """Delete one image."""
    call(server, "DELETE", f"/v2/images/{identifier}")


def seed(server: Server, count: int, status: str = "active") -> list[str]:
    """*count* public images with two properties, a tag and (when active) a location; returns their ids."""
    now = datetime.now(UTC).replace(tzinfo=None)
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in _INSERTS}
    identifiers = [str(uuid.uuid4()) for _ in range(count)]
    for number, identifier in enumerate(identifiers):
        _add_rows(rows, number, identifier, status, now - timedelta(seconds=count - number))
    engine = create_engine(server.database)
    with engine.begin() as connection:
        for table, columns in _INSERTS.items():
            if rows[table]:
                names = columns.split()
                values = ", ".join(f":{name}" for name in names)
                connection.execute(text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"), rows[table])
    engine.dispose()
    return identifiers


def _add_rows(
    rows: Mapping[str, list[dict[str, Any]]], number: int, identifier: str, status: str, when: datetime
) -> None:
    """What one image writes into each table."""
    active = status == "active"
    stamp = {"created_at": when.strftime("%Y-%m-%d %H:%M:%S.%f"), "deleted": False}
    rows["images"].append(
        {
            **stamp,
            **_SAME_FOR_ALL,
            **(_CONTENT if active else dict.fromkeys(_CONTENT)),
            "id": identifier,
            "name": f"seeded {number}",
            "status": status,
            "updated_at": stamp["created_at"],
        }
    )
    for name, value in (("os_distro", "debian"), ("architecture", "x86_64")):
        rows["image_properties"].append({**stamp, "image_id": identifier, "name": name, "value": value})
    rows["image_tags"].append({**stamp, "image_id": identifier, "value": "bench"})
    if active:
        location = {"image_id": identifier, "value": f"file:///nowhere/{identifier}", "status": "active"}
        rows["image_locations"].append({**stamp, **location, "meta_data": '{"store": "file"}'})
