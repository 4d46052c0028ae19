"""Digests that clients announce are verified while the data comes, and what has another is not kept."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from tests.functional.test_import import DIRECT, ended, nothing_staged, stage, staged, start_import
from tests.running import DATA, Api

CONTENT = os.urandom(1_500_000)
HASHLIB = {"sha-256": "sha256", "sha-512": "sha512", "md5": "md5"}


def digest(name: str, data: bytes = CONTENT) -> str:
    """A member of the field."""
    return f"{name}=:{base64.b64encode(hashlib.new(HASHLIB[name], data).digest()).decode()}:"


def trailing(api: Api, path: str, trailer: str, announced: str = "Repr-Digest") -> int:
    """The status of an upload whose digest comes behind it."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
    connection.putrequest("PUT", path)
    for name, value in {"Content-Type": DATA, "Transfer-Encoding": "chunked", "Trailer": announced}.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(CONTENT), CONTENT, trailer.encode()))
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("field", ["Repr_Digest", "Content_Digest"])
@pytest.mark.parametrize("where", ["file", "stage"])
@pytest_twisted.ensureDeferred
async def test_announced(api: Api, where: str, field: str) -> None:
    """A wrong digest is 400, and the image is queued as before; with the right ones it works."""
    image_id = await api.create()
    path = f"/v2/images/{image_id}/{where}"
    for value in (digest("sha-256", b""), f"{digest('sha-512')}, {digest('sha-256', b'')}", digest("md5", b"")):
        reply = await api.request("PUT", path, CONTENT, Content_Type=DATA, **{field: value})
        assert reply.status == 400
        assert "as announced" in reply.json["message"]
        image = await api.show(image_id)
        assert (image["status"], image["size"], image["checksum"]) == ("queued", None, None)
        assert (api.stored(), staged(api)) == ([], [])
    right = ", ".join(["unixsum=:AAA=:", *map(digest, HASHLIB), "other=1"])
    assert (await api.request("PUT", path, CONTENT, Content_Type=DATA, **{field: right})).status == 204
    assert (await api.show(image_id))["status"] == ("active" if where == "file" else "uploading")


@pytest.mark.parametrize("value", ["sha-256=abc", "sha-256=:AAAA:", "sha-256=:A", "sha-512=5", "("])
@pytest_twisted.ensureDeferred
async def test_malformed(api: Api, value: str) -> None:
    """What cannot be a digest is told before a byte is read, rather than not verified."""
    image_id = await api.create()
    assert (await api.upload(image_id, CONTENT, Repr_Digest=value)).status == 400
    assert (await stage(api, image_id, Repr_Digest=value)).status == 400
    assert (await api.upload(image_id, CONTENT, Repr_Digest="unixsum=:AAA=:")).status == 204


@pytest.mark.parametrize("where", ["file", "stage"])
@pytest_twisted.ensureDeferred
async def test_behind_the_data(api: Api, where: str) -> None:
    """A client that knows the digest only at the end says it in a trailer."""
    image_id = await api.create()
    path = f"/v2/images/{image_id}/{where}"
    for wrong in (digest("sha-256", b""), digest("sha-512", b""), "sha-256=x"):
        assert await deferToThread(trailing, api, path, f"Repr-Digest: {wrong}") == 400
        assert (await api.show(image_id))["status"] == "queued"
    assert await deferToThread(trailing, api, path, f"repr-digest:{digest('sha-256')}") == 204


@pytest_twisted.ensureDeferred
async def test_unannounced_trailer(api: Api) -> None:
    """Nobody counts on a trailer that was not announced."""
    path = f"/v2/images/{await api.create()}/file"
    assert await deferToThread(trailing, api, path, f"Repr-Digest: {digest('md5', b'')}", "Other") == 204


@pytest_twisted.ensureDeferred
async def test_wanted(api: Api) -> None:
    """Who downloads may ask for the digest of the whole, of a part as well."""
    image_id = await api.create()
    await api.upload(image_id, CONTENT)
    path = f"/v2/images/{image_id}/file"
    assert (await api.request("GET", path)).header("repr-digest") is None
    asked: dict[str, Any] = {"Want_Repr_Digest": "sha-512=9, md5=1"}
    assert (await api.request("GET", path, **asked)).header("repr-digest") == digest("sha-512")
    reply = await api.request("GET", path, Range="bytes=0-9", **asked)
    assert (reply.status, reply.header("repr-digest")) == (206, digest("sha-512"))
    assert (await api.request("HEAD", path, Want_Repr_Digest="md5=1")).header("repr-digest") == digest("md5")


@pytest_twisted.ensureDeferred
async def test_of_an_import(api: Api) -> None:
    """With the wrong one the task fails and says so; the image is queued again."""
    image_id = await api.create()
    await stage(api, image_id, CONTENT)
    wrong = DIRECT | {"expected_digests": {"sha512": hashlib.sha512(b"").hexdigest()}}
    assert (await start_import(api, image_id, wrong)).status == 202
    task = await ended(api, image_id)
    assert task["status"] == "failure"
    assert "sha512" in task["message"]
    assert (await api.show(image_id))["status"] == "queued"
    await nothing_staged(api)
    assert api.stored() == []
    await stage(api, image_id, CONTENT)
    assert (await start_import(api, image_id, DIRECT | {"expected_digests": {"sha1": "0" * 40}})).status == 400
    right = {name: hashlib.new(name, CONTENT).hexdigest() for name in ("md5", "sha256", "sha512")}
    assert (await start_import(api, image_id, DIRECT | {"expected_digests": right})).status == 202
    assert (await ended(api, image_id))["status"] == "success"
