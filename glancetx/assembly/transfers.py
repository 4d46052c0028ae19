"""The operations that move bytes, and what goes on with them after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from glancetx.assembly.ground import Ground
from glancetx.db.scrub import PendingDeletes
from glancetx.imports.runner import ImportRunner
from glancetx.runtime.troubles import Troubles
from glancetx.transfer.delete import Deletes
from glancetx.transfer.download import Downloads
from glancetx.transfer.failover import Failover
from glancetx.transfer.proof import Proofs
from glancetx.transfer.recovery import Recovery
from glancetx.transfer.scrub import Scrubs
from glancetx.transfer.signature import Signatures
from glancetx.transfer.stage import Stages
from glancetx.transfer.upload import Uploads

if TYPE_CHECKING:  # loaded where there is a cache
    from glancetx.cache.cache import ImageCache


@frozen
class TransferBuilder:
    """Builds each of them."""

    ground: Ground
    cache: ImageCache | None

    def downloads(self, troubles: Troubles) -> Downloads:
        """By way of the cache, if that is for downloads. *troubles*: which stores have some."""
        ground, cache = self.ground, self.cache
        proofs = Proofs(ground.copies, ground.pools.hashing, enabled=ground.settings.audit.verify_reads)
        return Downloads(
            ground.copies,
            proofs,
            ground.policy,
            ground.stores,
            ground.events,
            Failover(ground.reactor, troubles),
            cache if cache is not None and cache.settings.downloads else None,
            multiple=ground.multiple,
        )

    def recovery(self, importing: ImportRunner, adding: ImportRunner) -> Recovery:
        """What ends, or goes on with, what processes have begun that live no more."""
        ground = self.ground
        return Recovery(
            ground.images,
            ground.claims,
            ground.stores,
            ground.staging,
            ground.events,
            importing.resume,
            adding.resume,
            Scrubs(PendingDeletes(ground.engine), ground.claims, ground.stores, ground.process.id).finish,
        )

    def uploads(self, recovery: Recovery, signatures: Signatures) -> Uploads:
        """Into stores."""
        ground, settings = self.ground, self.ground.settings
        return Uploads(
            ground.reactor,
            ground.images,
            ground.claims,
            ground.policy,
            ground.limits,
            ground.stores,
            recovery,
            ground.pools.hashing,
            ground.events,
            settings.images,
            settings.formats,
            signatures,
            ground.readers,
            ground.process.id,
        )

    def stages(self, recovery: Recovery) -> Stages:
        """Into the staging area."""
        ground, settings = self.ground, self.ground.settings
        return Stages(
            ground.reactor,
            ground.images,
            ground.runs,
            ground.claims,
            ground.policy,
            ground.limits,
            ground.staging,
            recovery,
            ground.pools.hashing,
            ground.events,
            settings.images,
            settings.imports.node_url,
            ground.process.id,
        )

    def deletes(self, recovery: Recovery, adding: ImportRunner) -> Deletes:
        """*adding* may be reading what is to go."""
        ground = self.ground
        return Deletes(
            ground.images,
            ground.claims,
            ground.policy,
            recovery,
            ground.staging,
            ground.events,
            ground.process.id,
            adding.dismiss,
            None if self.cache is None else self.cache.discard,
            delayed=ground.settings.scrub.delayed_delete,
        )
