"""Options of the import plugins: Glance's, and ours that bound what they may do."""

from __future__ import annotations

from typing import Any, Final

from oslo_config import cfg, types

from glancetx.config.identity import NO_EFFECT
from glancetx.config.settings import ConversionSettings, PluginSettings
from glancetx.domain.errors import ConfigurationError

PLUGINS: Final = ("inject_image_metadata", "image_conversion", "image_decompression", "no_op")

IMAGE_IMPORT: Final = [
    cfg.ListOpt(
        "image_import_plugins",
        item_type=types.String(quotes=True),
        bounds=True,
        default=[],
        help="What is done to imported images, in this order, in brackets: inject_image_metadata, "
        "image_decompression, image_conversion.",
    ),
    cfg.IntOpt("max_parallel_stores", default=1, min=1, help=f"{NO_EFFECT}all stores are always filled in one pass."),
]
IMAGE_CONVERSION: Final = [
    cfg.StrOpt(
        "output_format",
        default="raw",
        choices=["qcow2", "raw", "vmdk"],
        help="The disk format that image_conversion makes of all images.",
    ),
]
INJECT_METADATA: Final = [
    cfg.ListOpt("ignore_user_roles", default=["admin"], help="Whose imports inject_image_metadata leaves alone."),
    cfg.DictOpt("inject", default={}, help="The properties that it sets."),
]
OWN: Final = [
    cfg.IntOpt(
        "conversion_memory", default=1024**3, min=64 * 1024**2, help="Bytes of memory for a qemu-img that converts."
    ),
    cfg.IntOpt("conversion_time", default=3600, min=1, help="Seconds of a processor for it."),
    cfg.IntOpt("decompression_ratio", default=1000, min=1, help="How many times larger decompression may make data."),
]


def plugin_settings(conf: Any) -> PluginSettings:
    """:raises ConfigurationError: if a plugin is named that is not there."""
    names, inject = tuple(conf.image_import_opts.image_import_plugins), conf.inject_metadata_properties
    if unknown := set(names) - set(PLUGINS):
        raise ConfigurationError(f"[image_import_opts] image_import_plugins: there is no {', '.join(sorted(unknown))}")
    return PluginSettings(
        names=tuple(dict.fromkeys(name for name in names if name != "no_op")),
        inject=dict(inject.inject),
        ignore_user_roles=frozenset(role.lower() for role in inject.ignore_user_roles),
        conversion=ConversionSettings(
            output_format=conf.image_conversion.output_format,
            conversion_memory=conf.glancetx.conversion_memory,
            conversion_time=conf.glancetx.conversion_time,
        ),
        decompression_ratio=conf.glancetx.decompression_ratio,
    )
