"""Image data in the Swift accounts of projects: each image in a container of its own there (S-071, S-074)."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from copy import copy
from typing import Any

from zope.interface import implementer_only

from glancetx.domain.errors import Conflict, DataNotFound, StoreError, StoreUnavailable
from glancetx.interfaces import IStore, ITenantStore
from glancetx.runtime.undo import undone_by
from glancetx.stores.swift import SwiftStore, _Upload
from glancetx.stores.swift_requests import SwiftApi
from glancetx.stores.uri import storage_url

CREATE = "swift_store_create_container_on_put"


@implementer_only(ITenantStore)
class SwiftTenantStore(SwiftStore):
    """As itself it acts for nobody: with the service's own token, and what it adds goes to the service's own account.

    What Swift refuses to a caller's token, because that has ended or has no such role, is asked for once more with the
    service's own; for that, the service's account needs a role that may use the accounts of others.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.url_prefix = "swift+http"  # also of swift+https; where the accounts are only a catalog tells
        writers = ",".join(f"{project}:*" for project in self._settings.admin_tenants)
        self._writers = {"X-Container-Write": writers}
        self._session = self._sessions.of_project(None, None)

    def acting_for(self, owner: str | None, token: str | None = None) -> IStore:
        bound = copy(self)
        bound._token = token
        bound._session = self._sessions.of_project(owner, token)
        bound._api = SwiftApi(bound._session, self._client, self._retries)
        return bound

    async def share(self, url: str, readers: Collection[str] | None) -> None:
        place, api = self._open(url)
        if not place.foreign or not place.container.endswith(f"_{place.key}"):
            return  # it was stored in the account of the service, when there was but one
        listed = "*:*" if readers is None else ",".join(f"{project}:*" for project in readers)
        headers = {"X-Container-Read": listed, **self._writers}
        if (await api.call("POST", place.container, headers=headers, accept=(404,))).status == 404:
            raise DataNotFound("Swift could not find image at URI.")

    def _container(self, image_id: str) -> str:
        return f"{self._settings.container}_{image_id}"

    async def _url(self, container: str, image_id: str) -> str:
        return storage_url((await self._session.enter()).url, container, image_id)

    async def _check_container(self, container: str) -> None:
        if (await self._api.call("HEAD", container, accept=(404,))).status != 404:
            return
        if not self._settings.create_container:
            raise StoreUnavailable(f"Images have containers of their own here: set {CREATE}")
        async with undone_by(self._remove_container, container):
            await self._api.call("PUT", container, headers=self._writers)

    async def _undo(self, upload: _Upload) -> None:
        await super()._undo(upload)
        await self._remove_container(upload.container)

    async def _remove_container(self, container: str) -> None:
        """An empty one that stays is harmless: the next attempt uses it."""
        with suppress(StoreError, Conflict):
            await self._api.call("DELETE", container, accept=(404, 409))
