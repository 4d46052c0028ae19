"""Downloads of damaged copies: wrong bytes never look like the image, and the next reader gets another copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import pytest_twisted
from twisted.web.client import ResponseFailed

from glancetx.config.settings import AuditSettings, FilesystemSettings, Settings, StoresSettings
from glancetx.db.copies import Copies
from glancetx.domain.copy import CORRUPT
from tests.running import Api, Started, settings_in

CONTENT = os.urandom(1_000_003)


def two_stores(folder: Path, **audit: object) -> Settings:
    names = ("first", "second")
    filesystems = tuple(FilesystemSettings(identifier=name, datadir=folder / name) for name in names)
    stores = StoresSettings(filesystems=filesystems, default="first", multiple=True)
    return settings_in(folder, stores=stores, audit=AuditSettings(audit_rate=0, repair_rate=0, **audit))  # type: ignore[arg-type]


def flip(path: Path, at: int = 500_000) -> None:
    """One bit, some time after the copy was made, as far as the file system tells."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


async def age(api: Api, image_id: str) -> None:
    """The image was made an hour ago, so its file has been touched since."""
    back = "UPDATE images SET updated_at = datetime(updated_at, '-1 hours') || '.000000' WHERE id = ?"
    await api.service._engine.interact(lambda c: c.exec_driver_sql(back, (image_id,)) and None)


async def is_whole(api: Api, image_id: str, **headers: str) -> bool:
    """Whether a client that looks at nothing but the length takes the answer for complete; then it must be right."""
    try:
        reply = await api.request("GET", f"/v2/images/{image_id}/file", **headers)
    except ResponseFailed:
        return False
    assert reply.body == CONTENT or reply.status != 200
    return bool(reply.status == 200)


@pytest.mark.parametrize("at", [0, 500_000, len(CONTENT) - 1])
@pytest_twisted.ensureDeferred
async def test_a_flipped_bit(start: Started, tmp_path: Path, at: int) -> None:
    """The first reader's connection is aborted; the others are told that the data is damaged. Parts are not judged."""
    api = await start(two_stores(tmp_path))
    image_id = await api.create()
    await api.upload(image_id, CONTENT)
    assert await is_whole(api, image_id)
    await age(api, image_id)
    assert await is_whole(api, image_id)
    flip(tmp_path / "first" / image_id, at)
    assert (await api.request("GET", f"/v2/images/{image_id}/file", Range="bytes=10-19")).body == CONTENT[10:20]
    assert not await is_whole(api, image_id)
    assert await Copies(api.service._engine).counts() == {CORRUPT: 1}
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).status == 503


@pytest_twisted.ensureDeferred
async def test_not_verified_where_nobody_wants_it(start: Started, tmp_path: Path) -> None:
    """With verify_reads off, bytes are as they are."""
    api = await start(two_stores(tmp_path, verify_reads=False))
    image_id = await api.create()
    await api.upload(image_id, CONTENT)
    await age(api, image_id)
    flip(tmp_path / "first" / image_id)
    reply = await api.request("GET", f"/v2/images/{image_id}/file")
    assert (reply.status, reply.body == CONTENT) == (200, False)
