"""What others may implement: stores, authenticators, limits, notifiers. The docstrings are the contract.

Bytes travel one way only: a `twisted.web.iweb.IBodyProducer` feeds a `twisted.internet.interfaces.IConsumer`.
Whoever implements these runs in the reactor thread and must not block it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen
from twisted.web.iweb import IBodyProducer
from zope.interface import Attribute, Interface

from glancetx.domain.cached import CacheEntry
from glancetx.domain.claim import Claim
from glancetx.domain.context import RequestContext
from glancetx.domain.image import Image
from glancetx.domain.importing import ImportPlan
from glancetx.domain.limits import Limits
from glancetx.domain.listed import Item, Kept, Page

HeaderReader = Callable[[str], str | None]
"""Returns the value of a request header by its name in any case, or None."""


@frozen(kw_only=True)
class Stored:
    """What a store kept: where (*url*), how much (*size* in bytes), and what it wants remembered (*metadata*)."""

    url: str
    size: int
    metadata: Mapping[str, Any] = field(factory=dict)


class IStore(Interface):
    """A place for image data. Every implementation passes `glancetx.testing.stores.StoreTests`."""

    identifier: str = Attribute("The store's id in the configuration (``enabled_backends``), or its scheme.")
    scheme: str = Attribute("The scheme of its location URIs, such as ``file``.")
    url_prefix: str = Attribute("What the URIs of data kept here begin with; finds the store of a location without id.")
    random_access: bool = Attribute("Whether `get` can begin anywhere; if not, a range is refused by the API.")
    read_only: bool = Attribute("Whether `add` always raises StoreReadOnly.")

    async def start() -> None:
        """Prepare for use; called once before anything else.

        :raises ConfigurationError: if the store can never work as configured.
        """

    async def stop() -> None:
        """Release what `start` acquired. Transfers under way have ended before."""

    async def add(image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        """Keep all bytes of *body*; on return they are durable and readable at the returned URL, and not before.

        All or nothing: when this raises or is cancelled, nothing is left, and *body* has been stopped. *attempt*
        (32 hex digits, new for every call) names what is written before the data is complete, so that `discard`
        finds it after a crash. A producer whose length is known and which delivers another number of bytes fails
        the call with SizeMismatch. An error with which *body* fails is raised unchanged.

        :raises Conflict: if the image already has data here.
        :raises StoreFull, StoreWriteDenied, StoreReadOnly, StoreUnavailable: as they say.
        """

    async def get(url: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        """Open the data; the producer's *length* is the exact number of bytes it is going to deliver.

        *length* None means to the end; a range that goes beyond the end is cut there, perhaps to nothing. Fewer
        bytes than announced never look like success: the producer then fails its Deferred. An opened producer must
        be started or stopped (`stopProducing` before the start closes it).

        :raises DataNotFound: if nothing is there.
        :raises StoreUnavailable: if the store does not answer.
        """

    async def size(url: str) -> int:
        """The number of bytes stored. :raises DataNotFound: if nothing is there."""

    async def delete(url: str) -> None:
        """Remove the data, durably.

        :raises DataNotFound: if nothing is there, so a repeated call is harmless and tells so.
        :raises DataInUse: if the store protects it; nothing is changed then.
        :raises Forbidden: if the store may not delete it; nothing is changed then.
        :raises RemovalUnknown: if it was begun, and nobody knows whether it was done: it is asked for again later.
        :raises StoreUnavailable: if it was not begun.
        """

    async def discard(image_id: str, attempt: str) -> None:
        """Remove whatever an `add` of *attempt* left that was ended by a crash, complete or not.

        Idempotent; to find nothing is success. Never touches data of another attempt.
        """


class IListing(Interface):
    """What a store may provide beside `IStore`: it tells what it keeps, so that data is found which no image has.

    Only names of the form that this store's `add`, or Glance's, gives to image data are told; whatever else lies in
    the same place is somebody else's. How much memory a page takes does not depend on how much the store keeps.
    """

    async def page(marker: str, limit: int) -> Page:
        """About *limit* items, fewer or none where others lie between; *marker* is that of the page before, or empty.

        Whoever goes from page to page sees every item that is there all the time, whatever comes and goes meanwhile.

        :raises StoreUnavailable: if the store does not answer.
        """

    async def look(item: Item) -> Kept | None:
        """How it is now; None if it is gone, or is not what its name says. :raises StoreUnavailable: as `page`."""

    async def is_same(item: Item, url: str) -> bool:
        """Whether a location may be that of the item, or of the data that a piece belongs to; if in doubt, True.

        A place may have several locations: folders by way of links, containers by several accounts.
        """

    async def remove(item: Item) -> None:
        """Remove this, durably, and nothing else but the parts it consists of. :raises: as `IStore.delete`."""


class ITenantStore(IStore):
    """A store that keeps the data of each project where the project's own storage is.

    As it is it acts for nobody, with what the service itself may do; so background work needs nothing of this.
    """

    def acting_for(owner: str | None, token: str | None = None) -> IStore:
        """The same store for images of the project *owner*, and for who showed *token*.

        What its `add` stores, and its `discard` removes, is in the storage of *owner*; None: in the service's own. The
        token need not be the owner's, and may end: then the service does what it may itself. Costs nothing; what is
        returned is neither started nor stopped.
        """

    async def share(url: str, readers: Collection[str] | None) -> None:
        """Let these projects read the data, and nobody else but its owner; None: everybody. Idempotent.

        :raises DataNotFound: if nothing is there.
        :raises StoreError: if the store does not do it.
        """


class IAuthenticator(Interface):
    """Says who is asking."""

    challenge: str = Attribute("The value of the WWW-Authenticate header of a 401 answer.")

    async def identify(header: HeaderReader, request_id: str) -> RequestContext:
        """The context of a request with these headers; called before any byte of the body is read.

        :raises NotAuthenticated: if the credentials are missing or wrong.
        """


class ILimits(Interface):
    """Says how much projects may have. That they have no more is seen to by who asks."""

    async def limits_of(project_id: str | None) -> Limits:
        """What the project may have now; asked before images are created and data is stored. None: no project.

        :raises LimitsUnavailable: if that cannot be found out; nothing is stored then.
        """


class ICertificates(Interface):
    """Knows the certificates that the signatures of images name."""

    async def certificate(certificate_id: str, token: str | None) -> bytes:
        """A certificate, PEM or DER. *certificate_id* is any text; *token* is what the caller showed, if anything.

        :raises CertificateRefused: if there is none, for this caller.
        :raises CertificatesUnavailable: if that cannot be found out now.
        """


class INotifier(Interface):
    """Is told what happened to images, after it happened."""

    def notify(event_type: str, priority: str, payload: Mapping[str, Any] | str) -> None:
        """Pass on one event (config.md, section 9). Must neither block nor raise.

        *event_type* is Glance's, such as ``image.create``; *priority* is ``info`` or ``error``.
        """


@frozen(kw_only=True)
class ImportJob:
    """What a step of an import works on.

    *image* is as it is now, *plan* what was asked for, and by whom. *path* is the file in the staging *folder* that has
    its data; None if no step of this import has put it there yet. *claim* says that it is ours, and reserves what the
    project may store; its id, new for every attempt, is to stand in the names of files that are not whole, as `partial`
    makes them: then they are removed when nobody works on them any more. *token* is what the caller showed, if that is
    still known. Call *tell* with how many bytes are done, and how many there are.
    """

    image: Image
    plan: ImportPlan
    claim: Claim
    folder: Path
    path: Path | None = None
    token: str | None = field(default=None, repr=False)
    tell: Callable[[int, int | None], None] = lambda done, total: None

    def partial(self, suffix: str = "part") -> Path:
        """A file to write to before it is whole."""
        return self.folder / f".{self.image.id}.{self.claim.id}.{suffix}"

    def whole(self, step: str) -> Path:
        """What *step* renames its file to before it says that this is the data now."""
        return self.folder / f"{self.image.id}.{step}"


@frozen(kw_only=True)
class StepDone:
    """What a step has done: the data is now in the staged file *path* (None: where it was); *change* the image so.

    *change* gets the image as it is in the database, and runs in a thread; it may be applied twice. If the size of the
    data has changed, it must set ``size``. Both are noted in one transaction; after that the file which held the data
    before is removed.
    """

    path: Path | None = None
    change: Callable[[Image], Image] | None = None


class IImportStep(Interface):
    """One step of an import, between its begin and the stores: it stages data, or does something to staged data."""

    name: str = Attribute("What it is called in the database, and in file names: letters and dashes, at most 30.")
    verb: str = Attribute("What it has done to the bytes, as the task's message begins: ``Downloaded``.")

    async def run(job: ImportJob) -> StepDone:
        """Do it. May be cancelled, or killed with its process, and is run again then: the same *path*, another attempt.

        The file at *path* must not be written to: write to another one (see `ImportJob`), sync it, rename it.

        :raises ImageServiceError: what is wrong; the import then fails with that text. Other errors are defects.
        """


class ICacheIndex(Interface):
    """Remembers which images are in the cache of this node, and how they are used. The files are the truth: an entry
    without a file, or a file without an entry, is put right by the cleaner.
    """

    async def start() -> None:
        """Prepare for use; called once before anything else. :raises ConfigurationError: if it cannot be used."""

    async def add(entry: CacheEntry) -> None:
        """Note the image, in place of what is known of it."""

    async def hit(image_id: str, times: int = 1) -> None:
        """It was read so many times more, just now. Nothing happens if it is not known."""

    async def remove(image_id: str) -> None:
        """Forget it; to know nothing of it is success."""

    async def clear() -> None:
        """Forget all of them."""

    async def entries() -> Sequence[CacheEntry]:
        """All that is known, by image id."""

    async def nodes(image_id: str) -> Sequence[str]:
        """The URLs of all nodes which have the image. :raises Conflict: if no index knows of other nodes."""


@frozen
class Held:
    """The leases this process has, and for how many *seconds*, counted from when they were asked for: so long nobody
    else gets them, as far as clocks agree.
    """

    names: frozenset[str]
    seconds: float


class ILeases(Interface):
    """Who of all processes does what only one should do. Every implementation passes the suite of ``tests.leasing``.

    A lease that is not held again in time goes to another process that wants it; so does that of a process that dies.
    """

    async def hold(names: Collection[str]) -> Held:
        """Take these leases, or keep them; those that another process has are not among the result.

        :raises CoordinationUnavailable, DatabaseUnavailable: if nobody knows; what was held stays ours for its time.
        """

    async def release(names: Collection[str]) -> None:
        """Leave these to others at once; nothing happens to those which are not ours. Raises what `hold` does."""

    async def stop() -> None:
        """Release what this object uses; to be called once, in the end. Leases that were not released run out."""
