"""Signed images: what its owner did not sign is not kept, whatever key and hash he uses (P-024)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve

from glancetx.config.settings import CertificateSettings
from tests.functional.test_import import ended, nothing_staged, stage, start_import
from tests.running import Api, Started, settings_in
from tests.signing import HASHES, KEY_TYPES, certificate, make_key, properties

CONTENT = os.urandom(400_000)
OTHER = CONTENT[:-1] + b"x"
UUID = "2f8e1c1e-8f9a-4c5e-9d43-1d1f27d2cf5a"


@pytest.fixture(scope="module")
def keys() -> Mapping[str, Any]:
    return {key_type: make_key(key_type) for key_type in KEY_TYPES}


@pytest_twisted.async_yield_fixture
async def signing(start: Started, tmp_path: Path, keys: Mapping[str, Any]) -> Any:
    """A service with a folder of certificates: one for each type of key, named so, and one named by a UUID."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    for key_type, key in keys.items():
        (folder / f"{key_type}.pem").write_bytes(certificate(key))
    (folder / f"{UUID}.pem").write_bytes(certificate(keys["RSA-PSS"]))
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    (tmp_path / "secret.pem").write_bytes(certificate(keys["RSA-PSS"]))
    yield await start(evolve(settings_in(tmp_path), certificates=CertificateSettings(folder=folder)))


@pytest_twisted.ensureDeferred
async def test_upload(signing: Api, keys: Mapping[str, Any]) -> None:
    """What was signed is accepted, and nothing else, with every kind of key and hash."""
    for key_type, hash_method in itertools.product(KEY_TYPES, HASHES):
        image_id = await signing.create(**properties(keys[key_type], key_type, CONTENT, key_type, hash_method))
        reply = await signing.upload(image_id, OTHER)
        assert (reply.status, reply.json["message"].count("Signature verification failed")) == (400, 2)
        image = await signing.show(image_id)
        assert (image["status"], image["size"], image["checksum"]) == ("queued", None, None)
        assert image_id not in signing.stored()
        assert (await signing.upload(image_id, CONTENT)).status == 204
        assert (await signing.show(image_id))["status"] == "active"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"img_signature": "x"}, "base64"),
        ({"img_signature": ""}, "creating the verifier"),
        ({"img_signature": "eHh4"}, "Signature verification failed"),
        ({"img_signature_hash_method": "SHA-1"}, "Invalid signature hash method: SHA-1"),
        ({"img_signature_key_type": "RSA"}, "Invalid signature key type: RSA"),
        ({"img_signature_key_type": "DSA"}, "Invalid public key type for signature key type: DSA"),
        ({"img_signature_certificate_uuid": "none"}, "Certificate not found with ID: none"),
        ({"img_signature_certificate_uuid": "../secret"}, "Certificate not found"),
        ({"img_signature_certificate_uuid": "broken"}, "Invalid certificate format"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_refused(signing: Api, keys: Mapping[str, Any], changes: dict[str, str], reason: str) -> None:
    """What cannot verify anything is told in Glance's words, by upload and import, and the image can be put right."""
    signed = properties(keys["RSA-PSS"], "RSA-PSS", CONTENT, UUID)
    image_id = await signing.create(**signed | changes)
    reply = await signing.upload(image_id, CONTENT)
    assert reply.status == 400
    assert reason in reply.json["message"]
    assert (await signing.show(image_id))["status"] == "queued"
    await stage(signing, image_id, CONTENT)
    if changes != {"img_signature": "eHh4"}:  # which nobody can know before the data was seen
        assert (await start_import(signing, image_id)).status == 400
        assert (await signing.show(image_id))["status"] == "uploading"
    repaired = [{"op": "replace", "path": f"/{name}", "value": signed[name]} for name in changes]
    assert (await signing.patch(image_id, *repaired)).status == 200
    assert (await start_import(signing, image_id)).status == 202
    assert (await ended(signing, image_id))["status"] == "success"


@pytest_twisted.ensureDeferred
async def test_import(signing: Api, keys: Mapping[str, Any]) -> None:
    """The task says that it is not what was signed; nothing is kept."""
    image_id = await signing.create(**properties(keys["RSA-PSS"], "RSA-PSS", CONTENT, UUID))
    await stage(signing, image_id, OTHER)
    assert (await start_import(signing, image_id)).status == 202
    task = await ended(signing, image_id)
    assert (task["status"], task["message"].count("Signature verification failed")) == ("failure", 2)
    assert (await signing.show(image_id))["status"] == "queued"
    await nothing_staged(signing)
    assert signing.stored() == []


@pytest_twisted.ensureDeferred
async def test_unsigned(signing: Api, keys: Mapping[str, Any]) -> None:
    """An image that lacks one of the four properties has no signature, as in Glance."""
    signed = properties(keys["RSA-PSS"], "RSA-PSS", CONTENT, UUID)
    for name in signed:
        image_id = await signing.create(**{each: value for each, value in signed.items() if each != name})
        assert (await signing.upload(image_id, OTHER)).status == 204


@pytest_twisted.ensureDeferred
async def test_nobody_knows_certificates(api: Api, keys: Mapping[str, Any]) -> None:
    """Without a folder and without Barbican a signed image is not accepted at all."""
    image_id = await api.create(**properties(keys["RSA-PSS"], "RSA-PSS", CONTENT, UUID))
    reply = await api.upload(image_id, CONTENT)
    assert (reply.status, "Certificate not found" in reply.json["message"]) == (400, True)
