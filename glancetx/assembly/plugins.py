"""The steps between the staging area and the stores that settings choose."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from glancetx.config.settings import Settings
from glancetx.db.claims import Claims
from glancetx.domain.errors import ConfigurationError
from glancetx.interfaces import IImportStep, ILimits
from glancetx.runtime.threads import Threads
from glancetx.transfer.staging import StagingArea


@frozen(kw_only=True)
class PluginBuilder:
    """Builds plugins. *conversion*: the threads in which data is decompressed, and qemu-img watched."""

    settings: Settings
    staging: StagingArea
    claims: Claims
    limits: ILimits
    hashing: Threads
    conversion: Threads

    def steps(self, others: Sequence[IImportStep] = ()) -> Sequence[IImportStep]:
        """Those that are configured, and then *others*. Before them the data is verified, since they change it.

        :raises ConfigurationError: if one of them cannot work here.
        """
        builders: Mapping[str, Callable[[], IImportStep]] = {
            "inject_image_metadata": self._inject,
            "image_decompression": self._decompress,
            "image_conversion": self._convert,
        }
        plugins = [*(builders[name]() for name in self.settings.plugins.names), *others]
        return (self._verify(), *plugins) if plugins else ()

    def _verify(self) -> IImportStep:
        from glancetx.imports.steps.verify import Verify

        return Verify(self.staging, self.hashing)

    def _inject(self) -> IImportStep:
        from glancetx.imports.steps.inject import InjectMetadata

        return InjectMetadata(self.settings.plugins.inject, self.settings.plugins.ignore_user_roles)

    def _decompress(self) -> IImportStep:
        from glancetx.imports.steps.decompress import Decompress
        from glancetx.imports.steps.room import Room

        room = Room(claims=self.claims, limits=self.limits, size_cap=self.settings.images.image_size_cap)
        return Decompress(self.conversion, room, self.settings.plugins.decompression_ratio)

    def _convert(self) -> IImportStep:
        from glancetx.imports.steps.convert import Convert
        from glancetx.imports.steps.room import Room

        qemu_img = shutil.which("qemu-img")
        if qemu_img is None:
            raise ConfigurationError("image_conversion needs qemu-img, which is not installed")
        room = Room(claims=self.claims, limits=self.limits, size_cap=self.settings.images.image_size_cap)
        return Convert(self.conversion, room, self.settings.plugins.conversion, qemu_img, self.settings.formats)
