"""What the rooms stand on: the parts that most of them share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from glancetx.access.policy import Policy
from glancetx.config.settings import Settings
from glancetx.db.claims import Claims, Process
from glancetx.db.copies import Copies
from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.imports import ImportRuns
from glancetx.db.members import Members
from glancetx.interfaces import ILimits
from glancetx.notifications.events import Events
from glancetx.outgoing.guarded import check
from glancetx.runtime.threads import Threads
from glancetx.stores.registry import Stores
from glancetx.transfer.readers import Readers
from glancetx.transfer.staging import StagingArea


@frozen(kw_only=True)
class Pools:
    """The threads, none of them started: *files* are read and written in them, *hashing* digests, *accounts* are
    looked up, and *conversion* decompresses and watches qemu-img.
    """

    files: Threads
    hashing: Threads
    accounts: Threads
    conversion: Threads

    def __iter__(self) -> Iterator[Threads]:
        return iter((self.files, self.hashing, self.accounts, self.conversion))


def build_pools(reactor: Any) -> Pools:
    """As many threads as this machine has work for."""
    cores = os.cpu_count() or 1
    return Pools(
        files=Threads(reactor, "files", max(8, 4 * cores)),
        hashing=Threads(reactor, "hashing", max(2, cores)),
        accounts=Threads(reactor, "accounts", 2),
        conversion=Threads(reactor, "conversion", max(2, cores)),
    )


@frozen(kw_only=True)
class Ground:
    """The parts that builders take what they need of; the rooms themselves never see it.

    *multiple*: there are several stores, which the API tells of.
    """

    settings: Settings
    reactor: Any
    pools: Pools
    engine: Engine
    process: Process
    stores: Stores
    multiple: bool
    staging: StagingArea
    policy: Policy
    limits: ILimits
    events: Events
    images: Images
    members: Members
    claims: Claims
    runs: ImportRuns
    copies: Copies
    readers: Readers

    async def check_url(self, url: str) -> None:
        """:raises UrlRefused: if imports may not fetch from there."""
        proxied = self.settings.downloads.fetch_proxy is not None
        await check(self.reactor, self.settings.fetch, url, proxied=proxied)

    @classmethod
    def of(
        cls,
        settings: Settings,
        reactor: Any,
        pools: Pools,
        engine: Engine,
        process: Process,
        stores: Stores,
        policy: Policy,
        limits: ILimits,
        events: Events,
        *,
        multiple: bool,
    ) -> Ground:
        """With the rows of *engine*, and the staging area of *settings*."""
        images, members = Images(engine), Members(engine)
        return cls(
            settings=settings,
            reactor=reactor,
            pools=pools,
            engine=engine,
            process=process,
            stores=stores,
            multiple=multiple,
            staging=StagingArea(settings.imports.staging, pools.files),
            policy=policy,
            limits=limits,
            events=events,
            images=images,
            members=members,
            claims=Claims(engine, settings.coordination.lease),
            runs=ImportRuns(engine),
            copies=Copies(engine),
            readers=Readers(images, members, stores),
        )
