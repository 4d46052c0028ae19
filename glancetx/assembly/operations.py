"""The operations on records: images and what is around them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from glancetx.access.protections import Protections
from glancetx.assembly.ground import Ground
from glancetx.db.locations import LocationRows
from glancetx.db.states import ImportStates
from glancetx.db.tasks import Tasks
from glancetx.db.usage import Usages
from glancetx.interfaces import IStore
from glancetx.operations.activation import Activation
from glancetx.operations.following import Following
from glancetx.operations.images import Catalog
from glancetx.operations.locations import Locations
from glancetx.operations.members import Sharing
from glancetx.operations.properties import Properties
from glancetx.operations.schemas import ImageSchema
from glancetx.operations.showing import Showing
from glancetx.operations.stores import StoreDirectory, configured_entries, given_entries
from glancetx.operations.tasks import TaskList
from glancetx.operations.usage import Consumption

if TYPE_CHECKING:  # loaded where there is a cache
    from glancetx.cache.cache import ImageCache


@frozen(kw_only=True)
class Operations:
    """One of each; what `ImageService` has of them goes by the same name."""

    images: Catalog
    locations: Locations
    sharing: Sharing
    activation: Activation
    consumption: Consumption
    tasks: TaskList
    following: Following
    directory: StoreDirectory
    schema: ImageSchema


@frozen
class OperationBuilder:
    """Builds them. *given*: the stores that an embedding application has passed."""

    ground: Ground
    cache: ImageCache | None
    given: Mapping[str, IStore] | None

    def build(self) -> Operations:
        ground, settings, engine = self.ground, self.ground.settings, self.ground.engine
        images, policy, events, tell = ground.images, ground.policy, ground.events, ground.readers.tell
        protections = Protections(settings.access, policy)
        showing, schema = Showing(protections), ImageSchema(settings.images)
        locations = self._locations(showing)
        properties = Properties(protections)
        return Operations(
            images=Catalog(
                images,
                policy,
                ground.limits,
                schema,
                settings.images,
                events,
                locations,
                properties,
                showing,
                tell,
                ground.claims,
                ground.process.id,
            ),
            locations=locations,
            sharing=Sharing(images, ground.members, policy, events, tell, quota=settings.images.image_member_quota),
            activation=Activation(images, policy, events, self._forget),
            consumption=Consumption(Usages(engine), ground.limits),
            tasks=TaskList(Tasks(engine), images, policy, events, settings.imports.task_time_to_live, ground.check_url),
            following=Following(ground.reactor, images, policy, ImportStates(engine)),
            directory=self._directory(),
            schema=schema,
        )

    @property
    def _forget(self) -> Callable[[str], Awaitable[None]] | None:
        return None if self.cache is None else self.cache.discard

    def _locations(self, showing: Showing) -> Locations:
        ground, settings = self.ground, self.ground.settings
        return Locations(
            ground.images,
            LocationRows(ground.engine),
            ground.claims,
            ground.policy,
            ground.stores,
            settings.images,
            showing,
            multiple=ground.multiple,
            delayed=settings.scrub.delayed_delete,
        )

    def _directory(self) -> StoreDirectory:
        ground = self.ground
        entries = configured_entries(ground.settings.stores) if self.given is None else given_entries(self.given)
        return StoreDirectory(entries if ground.multiple else (), ground.stores, ground.policy)
