"""``/v2/info``: what clients ask before they choose a store or an import method (api.md, A-200..A-202)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glancetx.operations.stores import StoreDirectory, StoreEntry
from glancetx.web.routing import Answer, Call, route


class InfoRoom:
    """Shows the stores, and the import *methods* that are enabled."""

    def __init__(self, stores: StoreDirectory, methods: Sequence[str]) -> None:
        self._stores = stores
        self._methods = methods

    @route("GET", "/v2/info/import")
    async def import_methods(self, call: Call) -> Answer:
        methods = {"description": "Import methods available.", "type": "array", "value": list(self._methods)}
        return Answer(document={"import-methods": methods})

    @route("GET", "/v2/info/stores")
    async def stores(self, call: Call) -> Answer:
        return Answer(document={"stores": [store_view(each) for each in self._stores.list()]})

    @route("GET", "/v2/info/stores/detail")
    async def stores_detail(self, call: Call) -> Answer:
        entries = self._stores.list_details(call.context)
        return Answer(document={"stores": [detailed_store_view(each) for each in entries]})


def store_view(entry: StoreEntry) -> dict[str, Any]:
    """One store; what is not true is not told."""
    document: dict[str, Any] = {"id": entry.identifier}
    if entry.description:
        document["description"] = entry.description
    if entry.default:
        document["default"] = "true"
    if entry.read_only:
        document["read-only"] = "true"
    return document


def detailed_store_view(entry: StoreEntry) -> dict[str, Any]:
    """One store, with how it is set up."""
    return {**store_view(entry), "type": entry.kind, "properties": dict(entry.properties), "weight": entry.weight}
