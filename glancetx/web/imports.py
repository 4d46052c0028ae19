"""``/v2/images/{id}/stage`` and ``/import`` (api.md, section 4 and A-120)."""

from __future__ import annotations

from typing import Any

from glancetx.domain.digests import digests_of
from glancetx.domain.errors import Invalid, NotFound
from glancetx.domain.importing import GLANCE_DIRECT, ImportRequest
from glancetx.imports.accept import Imports
from glancetx.transfer.stage import Stages
from glancetx.web.body import body_of
from glancetx.web.data import announced_size, check_data_type
from glancetx.web.digests import expected_digests
from glancetx.web.routing import NO_DOCUMENT, Answer, Call, route


class ImportsRoom:
    """Reads requests, calls `Stages` and `Imports`."""

    def __init__(self, stages: Stages, imports: Imports, *, multiple: bool) -> None:
        self._stages = stages
        self._imports = imports
        self._multiple = multiple

    @route("PUT", "/v2/images/<image_id>/stage", body=True)
    async def stage(self, call: Call, image_id: str) -> Answer:
        check_data_type(call.header("content-type"))
        if GLANCE_DIRECT not in self._imports.methods:
            raise NotFound("Glance-direct is not enabled as import method.")
        size, expected = announced_size(call.header("x-openstack-image-size")), expected_digests(call)
        await self._stages.stage(call.context, image_id, body_of(call.request), size=size, expected=expected)
        return Answer(status=204)

    @route("POST", "/v2/images/<image_id>/import", body=True)
    async def start(self, call: Call, image_id: str) -> Answer:
        header = call.header("x-image-meta-store") if self._multiple else None
        request = parse_import(await call.json(), header)
        elsewhere = await self._imports.accept(call.context, image_id, request)
        return Answer(status=202, headers=() if elsewhere is None else (("X-Openstack-Request-Id", elsewhere),))


def parse_import(document: Any, store_header: str | None) -> ImportRequest:
    """:raises Invalid: if it is not an import (A-130)."""
    if not isinstance(document, dict):
        raise Invalid(NO_DOCUMENT)
    if "method" not in document:
        raise Invalid("Import request requires a 'method' field.")
    method = document["method"]
    if not isinstance(method, dict) or "name" not in method:
        raise Invalid("Import request requires a 'name' field.")
    if not isinstance(method["name"], str):
        raise Invalid(f"Unknown import method name '{method['name']}'.")
    for name in ("all_stores", "all_stores_must_succeed"):
        if not isinstance(document.get(name, False), bool):
            raise Invalid(f"'{name}' must be boolean value only")
    stores, digests = document.get("stores"), document.get("expected_digests")
    if stores is not None and not isinstance(stores, list):
        raise Invalid("'stores' must be a list of store identifiers")
    texts = {name: _text(method, name) for name in ("uri", "glance_region", "glance_image_id")}
    interface = _text(method, "glance_service_interface")
    return ImportRequest(
        method=method["name"],
        document=document,
        stores=tuple(map(str, stores)) if stores else None,
        all_stores=document.get("all_stores", False),
        must_succeed=document.get("all_stores_must_succeed", True),
        store_header=store_header,
        digests={} if digests is None else digests_of(digests),
        glance_service_interface=interface or "public",
        **texts,
    )


def _text(method: dict[str, Any], name: str) -> str | None:
    value = method.get(name)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"'{name}' must be a string")
    return value
