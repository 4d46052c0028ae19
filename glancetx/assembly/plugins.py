"""The steps between the staging area and the stores that settings choose."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from glancetx.assembly.ground import Ground
from glancetx.domain.errors import ConfigurationError
from glancetx.interfaces import IImportStep

if TYPE_CHECKING:
    from glancetx.imports.steps.room import Room


@frozen
class PluginBuilder:
    """Builds plugins."""

    ground: Ground

    def steps(self, others: Sequence[IImportStep] = ()) -> Sequence[IImportStep]:
        """Those that are configured, and then *others*. Before them the data is verified, since they change it.

        :raises ConfigurationError: if one of them cannot work here.
        """
        builders: Mapping[str, Callable[[], IImportStep]] = {
            "inject_image_metadata": self._inject,
            "image_decompression": self._decompress,
            "image_conversion": self._convert,
        }
        plugins = [*(builders[name]() for name in self.ground.settings.plugins.names), *others]
        return (self._verify(), *plugins) if plugins else ()

    def _verify(self) -> IImportStep:
        from glancetx.imports.steps.verify import Verify

        return Verify(self.ground.staging, self.ground.pools.hashing)

    def _inject(self) -> IImportStep:
        from glancetx.imports.steps.inject import InjectMetadata

        return InjectMetadata(self.ground.settings.plugins.inject, self.ground.settings.plugins.ignore_user_roles)

    def _decompress(self) -> IImportStep:
        from glancetx.imports.steps.decompress import Decompress

        ground = self.ground
        return Decompress(ground.pools.conversion, self._room(), ground.settings.plugins.decompression_ratio)

    def _convert(self) -> IImportStep:
        from glancetx.imports.steps.convert import Convert

        qemu_img = shutil.which("qemu-img")
        if qemu_img is None:
            raise ConfigurationError("image_conversion needs qemu-img, which is not installed")
        conversion, settings = self.ground.pools.conversion, self.ground.settings
        return Convert(conversion, self._room(), settings.plugins.conversion, qemu_img, settings.formats)

    def _room(self) -> Room:
        """For what steps write."""
        from glancetx.imports.steps.room import Room

        ground = self.ground
        return Room(claims=ground.claims, limits=ground.limits, size_cap=ground.settings.images.image_size_cap)
