"""The files of datastores: read and written by HTTP, moved and removed by tasks; and how much room is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from attrs import frozen
from twisted.web.iweb import IBodyProducer

from glancetx.config.store_settings import VmwareDatastore
from glancetx.domain.errors import (
    Conflict,
    DataInUse,
    DataNotFound,
    Forbidden,
    StoreError,
    StoreFull,
    StoreUnavailable,
    StoreWriteDenied,
)
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.client import Answer, HttpClient
from glancetx.runtime.undo import Shielded
from glancetx.stores.uri import DatastorePlace
from glancetx.stores.vmware_session import VmwareSession
from glancetx.stores.vmware_soap import ROOT, Fault, Ref, reference, references

DATA: Final[Mapping[str, str]] = {"Content-Type": "application/octet-stream"}
MISSING: Final = "The datastore has no file at the location"
_DENIED: Final = ("NoPermission", "RestrictedVersion", "CannotDeleteFile", "CannotAccessFile", "CannotCreateFile")
_FULL: Final = ("NoDiskSpace", "FileTooLarge", "QuotaExceeded")
_IN_USE: Final = ("FileLocked", "ResourceInUse")
_CHANGED: Final = ("ManagedObjectNotFound", "InvalidDatastore")


@frozen
class Room:
    """A datastore that can be written, and how many bytes it has room for."""

    datastore: VmwareDatastore
    free: int


@frozen
class FoundFile:
    """A file in a folder. *modified* is when it was written, as vSphere tells times."""

    name: str
    size: int
    modified: str


class VmwareFiles:
    """Files of one server, by *session*; *client* sends streams."""

    def __init__(self, session: VmwareSession, client: HttpClient) -> None:
        self._session, self._client = session, client
        self._datacenters: dict[str, Ref] = {}

    async def rooms(self, wanted: Sequence[VmwareDatastore]) -> list[Room]:
        """Those of the *wanted* datastores that are accessible.

        :raises StoreUnavailable: if the server does not know one of them.
        """
        found: list[Room] = []
        for path in dict.fromkeys(each.datacenter for each in wanted):
            known = await self._summaries(path)
            for each in wanted:
                if each.datacenter != path:
                    continue
                if each.name not in known:
                    raise StoreUnavailable(f"Could not find datastore {each.name} in datacenter {path}")
                accessible, free = known[each.name]
                if accessible:
                    found.append(Room(each, free))
        return found

    async def size(self, place: DatastorePlace) -> int | None:
        """How long a file is; None if there is none."""
        found = await self._session.ask("HEAD", self._url(place), {})
        if found.status == 404:
            return None
        _check(found, (200,))
        text = found.header("Content-Length")
        return found.length or 0 if text is None else int(text)

    async def content(self, place: DatastorePlace) -> bytes | None:
        """What is in a small file; None if there is none."""
        found = await self._session.ask("GET", self._url(place), {})
        if found.status == 404:
            return None
        _check(found, (200,))
        return found.content

    async def open(self, place: DatastorePlace, headers: Mapping[str, str]) -> Answer:
        """The answer to GET: 200, 206, 404, 412 or 416; its body is yet to come if it has the data."""
        found = await self._session.ask("GET", self._url(place), headers, whole=False)
        _check(found, (200, 206, 404, 412, 416))
        return found

    async def write(self, place: DatastorePlace, chunks: Sequence[bytes]) -> None:
        """Make or replace a small file. :raises StoreError, Conflict: as they say."""
        _check(await self._session.ask("PUT", self._url(place), DATA, list(chunks)), (200, 201, 204))

    async def stream(self, place: DatastorePlace, body: IBodyProducer) -> None:
        """Make a file of a body that can be sent only once. :raises: as `write`, and what the body fails with."""
        entry = await self._session.enter()
        try:
            found = await self._client.request("PUT", self._url(place), {"Cookie": entry.cookie, **DATA}, body)
        except NoAnswer as error:
            raise StoreUnavailable(f"vCenter: {error}") from error
        with suppress(NoAnswer):
            await found.read()
        if found.status == 401:
            self._session.forget(entry)
        _check(found, (200, 201, 204))

    async def make_folder(self, place: DatastorePlace) -> None:
        """Make the directory and those above it, if they are not there."""
        try:
            await Shielded(
                self._session.call(
                    "MakeDirectory",
                    "fileManager",
                    name=place.name,
                    datacenter=await self._datacenter(place.datacenter),
                    createParentDirectories=True,
                )
            )
        except Fault as fault:
            if fault.name != "FileAlreadyExists":
                raise self._explain(fault) from fault

    async def move(self, source: DatastorePlace, target: DatastorePlace) -> None:
        """Give a file another name in its datastore. Cancelling waits for the end.

        :raises Conflict: if there is a file of that name, or the source is gone.
        """
        datacenter = await self._datacenter(source.datacenter)
        moving = self._session.task(
            "MoveDatastoreFile_Task",
            "fileManager",
            sourceName=source.name,
            sourceDatacenter=datacenter,
            destinationName=target.name,
            destinationDatacenter=datacenter,
            force=False,
        )
        try:
            await Shielded(moving)
        except Fault as fault:
            if fault.name in ("FileAlreadyExists", "FileNotFound"):
                raise Conflict("The datastore holds data of this image already") from fault
            raise self._explain(fault) from fault

    async def delete(self, place: DatastorePlace) -> None:
        """Remove a file. Cancelling waits for the end.

        :raises DataNotFound: if there is none. :raises DataInUse, Forbidden, StoreUnavailable: as they say.
        """
        datacenter = await self._datacenter(place.datacenter)
        deleting = self._session.task("DeleteDatastoreFile_Task", "fileManager", name=place.name, datacenter=datacenter)
        try:
            await Shielded(deleting)
        except Fault as fault:
            if fault.name == "FileNotFound":
                raise DataNotFound(MISSING) from fault
            error = self._explain(fault)
            if isinstance(error, StoreWriteDenied):
                raise Forbidden("The store may not delete this file") from fault
            raise error from fault

    async def search(self, folder: DatastorePlace, patterns: Sequence[str]) -> list[FoundFile]:
        """The files in a folder whose names match one of the patterns (``*`` and ``?``); none if it is not there."""
        searching = self._session.task(
            "SearchDatastore_Task",
            await self._browser(folder),
            datastorePath=folder.name,
            searchSpec={
                "details": {"fileType": False, "fileSize": True, "modification": True, "fileOwner": False},
                "matchPattern": list(patterns),
            },
        )
        try:
            result = await searching
        except Fault as fault:
            if fault.name == "FileNotFound":
                return []
            raise self._explain(fault) from fault
        return [
            FoundFile(
                each.findtext("path") or "", int(each.findtext("fileSize") or 0), each.findtext("modification") or ""
            )
            for each in (() if result is None else result.findall("file"))
        ]

    async def now(self) -> str:
        """What time it is, by the server's clock."""
        try:
            return (await self._session.call("CurrentTime", ROOT)).findtext("returnval") or ""
        except Fault as fault:
            raise self._explain(fault) from fault

    async def _browser(self, place: DatastorePlace) -> Ref:
        """What looks into a datastore."""
        datacenter = await self._datacenter(place.datacenter)
        if datacenter is not None:
            try:
                listed = (await self._session.properties([datacenter], "datastore")).get(datacenter, {})
                refs = references(listed.get("datastore", ()))
                for each in (await self._session.properties(refs, "name", "browser")).values():
                    browser = reference(each.get("browser"))
                    if each["name"].text == place.datastore and browser is not None:
                        return browser
            except Fault as fault:
                raise self._explain(fault) from fault
        raise StoreUnavailable(f"Could not find datastore {place.datastore} in datacenter {place.datacenter}")

    def _url(self, place: DatastorePlace) -> str:
        return self._session.address + place.target

    async def _datacenter(self, path: str | None) -> Ref | None:
        """The datacenter of a path in the inventory; a host of its own has none in its locations."""
        if path is None:
            return None
        if path not in self._datacenters:
            try:
                found = await self._session.call("FindByInventoryPath", "searchIndex", inventoryPath=path)
            except Fault as fault:
                raise self._explain(fault) from fault
            ref = reference(found.find("returnval"))
            if ref is None:
                raise StoreUnavailable(f"Could not find datacenter {path}")
            self._datacenters[path] = ref
        return self._datacenters[path]

    async def _summaries(self, path: str) -> dict[str, tuple[bool, int]]:
        """Of each datastore of a datacenter: whether it is accessible, and how much is free."""
        datacenter = await self._datacenter(path)
        if datacenter is None:
            return {}
        try:
            listed = (await self._session.properties([datacenter], "datastore")).get(datacenter, {}).get("datastore")
            refs = references(listed if listed is not None else ())
            found = await self._session.properties(refs, "summary")
        except Fault as fault:
            raise self._explain(fault) from fault
        summaries = [each["summary"] for each in found.values() if "summary" in each]
        return {
            each.findtext("name") or "": (each.findtext("accessible") != "false", int(each.findtext("freeSpace") or 0))
            for each in summaries
        }

    def _explain(self, fault: Fault) -> StoreError:
        """The error that means this fault; what was remembered of the inventory may be wrong now."""
        if fault.name in _CHANGED:
            self._datacenters.clear()
        if fault.name in _FULL:
            return StoreFull("The datastore has no room left")
        if fault.name in _DENIED:
            return StoreWriteDenied(f"vCenter refuses the request: {fault.name}")
        if fault.name in _IN_USE:
            return DataInUse("The file is in use")
        return StoreUnavailable(f"vCenter: {fault.name}")


def choose(rooms: Iterable[Room], size: int) -> VmwareDatastore:
    """The datastore of the greatest weight that has room for *size* bytes; of several the one with most room (S-102).

    :raises StoreFull: if there is none.
    """
    fitting = [each for each in rooms if each.free > 0 and each.free >= size]
    if not fitting:
        raise StoreFull(f"No datastore has room for {size} bytes")
    return max(fitting, key=lambda each: (each.datastore.weight, each.free)).datastore


def _check(found: Answer, good: Sequence[int]) -> None:
    """:raises StoreError, Conflict: unless the status is one of *good*."""
    if found.status in good:
        return
    if found.status == 409:
        raise Conflict("The datastore holds data of this image already")
    if found.status in (413, 507):
        raise StoreFull("The datastore has no room left")
    if found.status == 403:
        raise StoreWriteDenied("vCenter refuses the request")
    raise StoreUnavailable(f"vCenter answers {found.status}")
